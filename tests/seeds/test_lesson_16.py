"""The claims of lesson 16 hold for other orders of batches."""

import pytest
from five_seeds import claims, five_seeds


@pytest.mark.seeds
@pytest.mark.timeout(900)
@five_seeds
def test_claims(seed, tmp_path):
    for text, value in claims("16", seed, tmp_path).items():
        print(f"seed {seed}: {value:.4g}  {text}")
