"""The teacher's room: what is read, who counts as stuck, how mistakes are grouped, and who may see it."""

import json
import os
import socket
import struct
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from course_utils.commands import cli, room, room_page

NOW = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
BEFORE = "You chose a token after every position."


def at(minutes):
    return (NOW - timedelta(minutes=minutes)).isoformat(timespec="seconds")


def exercise(*minutes, status="failed", mistake=BEFORE):
    """The record of an exercise with a try `minutes` ago."""
    tries = [{"at": at(one), "mistake": mistake} for one in minutes]
    return {"status": status, "attempts": len(tries), "first": tries[0]["at"], "last": tries[-1]["at"]} | {
        "tries": tries,
        "mistake": mistake,
    }


def doing(name="greedy_next_token", lesson="00", **record):
    return {lesson: {"exercises": {name: record}}}


def write(folder, name, lessons):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"lessons": lessons}), encoding="utf-8")
    return path


# ------------------------------------------------------------------------------------------ what is read


def test_progress_files_are_found_wherever_homes_are_kept(tmp_path):
    lessons = doing(**exercise(3))
    for name in ("Ada/progress.json", "Ben/finetuning-course/progress.json", "Chen.json"):
        write(tmp_path, name, lessons)
    write(tmp_path, "Dalia/.local/share/finetuning-course/progress.json", lessons)
    (tmp_path / "Emeka.json").write_text(json.dumps(lessons))  # like the output of `progress --json`
    write(tmp_path, "Ada/progress.damaged.json", lessons)
    found, faults = room.Room([tmp_path]).learners()
    assert sorted(found) == ["Ada", "Ben", "Chen", "Dalia", "Emeka"] and faults == []
    assert all(each == lessons for each in found.values())


def test_the_summary_that_progress_prints_is_read(tmp_path, monkeypatch, capsys):
    from course_utils.checks import progress

    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    progress.record_attempt("00", "greedy_next_token", "a text", BEFORE)
    assert cli.main(["progress", "--json"]) == 0
    (tmp_path / "Ada.json").write_text(capsys.readouterr().out)
    (ada,) = [lessons for name, lessons in room.Room([tmp_path]).learners()[0].items() if name == "Ada"]
    assert ada["00"]["exercises"]["greedy_next_token"]["tries"][0]["mistake"] == BEFORE


@pytest.mark.parametrize("text", ["{ not json", "[1]", '"x"', "\x00"])
def test_a_file_that_is_no_progress_is_named_and_stops_nothing(tmp_path, text):
    write(tmp_path, "Ada.json", doing(**exercise(3)))
    (tmp_path / "bad.json").write_text(text)
    found, faults = room.Room([tmp_path]).learners()
    assert "Ada" in found and len(faults) == 1 and "bad.json is not a progress file: " in faults[0]


def test_a_huge_file_is_named_and_not_read(tmp_path, monkeypatch):
    with (tmp_path / "bob.json").open("wb") as file:
        file.truncate(3 << 30)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} is read"))
    with pytest.raises(ValueError, match="more than 10 MiB"):
        room.read_progress(tmp_path / "bob.json")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_progress_file_may_be_in_any_utf(tmp_path, encoding):
    """As PowerShell may write the output of `progress --json`."""
    (tmp_path / "Ada.json").write_bytes(json.dumps(doing(**exercise(3))).encode(encoding))
    assert room.Room([tmp_path]).learners() == ({"Ada": doing(**exercise(3))}, [])


def test_one_name_or_text_that_is_not_utf_8_leaves_the_page_to_the_others(tmp_path):
    write(tmp_path, "Ada.json", doing(**exercise(3)))
    for name in ("Zoë.json", "Émile/progress.json"):
        try:
            write(tmp_path, os.fsdecode(name.encode("latin-1")), doing(**exercise(20, mistake="\ud800\x1b")))
        except OSError:
            pytest.skip("file names are Unicode here")
    write(tmp_path, "Ben.json", doing("\udfff", **exercise(3)) | {"\ud800": {"predictions": {"\ud800": {}}}})
    lines = {"00": {"exercises": {"gae": exercise(20, mistake="falsch gewählt")}}}
    (tmp_path / "Chen.json").write_bytes(json.dumps(lines, ensure_ascii=False).encode("latin-1"))
    (tmp_path / os.fsdecode(b"bad\xff.json")).write_text("[")
    with served(tmp_path) as address:
        page = ask(f"{address}/")[0]
        assert all(name in page for name in ("Ada", "Ben", "Chen", "Zo\\udceb", "\\udcc9mile", "bad\\udcff"))
        assert "falsch gew\ufffdhlt" in page and "6 learners" in page
        assert "Predictions" in ask(f"{address}/projector")[0]
    assert cli.main(["room", str(tmp_path), "--out", str(tmp_path / "page.html")]) == 0


