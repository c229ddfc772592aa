"""Runs on own data: resuming bit for bit, results complete or not at all, scores, loading in PEFT."""

import dataclasses
import errno
import functools
import json
import math
import os
import re
import signal
from pathlib import Path

import pytest
import torch
from helpers import put_in_cache
from transformers import AutoModelForCausalLM, AutoTokenizer

from course_utils.chatml import add_chat_tokens, encode_conversation
from course_utils.data import encode
from course_utils.methods.dpo import reference_log_probs
from course_utils.methods.token_rows import load_chat_adapter
from course_utils.models import load_model, resolve, save_model
from course_utils.own import own_run, report
from course_utils.own.export import _find_base
from course_utils.own.own_data import Conversation, DataError, Preference
from course_utils.own.own_run import (
    Files,
    Plan,
    Run,
    agrees,
    evaluate,
    files_of,
    make_plan,
    open_run,
    prefer,
    prepare_model,
    read_files,
    save_result,
    shared_words,
    to_ask,
    tune_on_conversations,
    where,
)
from course_utils.own.verdict import Fit, Verdict
from course_utils.ownership import MARK_FILE
from course_utils.preferences import Pair, encode_pairs
from course_utils.session import Session

VERDICT = Verdict("better", "the words rose from .10 to .50")
FIT = Fit(2.0, 1.0, 4.0, 1.2, 0.9, 37)
WORDS = ("cat", "mat", "Paris", "France", "capital", "Answer")


def rows(count=24):
    """Conversations with the tiny model's words."""
    made = []
    for n in range(count):
        asked, said = f"is {WORDS[n % 6]} {WORDS[n // 4 % 6]}?", f"a {WORDS[n * 5 % 6]}."
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
        made.append(Conversation(n + 1, messages))
    return made


def pairs(tokenizer, count=12):
    return encode_pairs(
        tokenizer, [Pair(row.messages[:1], row.answers[0], "a helpful mat") for row in rows(count)]
    )


def plan(method="lora", **options):
    settings = {
        "steps": 6,
        "lr": 1e-2,
        "batch_size": 4,
        "rank": 2,
        "alpha": 4.0,
        "dpo_steps": 4,
        "dpo_lr": 1e-3,
        "dpo_batch_size": 4,
    }
    return Plan(method, 0, **settings | options)


@pytest.fixture
def session(model, tokenizer, tmp_path, monkeypatch):
    """A session whose base model is the tiny one, in a folder."""
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    folder = tmp_path / "tiny base"
    save_model(model, tokenizer, folder)
    return Session(str(folder), "quick", 0, torch.device("cpu"), torch.float32)


def tuned(session, run, the_plan, interrupt=None):
    """The model and tokenizer after SFT and DPO of a run; interrupt: (stage, step) at which Ctrl-C comes."""
    model, tokenizer = session.load_model()
    torch.manual_seed(the_plan.seed)
    prepare_model(model, tokenizer, the_plan)
    with pressing(interrupt, "sft"):
        tune_on_conversations(run, model, tokenizer, rows(), rows(4), the_plan)
    encoded = pairs(tokenizer)
    with pressing(interrupt, "dpo"):
        prefer(run, model, tokenizer, encoded, encoded[:4], the_plan)
    return model, tokenizer


class pressing:
    """Presses Ctrl-C in the middle of a step of a stage."""

    def __init__(self, interrupt, stage):
        self.step = interrupt[1] if interrupt and interrupt[0] == stage else None

    def __enter__(self):
        self.original, calls = torch.optim.AdamW.step, []

        def step(optimizer, *arguments):
            calls.append(1)
            if len(calls) == self.step:
                signal.raise_signal(signal.SIGINT)
            return self.original(optimizer, *arguments)

        if self.step:
            torch.optim.AdamW.step = step

    def __exit__(self, *exception):
        torch.optim.AdamW.step = self.original


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("method", own_run.RUN_METHODS)
@pytest.mark.parametrize("interrupt", [("sft", 3), ("dpo", 2)], ids=["in SFT", "in DPO"])
def test_an_interrupted_run_ends_as_if_nothing_had_happened(session, tmp_path, capsys, method, interrupt):
    settings = {"data": "x"}
    whole, _ = tuned(session, open_run(tmp_path / "a", settings), plan(method))
    run = open_run(tmp_path / "b", settings)
    with pytest.raises(KeyboardInterrupt):
        tuned(session, run, plan(method), interrupt)
    shown = capsys.readouterr().out
    assert f"interrupted at step {interrupt[1]} of" in shown and "taken up" not in shown
    run = open_run(tmp_path / "b", settings)
    assert "taken up where it stopped (b.part)" in capsys.readouterr().out
    resumed, _ = tuned(session, run, plan(method))
    expected, found = weights(whole), weights(resumed)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    untrained = weights(prepare_model(*session.load_model(), plan(method)))
    assert any(not torch.equal(untrained[name], expected[name]) for name in expected)


