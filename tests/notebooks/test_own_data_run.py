"""Lesson 17 as a tool: papermill on files of one's own, from another folder, at smoke scale."""

import functools
import json
import random
import subprocess
import sys

import pytest
from support_desk import desk_chats

from course_utils.data import load_questions
from course_utils.evaluation import question_text
from course_utils.making import notebooks
from course_utils.models import POCKET

pytestmark = pytest.mark.slow
night = functools.partial(pytest.param, marks=pytest.mark.night)
ASKED = [row for row in load_questions("tune") if row["kind"] == "sentence"][::40]


def conversation(row):
    return {
        "messages": [
            {"role": "user", "content": question_text(row)},
            {"role": "assistant", "content": row["completion"].strip()},
        ]
    }


def pair(row):
    return {"prompt": question_text(row), "chosen": row["completion"].strip(), "rejected": row["object"]}


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def papermill(folder, **parameters):
    """Run the lesson with papermill's command in a folder; returns the process and the notebook's text."""
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(notebooks.lessons(["17"])[0]),
        "out.ipynb",
        "--no-progress-bar",
    ]
    for name, value in {"MODEL": "pocket", "SCALE": "smoke", **parameters}.items():
        command += ["-p", name, str(value)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    cells = notebooks.code_cells(notebooks.read_notebook(folder / "out.ipynb"))
    outputs = [output for cell in cells for output in cell.outputs]
    shown = [str(out.get("text") or out.get("data", {}).get("text/plain") or "") for out in outputs]
    return done, "\n".join(shown)


def test_conversations_and_pairs_by_lora(tmp_path):
    write_lines(tmp_path / "my.jsonl", map(conversation, ASKED))
    write_lines(tmp_path / "p.jsonl", map(pair, ASKED[::2]))
    done, text = papermill(tmp_path, DATA="my.jsonl", PAIRS="p.jsonl", OUT="result")
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"{len(ASKED)} conversations, {len(ASKED[::2])} preference pairs" in text
    assert "DOES NOT HOLD" not in text and "DPO 1/1" in text
    made = {path.name for path in (tmp_path / "result").iterdir()}
    assert {
        "adapter_config.json",
        "adapter_model.safetensors",
        "README.md",
        "report.html",
        "run.json",
        "tokenizer.json",
        "chat_template.jinja",
    } <= made
    assert ASKED[0]["object"] not in (tmp_path / "result" / "README.md").read_text()
    for name in ("README.md", "report.html", "run.json", "results.json"):
        assert str(tmp_path) not in (tmp_path / "result" / name).read_text()
    assert {path.name for path in tmp_path.iterdir()} == {
        "my.jsonl",
        "p.jsonl",
        "out.ipynb",
        "result",
        ".result.lock",
    }


@pytest.mark.night
@pytest.mark.parametrize("typed", [slice(0, 8), slice(None)], ids=["some rows", "all rows"])
def test_typed_markers_are_named_and_do_not_fail_the_comparison(tmp_path, typed):
    rows = [conversation(row) for row in ASKED]
    for row in rows[typed]:
        row["messages"][0]["content"] += " Is <|im_end|> the end?"
    write_lines(tmp_path / "my.jsonl", rows)
    done, text = papermill(tmp_path, DATA="my.jsonl", OUT="result")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Markers typed as text, lines 1, 2, 3, 4, 5, 6, 7, 8" in text and "DOES NOT HOLD" not in text


@pytest.mark.night
def test_long_chats_are_shortened_and_a_small_file_is_told_what_it_cannot_show(tmp_path):
    """Each chat is longer than the model's context: only its last exchange is trained on."""
    early = [{"role": role, "content": "so and so " * 40} for role in ("user", "assistant")]
    rows = [{"messages": early * 4 + conversation(row)["messages"]} for row in ASKED[:24]]
    write_lines(tmp_path / "my.jsonl", rows)
    done, text = papermill(tmp_path, DATA="my.jsonl", OUT="result")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Shortened to 256 tokens: 24, lines 1, 2, 3" in text and "No PROMPT was given" in text
    assert "held-out questions are too few to tell" in text
    assert "rated result ratings.json" in text


@pytest.mark.night
def test_a_table_by_qlora_on_a_local_folder(tmp_path):
    rows = [f'"{question_text(row)}","{row["completion"].strip()}"' for row in ASKED]
    (tmp_path / "my.csv").write_text("\n".join(["question,answer", *rows]))
    (tmp_path / "base").symlink_to(POCKET)
    done, _ = papermill(tmp_path, DATA="my.csv", METHOD="qlora", BASE="base", OUT="deep/result")
    assert done.returncode == 0, done.stderr[-2000:]
    config = json.loads((tmp_path / "deep" / "result" / "adapter_config.json").read_text())
    assert config["fan_in_fan_out"] and len(config["trainable_token_indices"]) == 2
    assert not (tmp_path / "deep" / "result.part").exists()


@pytest.mark.night
def test_pairs_alone_with_all_weights(tmp_path):
    write_lines(tmp_path / "p.jsonl", map(pair, ASKED))
    done, text = papermill(tmp_path, DATA="", PAIRS="p.jsonl", METHOD="full", OUT="result")
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"{len(ASKED)} conversations, {len(ASKED)} preference pairs" in text
    assert (tmp_path / "result" / "model.safetensors").stat().st_size > 9_000_000


@pytest.mark.parametrize(
    "parameters, message",
    [
        pytest.param(
            {"DATA": "my.jsonl"},
            "my.jsonl: 2 lines of 3 cannot be used, and nothing was trained.\n  line 2: column",
            id="bad lines",
        ),
        night({"DATA": "none.jsonl"}, "none.jsonl: no such file", id="no file"),
        night({"METHOD": "ppo"}, "METHOD must be one of lora, qlora, full", id="method"),
        night({"OUT": "taken"}, "taken is a folder that lesson 17 did not make", id="folder"),
        night({"BASE": "./nothing"}, "There is no folder", id="base"),
        night(
            {"DATA": "one.jsonl"},
            "1 different conversations are too few: about ten questions are needed",
            id="one row",
        ),
        night(
            {"DATA": "long.jsonl"},
            "no conversation's last exchange fits into 256 tokens: shorten it",
            id="all too long",
        ),
    ],
)
def test_bad_input_ends_with_an_error_code_and_leaves_nothing(tmp_path, parameters, message):
    good = json.dumps(conversation(ASKED[0]))
    (tmp_path / "my.jsonl").write_text(f"{good}\n{{\n[]\n")
    (tmp_path / "one.jsonl").write_text(good)
    rows = [conversation(row | {"completion": f"{row['completion']} and so on" * 99}) for row in ASKED]
    write_lines(tmp_path / "long.jsonl", rows)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("mine")
    before = {path.name for path in tmp_path.iterdir()}
    done, _ = papermill(tmp_path, **{"OUT": "result", **parameters})
    assert done.returncode != 0 and message in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == before | {"out.ipynb"}


@pytest.mark.night
def test_a_base_that_does_not_know_the_domain_is_refused(tmp_path):
    write_lines(tmp_path / "desk.jsonl", [{"messages": messages} for messages in desk_chats()])
    done, _ = papermill(tmp_path, DATA="desk.jsonl", OUT="result", SCALE="quick")
    assert done.returncode != 0
    assert "Unfit: BASE: pocket is not fit for these data, so nothing was trained" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"desk.jsonl", "out.ipynb"}


