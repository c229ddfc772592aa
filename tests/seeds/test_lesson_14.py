"""The claims of lesson 14 hold for other starts, another order of batches and other examples in a prompt."""

import pytest
from five_seeds import claims, five_seeds


@pytest.mark.seeds
@pytest.mark.timeout(900)
@five_seeds
def test_claims(seed, tmp_path):
    for text, value in claims("14", seed, tmp_path).items():
        print(f"seed {seed}: {value:.4g}  {text}" if isinstance(value, float) else f"{value}  {text}")
