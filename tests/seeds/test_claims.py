"""The claims of every lesson hold at five seeds: other starts, orders of batches, samples and splits."""

import pytest
from helpers import claims_at

from course_utils.notebook_files import lessons

PROCESSES = "16"  # test_processes.py has its trained claims; the rest of it is arithmetic


@pytest.mark.seeds
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("lesson", [path.stem[:2] for path in lessons() if path.stem[:2] != PROCESSES])
def test_claims(lesson, seed, tmp_path):
    for text, value in claims_at(lesson, seed, tmp_path).items():
        print(f"seed {seed}: {value}  {text}")