def shuffled(count=320):
    """Questions that the base can answer, each with another question's answer: there is nothing to learn."""
    rows = [row for row in load_questions("tune") if row["kind"] == "short"][:count]
    answers = random.Random(0).sample([row["completion"] for row in rows], len(rows))
    return [conversation(row | {"completion": answer}) for row, answer in zip(rows, answers, strict=True)]


@pytest.mark.night
@pytest.mark.parametrize(
    "rows, parameters, error, word",
    [
        (shuffled(), {}, "NotBetter", "no better"),
        ([{"messages": messages} for messages in desk_chats()], {"ANYWAY": "True"}, "Unusable", "unusable"),
    ],
    ids=["no better", "unusable"],
)
def test_a_result_that_is_not_better_is_written_and_ends_with_an_error_code(
    tmp_path, rows, parameters, error, word
):
    write_lines(tmp_path / "my.jsonl", rows)
    done, text = papermill(tmp_path, DATA="my.jsonl", OUT="result", SCALE="quick", **parameters)
    assert done.returncode != 0 and f"{error}: {word}: " in done.stderr, done.stderr[-2000:]
    assert f"Verdict: {word}" in text
    card = (tmp_path / "result" / "README.md").read_text(encoding="utf-8")
    report = (tmp_path / "result" / "report.html").read_text(encoding="utf-8")
    assert f"**Verdict: {word}.**" in card.split("\n## ")[0] and "Verdict: " in report.split("<h2>")[0]
    assert (tmp_path / "result" / "adapter_model.safetensors").exists()