@pytest.mark.parametrize(
    "entry",
    [{"tries": [1, {"at": 2}, {"at": "no time", "mistake": "x"}]}, {"first": "soon"}, {}, {"chosen": ["x"]}],
)
def test_records_of_a_wrong_form_are_passed_over(entry):
    learners = {"Ada": {"00": {"exercises": {"greedy_next_token": entry}, "predictions": {"Which?": entry}}}}
    assert "Ada" in room_page.room_page(learners, NOW, False, [], "")


def test_two_homes_of_one_learner_add_up_and_passed_stays_passed(tmp_path):
    mine = doing(**exercise(9, status="passed", mistake=""))
    room.add(mine, doing(**exercise(3)))
    room.add(mine, doing("filter_logits", **exercise(2)))
    entries = mine["00"]["exercises"]
    assert entries["greedy_next_token"]["status"] == "passed" and "filter_logits" in entries


def test_notebooks_are_judged_only_when_asked_for_and_each_once(tmp_path, monkeypatch):
    judged = []

    def grade(path, folder):
        judged.append(path.name)
        rows = [
            ("greedy_next_token", "mistake", "No."),
            ("filter_logits", "passed", ""),
            ("x", "not attempted", ""),
        ]
        return [{"lesson": "00", "exercise": n, "status": s, "message": m} for n, s, m in rows]

    monkeypatch.setattr(room, "grade_notebook", grade)
    for name in ("Ada/00_start_here.ipynb", "Ada/work/01.ipynb", "Ada/work/01.before-2.ipynb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    there = room.Room([tmp_path])
    assert "2 notebooks are not judged: start with --grade" in room.page(there, False, "") and judged == []
    asked = room.Room([tmp_path], grade=True)
    assert "2 of 2 notebooks are still to be judged" in room.page(asked, False, "")
    for path, folder in asked.waiting():
        asked.judge(path, folder)
    assert len(judged) == 2 and asked.waiting() == []
    exercises = asked.learners()[0]["Ada"]["00"]["exercises"]
    assert {name: entry["status"] for name, entry in exercises.items()} == {
        "greedy_next_token": "failed",
        "filter_logits": "passed",
    }


def test_the_same_mistake_judged_again_is_no_new_try():
    rows = [{"lesson": "00", "exercise": "gae", "status": "mistake", "message": "No."}]
    first = room.as_progress(rows, at(20), {})
    again = room.as_progress(rows, at(10), first)
    other = room.as_progress([{**rows[0], "message": "Other."}], at(5), again)
    tries = other["00"]["exercises"]["gae"]["tries"]
    assert again == first and [one["at"] for one in tries] == [at(20), at(5)]


# -------------------------------------------------------------------------------------- who is where


@pytest.mark.parametrize(
    ("record", "stuck", "why"),
    [
        (exercise(20, 9, 1), True, "has tried it for 20 minutes"),
        (exercise(9), True, "one try, nine minutes ago"),
        (exercise(8), False, "eight are not more than eight"),
        (exercise(20, 1, status="passed"), False, "it has passed"),
        (exercise(90, 80, 2), False, "back after a long break"),
        (exercise(50, 40), False, "gone"),
    ],
)
def test_who_is_stuck(record, stuck, why):
    assert room_page.whereabouts(doing(**record), NOW)["stuck"] is stuck, why


def test_somebody_who_went_on_is_not_stuck_and_a_hint_counts_as_a_sign():
    lessons = doing(**exercise(30, 20))
    lessons["00"]["exercises"]["filter_logits"] = exercise(2)
    row = room_page.whereabouts(lessons, NOW)
    assert not row["stuck"] and row["at"] == "3 of 3: the rules of sampling" and row["minutes"] == 2
    lessons["00"]["hints"] = {"greedy_next_token": {"steps": 2, "last": at(1)}}
    del lessons["00"]["exercises"]["filter_logits"]
    row = room_page.whereabouts(lessons, NOW)
    assert (row["stuck"], row["minutes"], row["silent"], row["hints"]) == (True, 30, 1, 2)


def test_a_prediction_says_where_somebody_is_and_nothing_says_nothing():
    row = room_page.whereabouts({"01": {"predictions": {"Which?": {"choice": "a", "chosen": at(4)}}}}, NOW)
    assert (row["lesson"], row["at"], row["minutes"]) == ("01", "predicted: Which?", 4)
    assert room_page.whereabouts({}, NOW)["lesson"] == ""


# ------------------------------------------------------------------------------ mistakes and predictions


def test_mistakes_that_differ_in_numbers_are_one_and_counted_by_learner():
    learners = {
        "Ada": doing(**exercise(9, 8, mistake="Should have the shape [2, 5], not [3, 5].\nGiven: 1")),
        "Ben": doing(**exercise(9, mistake="Should have the shape [2, 5], not [7, 1].\nGiven: 2")),
        "Chen": doing(**exercise(9, mistake="Is there a return?")),
        "Dalia": doing(**exercise(9, status="passed", mistake="")),
    }
    (found,) = room_page.mistakes(learners)
    assert (found["tried"], found["passed"]) == (4, 1)
    assert [(row["learners"], row["tries"]) for row in found["rows"]] == [(2, 3), (1, 1)]
    assert found["rows"][0]["message"].startswith("Should have the shape [2, 5]")
    assert "Given" not in found["rows"][0]["message"]


def test_mistakes_stand_in_the_order_of_the_lessons():
    both = {"03": {"exercises": {"merge_lora": exercise(3), "LowRankChange": exercise(9)}}}
    found = room_page.mistakes({"Ada": {**both, **doing(**exercise(30))}})
    assert [one["name"] for one in found] == ["greedy_next_token", "LowRankChange", "merge_lora"]


def test_a_histogram_has_every_option_and_marks_what_was_measured():
    bars = room_page.histogram(["b", "b", "c"], ["a", "b", "c"], "c")
    assert [(bar["label"], bar["count"], bar["right"]) for bar in bars] == [
        ("a", 0, False),
        ("b", 2, False),
        ("c", 1, True),
    ]
    assert [bar["share"] for bar in bars] == [0, 1, 0.5]


def test_a_copy_that_is_gone_does_not_end_the_judging(tmp_path, monkeypatch):
    here, judged = room.Room([tmp_path], True), []

    def judge(path, folder):
        judged.append(path)
        if path == "gone":
            raise FileNotFoundError(path)

    def sleep(_):
        raise InterruptedError("the end of the test")

    monkeypatch.setattr(here, "waiting", lambda: [("gone", tmp_path), ("there", tmp_path)])
    monkeypatch.setattr(here, "judge", judge)
    monkeypatch.setattr(room.time, "sleep", sleep)
    with pytest.raises(InterruptedError):
        here.judge_all()
    assert judged == ["gone", "there"]


def test_predictions_come_latest_first_with_the_lessons_options():
    question = "Of the statements that the base completes, the tuned model completes"
    chosen = {question: {"choice": "about half", "chosen": at(2)}, "Old?": {"choice": "b", "chosen": at(9)}}
    first, second = room_page.predictions({"Ada": {"01": {"predictions": chosen}}})
    assert (first["question"], second["question"]) == (question, "Old?")
    assert first["bars"][0]["label"] == "nearly all" and len(first["bars"]) == 3


# ------------------------------------------------------------------------------------------- the pages


def test_names_can_be_hidden_everywhere(tmp_path):
    write(tmp_path, "Ada Lovelace.json", doing(**exercise(3)))
    (tmp_path / "Ben bad.json").write_text("x")
    there = room.Room([tmp_path])
    shown, hidden = (room.page(there, hide, "") for hide in (False, True))
    assert "Ada Lovelace" in shown and "Ben bad" in shown
    assert "Ada" not in hidden and "Ben" not in hidden and "Learner 1" in hidden


def test_what_learners_wrote_is_escaped(tmp_path):
    bad = "<script>alert(1)</script>"
    lessons = doing(**exercise(20, mistake=bad)) | {
        "01": {"predictions": {bad: {"choice": bad, "chosen": at(1)}}}
    }
    lessons["02"] = {"exercises": {bad: exercise(2, mistake=bad)}}
    stuck = {f"{bad} too": doing(**exercise(20, 1, mistake=bad))}
    page = room_page.room_page({bad: lessons} | stuck, NOW, False, [bad], "n")
    assert bad not in page and page.count("&lt;script&gt;") >= 7 and "1 stuck" in page
    assert bad not in room_page.projector_page({bad: lessons}, True, "n")


def test_the_projector_shows_no_name_and_the_answer_only_if_asked():
    question = "Of the statements that the base completes, the tuned model completes"
    learners = {"Ada": {"01": {"predictions": {question: {"choice": "about half", "chosen": at(1)}}}}}
    page, marked = (room_page.projector_page(learners, answers, "n") for answers in (False, True))
    assert "Ada" not in page and "(measured)" not in page and marked.count("(measured)") == 1


def test_the_projector_shows_the_rooms_question_not_that_of_who_runs_ahead():
    learners = {
        f"n{number}": {"01": {"predictions": {"now": {"choice": "a", "chosen": at(9)}}}}
        for number in range(8)
    }
    learners["n0"]["01"]["predictions"] |= {"ahead": {"choice": "b", "chosen": at(1)}}
    page = room_page.projector_page(learners, False, "n")
    assert page.index("<h2>now</h2>") < page.index("1 other question") < page.index("<h2>ahead</h2>")
    for number in (1, 2):  # a quarter has come there
        learners[f"n{number}"]["01"]["predictions"] |= {"ahead": {"choice": "b", "chosen": at(1)}}
    page = room_page.projector_page(learners, False, "n")
    assert page.index("<h2>ahead</h2>") < page.index("<h2>now</h2>")


def test_an_empty_room_says_where_it_has_looked(tmp_path):
    page = room.page(room.Room([tmp_path]), False, "")
    assert "Nobody yet. Looked for" in page and "*/progress.json" in page and str(tmp_path) in page


# -------------------------------------------------------------------------------------------- served


@contextmanager
def served(folder, host="127.0.0.1", hide=False):
    with room.serve(room.Room([folder]), host, 0, hide) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def ask(address, **headers):
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=20) as answer:
        return answer.read().decode(), answer.headers