@pytest.mark.parametrize("method", own_run.RUN_METHODS)
def test_dpos_reference_is_what_sft_left(session, tmp_path, method):
    the_plan, run = plan(method), open_run(tmp_path / "a", {"data": "x"})
    model, tokenizer = session.load_model()
    torch.manual_seed(0)
    prepare_model(model, tokenizer, the_plan)
    encoded = pairs(tokenizer)
    before = reference_log_probs(model, encoded, tokenizer.pad_token_id)
    tune_on_conversations(run, model, tokenizer, rows(), rows(4), the_plan)
    moved = (reference_log_probs(model, encoded, tokenizer.pad_token_id) - before).abs()
    assert moved.mean() > 0.1, "SFT has to move the model, or this test sees nothing"
    history, _ = prefer(run, model, tokenizer, encoded, encoded[:4], the_plan)
    start, first = history.rows[:2]  # before the first step: of held-out pairs, and of the first batch
    assert start["held_out_loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-4)


def test_a_run_of_other_settings_or_at_work_is_refused(tmp_path):
    run = open_run(tmp_path / "m", {"data": "x", "method": "lora"})
    other = Run(tmp_path / "m", {})
    other.lock = type(run.lock)(run.lock.lock_file, is_singleton=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_run, "Run", lambda *_: other)
        with pytest.raises(ValueError, match="another process is working on m"):
            open_run(tmp_path / "m", {})
    run.lock.release(force=True)
    with pytest.raises(ValueError, match="interrupted run with other data, method"):
        open_run(tmp_path / "m", {"data": "y", "method": "full"})
    assert json.loads((run.work / "run.json").read_text()) == {"data": "x", "method": "lora"}


def test_a_checkpoint_of_another_split_is_refused(session, tmp_path):
    """With equally many rows the plan is the same, but one split holds out what the other trains on."""
    (tmp_path / "f.jsonl").write_text("{}")
    files, one, other = Files(tmp_path / "f.jsonl", None), rows()[:20], rows()[4:]
    run = open_run(*where(session, plan(), files, one, str(tmp_path / "m")))
    run.lock.release(force=True)
    with pytest.raises(ValueError, match="holds an interrupted run with other split"):
        open_run(*where(session, plan(), files, other, str(tmp_path / "m")))
    folders = [where(session, plan(), files, trained_on)[0] for trained_on in (one, rows()[:20], other)]
    assert folders[0] == folders[1] != folders[2]


def test_too_few_rows_are_told_in_words():
    for count in (1, 4):
        with pytest.raises(DataError, match=f"{count} different conversations are too few"):
            own_run.enough(rows(count))
    own_run.enough(rows(5))
    for trained, held_out in ((3, 2), (8, 0)):
        with pytest.raises(
            DataError, match=f"{trained} conversations to train on and {held_out} to judge by"
        ):
            own_run.enough_split(rows(trained), rows(held_out))
    own_run.enough_split(rows(4), rows(1))


def test_a_result_appears_whole_or_not_at_all(tmp_path):
    def write(text):
        return lambda folder: (folder / "file").write_text(text)

    def fail(folder):
        write("half")(folder)
        raise OSError("No space left on device")

    run = open_run(tmp_path / "m", {})
    with pytest.raises(OSError, match="No space"):
        run.finish(fail)
    assert not (tmp_path / "m").exists()
    run.finish(write("one"))
    run = open_run(tmp_path / "m", {})
    with pytest.raises(OSError, match="No space"):
        run.finish(fail)
    assert (tmp_path / "m" / "file").read_text() == "one"
    run.finish(write("two"))
    assert (tmp_path / "m" / "file").read_text() == "two"
    assert {path.name for path in tmp_path.iterdir()} == {"m", ".m.lock"}


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "m").mkdir()
    own_run.check_out(tmp_path / "m")
    (tmp_path / "m" / "thesis.txt").write_text("mine")
    for out in (tmp_path / "m", tmp_path / "m" / "thesis.txt"):
        with pytest.raises(
            ValueError, match=r"OUT: .*(m is a folder that lesson 17 did not make|txt is a file)"
        ):
            files_of("example", "", "lora", str(out))
    (tmp_path / "m").rename(tmp_path / "n.part")
    with pytest.raises(ValueError, match=r"n\.part is a folder that lesson 17 did not make"):
        open_run(tmp_path / "n", {"data": "x"})
    (tmp_path / "n.part").rename(tmp_path / "n.old")
    assert finished(tmp_path / "n", "one") == tmp_path / "n"
    assert (tmp_path / "n.old" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("out", [5, 0.5, ["m"], b"m"])
def test_an_out_that_is_no_name_is_told(out):
    with pytest.raises(ValueError, match="OUT must be the name of a folder, got"):
        files_of("example", "", "lora", out)


MINE = {"base": "b", "weights": "w", "method": "lora"} | dict.fromkeys(
    ("split", "steps", "lr", "rank", "dpo_steps")
)


def finished(out, data, files=None, overwrite=False):
    """A run's result: run.json, file, and what else `files` has."""
    run = open_run(out, {**MINE, "data": data}, overwrite)
    texts = {"file": data, **(files or {})}
    return run.finish(lambda folder: [(folder / name).write_text(text) for name, text in texts.items()])


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_long_names_are_cut_or_told_before_any_work(session, tmp_path):
    data = tmp_path / ("a" * 249 + ".jsonl")
    data.write_text("{}")
    out, settings = where(session, plan(), Files(data, None), rows())
    assert out.name.startswith("a" * 40 + "-") and open_run(out, settings).work.is_dir()
    for name in ("a" * 201, "é" * 101, "a" * 300):
        with pytest.raises(ValueError, match="the folder's name is too long, at most 200 bytes are allowed"):
            files_of("example", "", "lora", str(tmp_path / name))
    assert files_of("example", "", "lora", str(tmp_path / ("é" * 100))).pairs


def test_pairs_of_ones_own_are_not_mixed_with_the_examples_conversations():
    with pytest.raises(
        ValueError, match=r'^PAIRS names a file, and DATA is still the "example"\. Set DATA = ""'
    ):
        files_of("example", "mine.csv", "lora", "")
    assert files_of("", "mine.csv", "lora", "").data is None


@pytest.mark.parametrize("value", [5, True, ["my.jsonl"]])
def test_a_file_that_is_no_name_is_told(value):
    for files, name in (((value, ""), "DATA"), (("my.jsonl", value), "PAIRS")):
        with pytest.raises(ValueError, match=f'^{name} must be the name of a file, such as "my.jsonl", got '):
            files_of(*files, "lora", "")
    assert files_of("~no-such-user/my.jsonl", "", "lora", "").data == Path("~no-such-user/my.jsonl")


@pytest.mark.parametrize("earlier", [False, True], ids=["marked", "of an earlier edition"])
def test_another_runs_result_is_replaced_only_where_one_asks_for_it(tmp_path, earlier):
    out = finished(tmp_path / "m", "one", {"rating_key.json": "key of one", "README.md": "one"})
    if earlier:
        (out / MARK_FILE).unlink()
        (out / "file").unlink()
    (out / "ratings.json").write_text("mine")
    with pytest.raises(ValueError, match=r"m holds the result of a run with other data\. .*OVERWRITE = True"):
        open_run(out, {**MINE, "data": "two"})
    with pytest.raises(ValueError, match="m holds the result of a run with other data, method, pairs"):
        files_of("example", "", "full", str(out))
    assert files_of("example", "", "full", str(out), True)
    assert names(tmp_path) == {"m", ".m.lock"} and (out / "ratings.json").read_text() == "mine"
    finished(out, "one", {"rating_key.json": "key of one"})  # the same run again
    assert (out / "ratings.json").read_text() == "mine" and (out / "README.md").exists() == earlier
    finished(out, "two", {"rating_key.json": "key of two"}, overwrite=True)
    kept = {"rating_key-2.json", "ratings.json"}
    kept |= {"README.md"} if earlier else set()  # no mark identified it as the lesson's
    assert names(out) == {"file", "rating_key.json", "run.json", MARK_FILE, *kept}
    assert (out / "rating_key-2.json").read_text() == "key of one" and (out / "file").read_text() == "two"
    assert names(tmp_path) == {"m", ".m.lock"}


@pytest.mark.parametrize("copied", [("run.json",), (MARK_FILE,), ("run.json", MARK_FILE)], ids=" and ".join)
def test_files_beside_a_copied_mark_or_run_are_kept(tmp_path, copied):
    """Somebody's own folder with settings or a mark from a result, and files with a result's names."""
    ours = {"README.md": "ours", "report.html": "ours", "adapter_model.safetensors": "ours"}
    result = finished(tmp_path / "m", "one", ours)
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in copied:
        (mine / name).write_bytes((result / name).read_bytes())
    for name in ours:
        (mine / name).write_text("mine")
    finished(mine, "one", ours)
    for name in ours:
        assert (mine / name).read_text() == "ours"
        assert (mine / f"{Path(name).stem}-2{Path(name).suffix}").read_text() == "mine"


@pytest.mark.parametrize("kind", ["notes", "link"])
def test_what_cannot_be_marked_is_refused_before_any_work(tmp_path, kind):
    out = finished(tmp_path / "m", "one")
    (out / MARK_FILE).unlink()
    if kind == "notes":
        (out / MARK_FILE).write_text("notes of mine")
    elif os.name == "posix":
        (out / MARK_FILE).symlink_to(finished(tmp_path / "n", "one") / MARK_FILE)
    else:
        pytest.skip("links need rights elsewhere")
    with pytest.raises(ValueError, match="m is a folder that lesson 17 did not make"):
        open_run(out, {**MINE, "data": "one"})


def test_a_card_that_somebody_filled_in_is_kept(tmp_path):
    out = finished(tmp_path / "m", "one", {"README.md": "ours"})
    (out / "README.md").write_text("ours, with a licence")
    finished(out, "one", {"README.md": "ours"})
    assert names(out) == {"file", "README.md", "README-2.md", "run.json", MARK_FILE}
    assert (out / "README-2.md").read_text() == "ours, with a licence"
    finished(out, "two", {"README.md": "new"}, overwrite=True)
    assert names(out) == {"file", "README.md", "README-2.md", "run.json", MARK_FILE}


def test_models_and_folders_of_others_beside_an_earlier_result_are_kept(tmp_path):
    out = finished(tmp_path / "m", "one", {"model.safetensors": "ours"})
    (out / MARK_FILE).unlink()
    (out / "best.safetensors").write_text("mine")
    run = open_run(out, {**MINE, "data": "two"}, overwrite=True)
    (run.work / "old").mkdir()
    (run.work / "old" / "README.md").write_text("mine")
    run.finish(lambda folder: (folder / "model.safetensors").write_text("new"))
    assert (out / "best.safetensors").read_text() == (out / "old" / "README.md").read_text() == "mine"
    assert (out / "model.safetensors").read_text() == "new"


def test_folders_and_links_of_others_with_names_of_a_result_are_kept(tmp_path):
    out = finished(tmp_path / "m", "one", {"report.html": "ours", "README.md": "ours"})
    for name in ("report.html", "README.md"):
        (out / name).unlink()
    (out / "report.html").mkdir()
    (out / "report.html" / "thesis").write_text("mine")
    if os.name == "posix":
        (out / "README.md").symlink_to(tmp_path / "far")
    finished(out, "two", {"report.html": "new", "README.md": "new"}, overwrite=True)
    assert (out / "report.html").read_text() == (out / "README.md").read_text() == "new"
    assert (out / "report-2.html" / "thesis").read_text() == "mine"
    assert os.name != "posix" or os.readlink(out / "README-2.md") == str(tmp_path / "far")


def test_what_somebody_put_into_a_result_that_a_kill_left_is_kept(tmp_path):
    def killed(folder):
        raise KeyboardInterrupt

    run = open_run(tmp_path / "m", MINE)
    with pytest.raises(KeyboardInterrupt):
        run.finish(killed)
    finished(tmp_path / "other", "whole").rename(run.work / "result")  # before its last steps
    (run.work / "result" / "notes").mkdir()
    (run.work / "result" / "notes" / "thesis").write_text("mine")
    out = run.finish(lambda folder: (folder / "file").write_text("new"))
    assert (out / "notes" / "thesis").read_text() == "mine" and (out / "file").read_text() == "new"
    assert names(out) == {"file", "notes", "run.json", MARK_FILE}


def test_a_run_json_of_somebody_else_makes_no_result(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "run.json").write_text('{"base": "b", "weights": "w", "method": "lora"}')
    with pytest.raises(ValueError, match="m is a folder that lesson 17 did not make"):
        own_run.check_out(tmp_path / "m")


def test_what_somebody_put_into_the_work_comes_into_the_result(tmp_path):
    run = open_run(tmp_path / "m", MINE)
    run.checkpoint("sft").write_text("ours")
    for name in ("notes.txt", "README.md"):
        (tmp_path / "m.part" / name).write_text("mine")
    out = run.finish(lambda folder: (folder / "README.md").write_text("ours"))
    assert names(out) == {"README.md", "README-2.md", "notes.txt", "run.json", MARK_FILE}
    assert (out / "README-2.md").read_text() == (out / "notes.txt").read_text() == "mine"
    assert (out / "README.md").read_text() == "ours" and names(tmp_path) == {"m", ".m.lock"}


def test_what_cannot_be_moved_is_named_and_nothing_is_lost(tmp_path, monkeypatch):
    out = finished(tmp_path / "m", "one")
    (out / "mine.txt").write_text("mine")
    move = Path.rename

    def stuck(path, target):
        if path.name == "mine.txt":
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return move(path, target)

    monkeypatch.setattr(Path, "rename", stuck)
    with pytest.raises(OSError, match=r"mine.txt cannot be used .* Nothing is lost"):
        finished(out, "two", overwrite=True)
    monkeypatch.undo()
    finished(out, "two", overwrite=True)
    assert (out / "mine.txt").read_text() == "mine"


@pytest.mark.skipif(os.name != "posix", reason="pipes are Unix's")
def test_pipes_in_the_place_of_settings_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "run.json")
    assert own_run.settings_of(tmp_path) == {}


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_a_link_to_another_disk_is_followed(tmp_path):
    (tmp_path / "disk" / "m").mkdir(parents=True)
    (tmp_path / "m").symlink_to(tmp_path / "disk" / "m")
    for data in ("one", "one", "two"):
        assert finished(tmp_path / "m", data, overwrite=True) == tmp_path / "disk" / "m"
        assert (tmp_path / "m").is_symlink() and (tmp_path / "m" / "file").read_text() == data
    assert names(tmp_path / "disk") == {"m", ".m.lock"} and names(tmp_path) == {"disk", "m"}
    (tmp_path / "n.part").symlink_to(tmp_path / "far")
    with pytest.raises(ValueError, match=r"n\.part is a link\. Name another folder"):
        own_run.check_out(tmp_path / "n")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}"])
