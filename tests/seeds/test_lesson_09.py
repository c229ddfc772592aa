"""The claims of lesson 09 hold whatever the order of its batches is, for an assistant of each seed."""

import pytest
from five_seeds import claims, five_seeds


@pytest.mark.seeds
@pytest.mark.timeout(900)
@five_seeds
def test_claims(seed, tmp_path):
    for text, value in claims("09", seed, tmp_path).items():
        print(f"seed {seed}: {value:.4g}  {text}")
