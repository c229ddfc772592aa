"""The claims of lesson 07 hold for other random prompts, other LoRA starts and another order of batches."""

import pytest
from five_seeds import claims, five_seeds


@pytest.mark.seeds
@pytest.mark.timeout(900)
@five_seeds
def test_claims(seed, tmp_path):
    for text, value in claims("07", seed, tmp_path).items():
        print(f"seed {seed}: {value:.4g}  {text}")
