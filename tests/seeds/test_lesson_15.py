"""The claims of lesson 15 hold for other facts drawn, other orders and another assistant."""

import pytest
from five_seeds import claims, five_seeds


@pytest.mark.seeds
@pytest.mark.timeout(900)
@five_seeds
def test_claims(seed, tmp_path):
    for text, value in claims("15", seed, tmp_path).items():
        print(f"seed {seed}: {value:.4g}  {text}")
