"""The claims of lesson 08 hold for other orders of batches, other starts of A and other random rows."""

import pytest
from five_seeds import claims, five_seeds


@pytest.mark.seeds
@pytest.mark.timeout(900)
@five_seeds
def test_claims(seed, tmp_path):
    for text, value in claims("08", seed, tmp_path).items():
        print(f"seed {seed}: {value:.4g}  {text}")