def test_the_page_is_served_to_this_machine_and_is_new_each_time(tmp_path):
    with served(tmp_path) as address:
        page, headers = ask(f"{address}/")
        assert "0 learners" in page and headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        write(tmp_path, "Ada/progress.json", doing(**exercise(3)))
        assert "1 learner," in ask(f"{address}/")[0]
        assert "Ada" not in ask(f"{address}/?names=hidden")[0]
        assert "No predictions yet" in ask(f"{address}/projector")[0]


def test_switched_off_names_cannot_be_asked_for(tmp_path):
    write(tmp_path, "Ada/progress.json", doing(**exercise(3)))
    with served(tmp_path, hide=True) as address:
        assert "Ada" not in ask(f"{address}/?names=shown")[0]


@pytest.mark.parametrize("name", ["evil.example", "evil.example:8900", "127.0.0.1.evil.example", "[", ""])
def test_another_name_for_this_machine_is_refused(tmp_path, name):
    with served(tmp_path) as address, pytest.raises(urllib.error.HTTPError, match="403"):
        ask(f"{address}/", Host=name)


def test_other_places_are_not_there(tmp_path):
    with served(tmp_path) as address, pytest.raises(urllib.error.HTTPError, match="404"):
        ask(f"{address}/../progress.json")


def test_a_reader_who_leaves_is_no_fault(tmp_path, capfd):
    with served(tmp_path) as address:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1]))) as leaving:
                leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # resets
                leaving.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert "0 learners" in ask(f"{address}/")[0]
    assert capfd.readouterr().err == ""


