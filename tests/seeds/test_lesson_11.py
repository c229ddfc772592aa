"""The claims of lesson 11 hold for other tuned policies, other samples and other tables."""

import pytest
from five_seeds import claims, five_seeds


@pytest.mark.seeds
@pytest.mark.timeout(900)
@five_seeds
def test_claims(seed, tmp_path):
    for text, value in claims("11", seed, tmp_path).items():
        print(f"seed {seed}: {value if isinstance(value, str) else format(value, '.4g')}  {text}")