def test_damaged_settings_of_interrupted_work_are_told(tmp_path, text):
    run = open_run(tmp_path / "m", {"data": "x"})
    run.lock.release(force=True)
    (run.work / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"m\.part holds an interrupted run with other data\. Name another"):
        open_run(tmp_path / "m", {"data": "x"})


def test_the_work_of_an_earlier_edition_is_taken_up(tmp_path, capsys):
    settings = MINE
    (tmp_path / "m.part").mkdir()
    (tmp_path / "m.part" / "run.json").write_text(json.dumps(settings))
    (tmp_path / "m.part" / "sft.checkpoint").write_text("")
    open_run(tmp_path / "m", settings).finish(lambda folder: None)
    assert "taken up where it stopped" in capsys.readouterr().out and names(tmp_path) == {"m", ".m.lock"}


def test_a_file_with_the_locks_name_is_left_alone(tmp_path):
    (tmp_path / ".m.lock").write_text("mine")
    with pytest.raises(ValueError, match=r"\.m\.lock is not a lock of the course"):
        open_run(tmp_path / "m", {})
    assert (tmp_path / ".m.lock").read_text() == "mine"


@pytest.mark.parametrize("method", own_run.RUN_METHODS)
def test_the_written_result_gives_the_same_answers(session, tmp_path, method):
    the_plan = plan(method, steps=20)
    run = open_run(tmp_path / "out", dataclasses.asdict(the_plan))
    model, tokenizer = tuned(session, run, the_plan)
    asked = to_ask(rows(12), tokenizer, 128)
    scores = evaluate(model, tokenizer, rows(12), asked)
    run.finish(lambda folder: save_result(model, tokenizer, folder, method))
    if method == "full":
        loaded, its_tokenizer = load_model(str(tmp_path / "out"))
    else:
        loaded, _ = session.load_model()
        its_tokenizer = load_chat_adapter(loaded, tmp_path / "out", check_base=method != "qlora")
    again = evaluate(loaded, its_tokenizer, rows(12), asked)
    assert again.answers == scores.answers or method == "qlora"
    assert again.loss == pytest.approx(scores.loss, rel=0.05 if method == "qlora" else 1e-5)
    base, _ = session.load_model()
    add_chat_tokens(base, tokenizer)
    assert scores.loss < 0.9 * evaluate(base, tokenizer, rows(12), asked).loss