def test_by_default_only_loopback_is_bound(tmp_path):
    with room.serve(room.Room([tmp_path]), "127.0.0.1", 0, False) as server:
        assert server.server_address[0] == "127.0.0.1"
        with pytest.raises(OSError, match=r"cannot be served on 127\.0\.0\.1, port \d+ .*--port 0"):
            room.serve(room.Room([tmp_path]), "127.0.0.1", server.server_port, False)
    with pytest.raises(OSError, match=r"cannot be served on 999\.1\.1\.1.*--host 127\.0\.0\.1"):
        room.serve(room.Room([tmp_path]), "999.1.1.1", 0, False)


def test_help_names_every_place_of_a_progress_file(capsys):
    with pytest.raises(SystemExit):
        cli.main(["room", "--help"])
    shown = capsys.readouterr().out
    assert all(place.replace("*", "NAME", 1) in shown for place in room.PROGRESS_PLACES)


def test_a_folder_that_is_not_there_is_named(tmp_path, capsys):
    assert cli.main(["room", str(tmp_path / "nowhere")]) == 1
    assert "There is no folder" in capsys.readouterr().err


def test_the_page_is_written_once_with_out(tmp_path, capsys):
    write(tmp_path, "Ada/progress.json", doing(**exercise(3)))
    page = tmp_path / "page\u202elmth.html"
    assert cli.main(["room", str(tmp_path), "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "Ada" in text and "<script" not in text
    assert f"Open {tmp_path / 'page'}\\u202elmth.html" in capsys.readouterr().out


def test_a_port_that_no_machine_has_is_named(tmp_path):
    with pytest.raises(OSError, match=r"port 80000.*Name another"):
        room.serve(room.Room([tmp_path]), "127.0.0.1", 80000, False)
