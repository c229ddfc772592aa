"""Nothing is judged after a stopped training."""

import pytest

from course_utils.checks import ClaimFailed, claim, predict, progress

WHY = "training was stopped"


@pytest.fixture(autouse=True)
def lesson(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    monkeypatch.setattr("course_utils.session._current", None)
    monkeypatch.setattr(progress, "_open", "00")


def test_a_claim_is_not_judged_until_the_cell_has_run(monkeypatch, capsys):
    monkeypatch.setattr("course_utils.session._stopped_cells", {"a cell": WHY})
    claim("the loss", 3, at_most=2)
    assert f"not judged: {WHY}" in capsys.readouterr().out
    monkeypatch.setattr("course_utils.session._stopped_cells", {})
    with pytest.raises(ClaimFailed):
        claim("the loss", 3, at_most=2)


def test_a_reveal_gives_no_answer_until_the_cell_has_run(monkeypatch, capsys):
    prediction = predict("Which is larger?", ["left", "right"])
    prediction.choose("left")
    monkeypatch.setattr("course_utils.session._stopped_cells", {"a cell": WHY})
    prediction.reveal("right", because="half a training says so")
    shown = capsys.readouterr().out
    assert WHY in shown and "Answer: right" not in shown and "half a training" not in shown
    monkeypatch.setattr("course_utils.session._stopped_cells", {})
    prediction.reveal("left")
    assert "Answer: left (as you predicted)" in capsys.readouterr().out
