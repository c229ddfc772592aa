"""Blind rating: no sheet shows an answer's model, ratings are counted, and chance is reported."""

import json
import math
import os
import random

import pytest

from course_utils.commands import cli
from course_utils.own.own_run import Scores, shown
from course_utils.own.rating import (
    KEY_FILE,
    SHEET_FILE,
    RatingCount,
    count_ratings,
    make_sheet,
    read_ratings,
    write_sheet,
)


def scores(answers):
    return Scores(1.0, 1.0, 0.0, 0.0, 0.0, 1.0, answers)


COUNT = 60
ASKED = [
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Q{n}?"}] for n in range(COUNT)
]
QUESTIONS = (ASKED, ["x"] * COUNT, list(range(COUNT)), 20)
OURS, THEIRS = scores([f"ours {n}" for n in range(COUNT)]), scores([f"theirs {n}" for n in range(COUNT)])


@pytest.fixture
def folder(tmp_path):
    write_sheet(tmp_path, make_sheet(QUESTIONS, OURS, THEIRS), "<b>Sheet</b>")
    return tmp_path


def test_twenty_pairs_in_random_order_with_random_sides():
    sheet = make_sheet(QUESTIONS, OURS, THEIRS)
    assert len(sheet.pairs) == 20 and 5 <= sheet.tuned.count("left") <= 15
    for pair, side in zip(sheet.pairs, sheet.tuned, strict=True):
        other = {"left": "right", "right": "left"}[side]
        number = pair["asked"][1:-1]
        assert (pair[side], pair[other]) == (f"ours {number}", f"theirs {number}")
    assert [pair["asked"] for pair in sheet.pairs] != sorted(pair["asked"] for pair in sheet.pairs)
    assert make_sheet(QUESTIONS, OURS, THEIRS) == sheet != make_sheet(QUESTIONS, OURS, THEIRS, seed=1)


def test_answers_that_are_the_same_are_not_rated():
    theirs = scores([f"Ours {n}." if n > 3 else "no" for n in range(COUNT)])
    assert sorted(pair["asked"] for pair in make_sheet(QUESTIONS, OURS, theirs).pairs) == [
        "Q0?",
        "Q1?",
        "Q2?",
        "Q3?",
    ]


def test_the_page_shows_all_texts_as_text_and_not_whose_they_are(folder):
    page = (folder / SHEET_FILE).read_text(encoding="utf-8")
    data = json.loads(page.split('type="application/json">')[1].split("</script>")[0])
    assert set(data) == {"name", "pairs"} and all(
        set(pair) == {"asked", "left", "right"} for pair in data["pairs"]
    )
    assert "tuned" not in page and "&lt;b&gt;Sheet" in page
    evil = scores(["</script><script>alert(1)</script>"] * COUNT)
    write_sheet(folder, make_sheet(QUESTIONS, evil, THEIRS), "t")
    assert "<script>alert" not in (folder / SHEET_FILE).read_text(encoding="utf-8")
    write_sheet(folder, make_sheet(QUESTIONS, OURS, OURS), "t")
    assert "nothing to rate" in (folder / SHEET_FILE).read_text(encoding="utf-8")


