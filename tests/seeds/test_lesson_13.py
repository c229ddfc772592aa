"""The claims of lesson 13 hold for other samples, another order of batches and another tuned model."""

import pytest
from five_seeds import claims, five_seeds


@pytest.mark.seeds
@pytest.mark.timeout(1800)
@five_seeds
def test_claims(seed, tmp_path):
    for text, value in claims("13", seed, tmp_path).items():
        print(f"seed {seed}: {value:.4g}  {text}")
