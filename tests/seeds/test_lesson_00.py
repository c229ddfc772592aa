"""The claims of lesson 00 hold whatever the random draws are."""

import pytest
from five_seeds import claims, five_seeds


@pytest.mark.seeds
@pytest.mark.timeout(300)
@five_seeds
def test_claims(seed, tmp_path):
    for text, value in claims("00", seed, tmp_path).items():
        print(f"seed {seed}: {value:.4g}  {text}")