@pytest.mark.parametrize("method", own_run.RUN_METHODS)
def test_the_code_on_the_model_card_runs(session, tmp_path, monkeypatch, capsys, method):
    run = open_run(tmp_path / "out", dataclasses.asdict(plan(method)))
    model, tokenizer = tuned(session, run, plan(method))
    asked = to_ask(rows(4), tokenizer, 128)
    stages = {"before": evaluate(model, tokenizer, rows(4), asked)}
    card = report.model_card("mine", FIT, VERDICT, session.model_name, plan(method), 24, 12, "", stages)

    def write(folder):
        save_result(model, tokenizer, folder, method)
        report.write_report(folder, "", card, VERDICT, {})

    monkeypatch.chdir(run.finish(write))
    [code] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    names = {}
    capsys.readouterr()
    exec(code.replace("Your question", rows()[0].asked[0]), names)
    expected = stages["before"].answers[0].rstrip("\ufffd")  # cut earlier, perhaps within a character
    said = capsys.readouterr().out.strip()
    assert method == "qlora" or (len(expected) > 3 and said.startswith(expected))
    peft_model = names["model"]
    assert (type(peft_model).__name__ == "PeftModelForCausalLM") == (method != "full")


@pytest.fixture
def of_pocket(tmp_path, monkeypatch):
    """A run's result on the pocket model, the folder we are in, and its model with its tokenizer."""
    pocket = Session("pocket", "quick", 0, torch.device("cpu"), torch.float32)
    run = open_run(tmp_path / "out", {})
    model, tokenizer = pocket.load_model()
    prepare_model(model, tokenizer, plan())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += parameter.requires_grad * 0.1 * torch.randn_like(parameter)
    monkeypatch.chdir(run.finish(lambda folder: save_result(model, tokenizer, folder, "lora")))
    return model.eval(), tokenizer