def test_ratings_are_counted_against_the_key(folder, capsys):
    key = json.loads((folder / KEY_FILE).read_text(encoding="utf-8"))
    for_tuned = {
        "sheet": key["sheet"],
        "ratings": [*key["tuned"][:15], "neither", "same", None, "left", "right"],
    }
    (folder / "ratings.json").write_text(json.dumps(for_tuned))
    outcome = read_ratings(folder, folder / "ratings.json")
    assert (outcome.same, outcome.neither, outcome.open) == (1, 1, 1)
    assert outcome.tuned + outcome.other == 17 and outcome.tuned >= 15
    assert cli.main(["rated", str(folder), str(folder / "ratings.json")]) == 0
    assert capsys.readouterr().out == outcome.words + "\n"
    (folder / "ratings.json").write_text(json.dumps(for_tuned | {"sheet": "x"}))
    assert cli.main(["rated", str(folder), str(folder / "ratings.json")]) == 1
    assert "another sheet" in capsys.readouterr().err
    (folder / KEY_FILE).rename(folder / "rating_key-2.json")  # like a result that keeps the previous key
    (folder / KEY_FILE).write_text(json.dumps({"sheet": "x", "tuned": key["tuned"][:1]}))
    (folder / "ratings.json").write_text(json.dumps(for_tuned))
    assert read_ratings(folder, folder / "ratings.json") == outcome
    (folder / "rating_key-2.json").unlink()
    unknown_side = json.dumps(key | {"tuned": ["up"] * len(key["tuned"])})
    for damaged in ("[]", "{", "", json.dumps({"sheet": key["sheet"]}), unknown_side):
        (folder / KEY_FILE).write_text(damaged)
        assert cli.main(["rated", str(folder), str(folder / "ratings.json")]) == 1
        assert f"another sheet than {folder.name}'s, or its {KEY_FILE} is damaged" in capsys.readouterr().err
    for broken in ("[]", "{", "", '{"ratings": []}'):
        (folder / "ratings.json").write_text(broken)
        assert cli.main(["rated", str(folder), str(folder / "ratings.json")]) == 1
        assert "ratings.json is not a file from a rating sheet" in capsys.readouterr().err
    assert cli.main(["rated", str(folder / "nowhere"), str(folder / "ratings.json")]) == 1
    assert "nowhere has no rating sheet" in capsys.readouterr().err


def test_a_run_is_found_under_the_name_that_the_lesson_prints(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    run = tmp_path / "own-models" / "my run"
    run.mkdir(parents=True)
    sheet = make_sheet(QUESTIONS, OURS, THEIRS)
    write_sheet(run, sheet, "t")
    (tmp_path / "r.json").write_text(json.dumps({"sheet": sheet.name, "ratings": sheet.tuned}))
    assert cli.main(["rated", shown(run), str(tmp_path / "r.json")]) == 0
    assert shown(run).startswith("COURSE_HOME/") and "preferred in 20 pairs" in capsys.readouterr().out


@pytest.mark.skipif(os.name != "posix", reason="pipes are Unix's")
def test_no_pipe_is_read(folder, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileExistsError, match=r"pipe is a pipe\. Name a file"):
        read_ratings(folder, tmp_path / "pipe")
    (folder / "rating_key.json").unlink()
    os.mkfifo(folder / "rating_key.json")
    with pytest.raises(ValueError, match="has no rating sheet"):
        read_ratings(folder, tmp_path / "pipe")


def test_words_say_what_chance_can_do():
    assert (
        "preferred by more than chance" in RatingCount(15, 5, 0, 0, 0).words
        and RatingCount(15, 5, 0, 0, 0).words.count("tuned") == 2
    )
    assert "the other one is preferred by more than chance" in RatingCount(2, 14, 4, 0, 0).words
    assert "chance alone" in RatingCount(12, 8, 0, 0, 0).words and "60%" in RatingCount(12, 8, 0, 0, 0).words
    assert "no difference in 3; neither could be sent in 2; 12 not rated" in RatingCount(4, 1, 3, 2, 12).words
    assert RatingCount(0, 0, 1, 2, 17).words == "No preference in 3 rated pairs; 17 not rated."


@pytest.mark.parametrize("count", range(1, 26))
def test_a_coin_is_ahead_by_more_than_chance_in_less_than_five_of_a_hundred_sheets(count):
    told = [won for won in range(count + 1) if "by more" in RatingCount(won, count - won, 0, 0, 0).words]
    assert sum(math.comb(count, won) for won in told) / 2**count < 0.05
    assert (count in told) == (count > 5) and (15 in told or count != 20)


def test_who_flips_a_coin_is_rarely_taken_for_a_judge():
    sheet, rng = make_sheet(QUESTIONS, OURS, THEIRS), random.Random(0)
    flips = [count_ratings(rng.choices(["left", "right"], k=20), sheet.tuned) for _ in range(500)]
    assert 0.01 < sum("chance alone" not in one.words for one in flips) / 500 < 0.08


@pytest.mark.parametrize(
    "ratings, message", [(["left"], "1 ratings"), (["up"] * 20, "one of left, right, same")]
)
def test_ratings_that_cannot_be_are_refused(ratings, message):
    with pytest.raises(ValueError, match=message):
        count_ratings(ratings, ["left"] * 20)
