"""recipes/two_nodes.slurm, rehearsed on this machine."""

import shutil
from pathlib import Path

import psutil
import pytest

pytest.importorskip("trl")

from course_utils.lessons.lesson_16 import two_nodes

pytestmark = [pytest.mark.night, pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")]
STEPS = ["--bits", 16, "--steps", 4, "--batch", 8, "--per-card", 2]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a small base and sixteen conversations."""
    folder = tmp_path_factory.mktemp("rehearsal")
    two_nodes.small_base(folder / "base")
    (folder / "my.jsonl").write_text(two_nodes.sixteen_conversations(), encoding="utf-8")
    return folder


def alone(made, out, *more):
    options = ["--data", made / "my.jsonl", "--out", made / out, "--base", made / "base", *STEPS, *more]
    two_nodes.recipe_alone(options, log=lambda line: None)
    return made / out


def test_two_nodes_train_the_adapter_of_one_process(made):
    lines = two_nodes.rehearse_nodes([made / "my.jsonl", made / "two", "--base", made / "base", *STEPS])
    here = [line.partition(" on cpu")[0] for line in sorted(lines) if line.startswith("process ")]
    assert here == [f"process    {rank} of 2" for rank in range(2)]
    one = alone(made, "one")
    assert two_nodes.how_far_apart(made / "two", one) < 1e-3
    assert two_nodes.how_far_apart(alone(made, "other", "--seed", 1), one) > 0.1


def test_an_interrupt_leaves_no_process(made):
    before, started = psutil.Process().children(recursive=True), []  # of other tests

    def stop(line):
        started.extend({*psutil.Process().children(recursive=True)} - {*before})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        two_nodes.rehearse_nodes(
            [made / "my.jsonl", made / "stopped", "--base", made / "base", *STEPS], log=stop
        )
    assert started and not any(process.is_running() for process in started)


def test_a_failure_is_told_with_its_last_lines(made):
    with pytest.raises(RuntimeError, match="no-such-base"):
        arguments = [made / "my.jsonl", made / "failed", "--base", Path("/no-such-base"), *STEPS]
        two_nodes.rehearse_nodes(arguments, log=lambda line: None)