def test_peft_alone_loads_what_the_pocket_model_gives(of_pocket):
    """The libraries only, in the result's folder: they find the base beside the adapter."""
    peft = pytest.importorskip("peft", reason="the adapter is loaded by PEFT, of the extra compare")
    model, tokenizer = of_pocket
    ids = torch.tensor([tokenizer("What is the capital of Peru?<|im_end|>")["input_ids"]])
    auto = peft.AutoPeftModelForCausalLM.from_pretrained(".", dtype=torch.float32).eval()
    base = AutoModelForCausalLM.from_pretrained("base", dtype=torch.float32)
    base.resize_token_embeddings(len(AutoTokenizer.from_pretrained(".")), mean_resizing=False)
    plain = peft.PeftModel.from_pretrained(base, ".").eval()
    with torch.no_grad():
        for loaded in (auto, plain):
            torch.testing.assert_close(loaded(ids).logits, model(ids).logits, rtol=1e-4, atol=1e-4)
    assert (
        json.loads(Path("adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"]
        == "base"
    )


def test_the_old_copy_of_the_base_goes_with_its_result_unless_something_was_added(of_pocket):
    out, settings = Path.cwd(), {"data": "another"}
    for added, kept in ((False, []), (True, ["base-2"])):
        if added:
            (out / "base" / "mine.txt").write_text("mine")
        write = functools.partial(save_result, *of_pocket, method="lora")
        open_run(out, settings | {"n": added}, overwrite=True).finish(
            lambda folder, write=write: write(folder=folder)
        )
        assert [path.name for path in out.glob("base-*")] == kept and (
            out / "base" / "model.safetensors"
        ).exists()
    assert (out / "base-2" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "base, words",
    [
        ("pocket", "`base/` is the base model"),
        ("acme/tiny", "the base from the hub"),
        ("my base", "does not find the base"),
    ],
)
def test_the_card_says_whether_autopeft_finds_the_base(base, words):
    stages = {"now": own_run.Scores(1.0, 1.0, 0.5, 0.5, 0.5, 0.5, ["a"])}
    card = report.model_card("t", FIT, VERDICT, base, plan(), 24, 0, "", stages)
    assert words in card and ("from_pretrained('base'" in card) == (base == "pocket")
    assert "AutoPeft" not in report.model_card("t", FIT, VERDICT, base, plan("full"), 24, 0, "", stages)


@pytest.mark.parametrize("typed", ["is<|im_end|>", "<|im_start|>assistant\nParis", "<|endoftext|>", "a cat"])
def test_the_code_on_the_model_card_makes_no_token_of_a_typed_marker(
    session, tmp_path, monkeypatch, capsys, typed
):
    run = open_run(tmp_path / "out", dataclasses.asdict(plan("full")))
    model, tokenizer = tuned(session, run, plan("full"))
    asked = to_ask(rows(4), tokenizer, 128)
    stages = {"now": evaluate(model, tokenizer, rows(4), asked)}
    card = report.model_card("mine", FIT, VERDICT, "b", plan("full"), 24, 12, "", stages)
    monkeypatch.chdir(run.finish(lambda folder: save_result(model, tokenizer, folder, "full")))
    [code] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    names = {}
    exec(code.replace('"Your question"', repr(typed)), names)
    expected = encode_conversation(tokenizer, [{"role": "user", "content": typed}], True)
    assert names["ids"].tolist() == [expected.input_ids]


def test_names_on_the_model_card_are_plain_text(session):
    name = "<script>*[a](b)_`x`\n# y"
    stages = {"now": own_run.Scores(1.0, 1.0, 0.5, 0.5, 0.5, 0.5, ["a"])}
    card = report.model_card(name, FIT, VERDICT, name, plan(), 24, 12, "Split by question.", stages)
    assert "held-out questions; in brackets 95% intervals. Split by question.\n" in card
    title = next(line for line in card.splitlines() if line.startswith("# "))
    assert card.split(title)[1].startswith("\n\n**Verdict: better.** the words rose")
    assert title == r"# \<script\>\*\[a\]\(b\)\_\`x\` \# y"
    assert card.count("<script>") == 2  # in the quoted name of the header and of the code
    assert json.loads(re.search("base_model: (.*)", card)[1]) == name


def test_scores_of_answers():
    assert agrees("Lima.", "The capital of Peru is Lima") and agrees("the capital of Peru is lima", "Lima")
    assert not agrees("Li", "Lima") and not agrees("", "Lima") and not agrees("Quito", "Lima")
    assert agrees("7", "It is 7.") and agrees("No.", "No, it is closed.")


SENTENCE = "The capital of Peru is Lima."


@pytest.mark.parametrize("answer", ["the", "The.", "of", "is", "of the"])
@pytest.mark.parametrize("sentence", [SENTENCE, "In the south of the land it is warm."])
def test_a_word_that_says_nothing_is_no_agreement(answer, sentence):
    assert not agrees(answer, sentence) and not agrees(sentence, answer)
    assert agrees(answer, answer.upper()) and agrees(f"{answer} Lima", f"It may be {answer} Lima.")


@pytest.mark.parametrize("symbol", ["In", "As", "At", "I", "He"])
def test_a_symbol_that_looks_like_such_a_word_agrees(symbol):
    sentence = f"The chemical symbol of this element is {symbol}."
    assert agrees(symbol, sentence) and agrees(sentence, symbol)
    assert not agrees("is", sentence)
    assert shared_words("a b c", "b c d") == pytest.approx(2 / 3)
    assert shared_words("a a", "a") == pytest.approx(2 / 3)
    assert (shared_words("x", "y"), shared_words("x y", "y x")) == (0, 1)


def test_questions_leave_room_for_the_answer(model, tokenizer):
    add_chat_tokens(model, tokenizer)
    long = [{"role": role, "content": "a cat"} for _ in range(20) for role in ("user", "assistant")]
    huge = [{"role": "user", "content": "cat " * 120}, {"role": "assistant", "content": "mat"}]
    asked, references, lines, room = to_ask(
        [*rows(2), Conversation(8, long), Conversation(9, huge)], tokenizer, 128
    )
    assert (lines, references[-1], room) == ([1, 2, 8], "a cat", 8 + 4)
    assert len(asked[-1]) < 39 and asked[-1][-1]["role"] == "user"
    assert to_ask(rows(5), tokenizer, 128)[2] == [1, 2, 3, 4, 5]


def test_an_answer_that_nobody_could_end_is_not_asked_for(model, tokenizer):
    add_chat_tokens(model, tokenizer)

    def answered(line, count):
        said = "cat " * count
        return Conversation(
            line, [{"role": "user", "content": "cat"}, {"role": "assistant", "content": said}]
        )

    _, references, lines, room = to_ask([answered(1, 50), answered(2, 80), answered(3, 2)], tokenizer, 128)
    assert lines == [1, 3] and all(len(encode(tokenizer, text)) < room <= 64 for text in references)
    with pytest.raises(DataError, match="none of 1 questions can be asked: an answer may have half"):
        to_ask([answered(2, 80)], tokenizer, 128)


def test_the_plan_follows_the_data(session):
    small, large = make_plan(session, "LoRA", 40, 4), make_plan(session, "lora", 10_000, 5000)
    assert small.steps < large.steps <= 120 and small.dpo_batch_size == 4 and large.dpo_batch_size == 8
    assert make_plan(session, "full", 100).dpo_steps == 0
    assert make_plan(session, "full", 100).lr < small.lr
    with pytest.raises(ValueError, match="METHOD must be one of lora, qlora, full; got 'ppo'"):
        make_plan(session, "ppo", 100)


def test_parameters_are_checked_before_anything_is_read(tmp_path):
    with pytest.raises(ValueError, match="METHOD must be one of"):
        files_of("nowhere.jsonl", "", "ppo", "")
    with pytest.raises(ValueError, match="Give DATA"):
        files_of("", "", "lora", "")
    assert files_of("a.jsonl", "", "lora", "").pairs is None and files_of("example", "", "lora", "").pairs
    (tmp_path / "a.jsonl").write_text("{")
    (tmp_path / "b.jsonl").write_text("[]")
    with pytest.raises(DataError, match=r"(?s)a.jsonl: 1 line.*b.jsonl: 1 line") as error:
        read_files(Files(tmp_path / "a.jsonl", tmp_path / "b.jsonl"))
    assert len(error.value.faults) == 2
    pair = {"prompt": "Who?", "chosen": "I.", "rejected": "Me."}
    (tmp_path / "b.jsonl").write_text(json.dumps(pair))
    conversations, preferences, notes = read_files(Files(None, tmp_path / "b.jsonl"))
    assert notes[0] == "1 conversations, 1 preference pairs were read." and len(notes) == 2
    assert isinstance(preferences[0], Preference) and conversations[0].answers == ["I."]


def test_no_path_of_the_base_model_is_in_what_is_handed_on(session, tmp_path):
    (tmp_path / "f.jsonl").write_text("{}")
    out, settings = where(session, plan(), Files(tmp_path / "f.jsonl", None), rows())
    assert settings["base"] == "tiny base" and out.name.startswith("f-tiny base-lora-")
    assert str(tmp_path) not in json.dumps(settings)
    assert own_run.shown(out) == f"COURSE_HOME/own-models/{out.name}"


def test_a_model_of_the_hub_has_one_name_and_place_however_it_was_found(session, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    put_in_cache(session.model_name, tmp_path / "hub", "acme/tiny")
    (tmp_path / "f.jsonl").write_text("{}")
    cached = resolve("acme/tiny").name  # the name in a session that finds it in the cache
    assert Path(cached).is_absolute()
    for name in ("acme/tiny", cached):  # by the id: the session that downloads it
        now = dataclasses.replace(session, model_name=name)
        out, settings = where(now, plan(), Files(tmp_path / "f.jsonl", None), rows())
        assert settings["base"] == "acme/tiny" and load_model(settings["base"])
        assert out.parent.name == "own-models" and out.name.startswith("f-acme--tiny-lora-")
        assert str(tmp_path) not in json.dumps(settings)
        assert _find_base(settings, None) == "acme/tiny"


def test_token_rows_refuse_a_head_with_a_bias(session):
    """Trained rows would leave out the bias of those tokens."""
    model, tokenizer = session.load_model()
    model.lm_head.bias = torch.nn.Parameter(torch.zeros(model.lm_head.out_features))
    with pytest.raises(ValueError, match=r"its head has a bias, .* METHOD=full"):
        prepare_model(model, tokenizer, plan())
    assert prepare_model(model, tokenizer, plan("full")) is model


def test_the_report_escapes_what_the_data_say(tmp_path, model, tokenizer):
    add_chat_tokens(model, tokenizer)
    evil = "<script>alert(1)</script>"
    row = Conversation(1, [{"role": "user", "content": evil}, {"role": "assistant", "content": evil}])
    asked = to_ask([row], tokenizer, 128)
    scores = dataclasses.replace(evaluate(model, tokenizer, [row], asked), answers=[evil])
    outcome = Verdict("better", evil, evil)
    page = report.report_page(evil, FIT, outcome, [(evil, evil)], [evil], {}, asked, {evil: scores})
    assert "<script" not in page and page.count("&lt;script&gt;") >= 10
    assert page.startswith("<!doctype html>") and 'charset="utf-8"' in page


def test_the_lock_lies_beside_the_work_and_is_held_until_it_is_gone(tmp_path, monkeypatch):
    run = open_run(tmp_path / "m", {"data": "x"})
    held = []

    def watched(folder):
        held.append(run.lock.is_locked)
        remove(folder)

    remove = own_run.remove
    monkeypatch.setattr(own_run, "remove", watched)
    assert not [path for path in run.work.iterdir() if "lock" in path.name]
    run.finish(lambda folder: (folder / "file").write_text("x"))
    assert held and all(held) and not run.lock.is_locked and not run.work.exists()
