"""The claims of every lesson hold at five seeds: other starts, orders of batches, samples and splits."""

import pytest
from helpers import claims_at

from course_utils.notebook_files import lesson_key, lessons

PROCESSES = "16"  # test_processes.py has its trained claims; all others are arithmetic


@pytest.mark.seeds
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("lesson", [key for key in map(lesson_key, lessons(more=True)) if key != PROCESSES])
def test_claims(lesson, seed, tmp_path):
    for text, value in claims_at(lesson, seed, tmp_path).items():
        print(f"seed {seed}: {value}  {text}")
