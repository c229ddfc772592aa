"""The pre-training run on a tiny model: it learns, and continues from a checkpoint as if never stopped."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from course_utils.data import DATA
from course_utils.making.pocket import train as module
from course_utils.making.pocket.corpus import documents
from course_utils.model_files import wrong_checksums

TINY = module.Size("tiny", 1, 16, 2, 4e-3)


@pytest.fixture
def small(monkeypatch):
    for name, value in {"WARMUP_STEPS": 1, "BATCH": 4, "MICRO_BATCH": 2}.items():
        monkeypatch.setattr(module, name, value)
    return AutoTokenizer.from_pretrained(DATA / "pocket-gpt2")


TOKENS = 4 * 4 * module.CONTEXT + 1  # four steps of four windows


@pytest.mark.slow
def test_a_stopped_run_ends_like_one_that_was_not(small, tmp_path):
    whole, curve = module.pretrain(TINY, small, tmp_path / "whole", TOKENS, 0, lambda _: {}, 2)

    def stop_late(model, calls=[]):  # noqa: B006
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        module.pretrain(TINY, small, tmp_path / "halves", TOKENS, 0, stop_late, 2)
    halves, again = module.pretrain(TINY, small, tmp_path / "halves", TOKENS, 0, lambda _: {}, 2)
    for a, b in zip(whole.parameters(), halves.parameters(), strict=True):
        assert torch.equal(a, b)
    assert [row["loss"] for row in curve] == [row["loss"] for row in again]
    assert curve[-1]["step"] == 4 and curve[-1]["loss"] < curve[0]["loss"]


def test_the_token_stream_is_the_corpus(small, tmp_path):
    stream = np.asarray(module.token_stream(small, 3, 5000, tmp_path))
    assert stream.dtype == np.uint16 and len(stream) == 5000
    texts = small.decode(stream).split(module.END)
    source = documents(3)
    assert len(texts) > 20
    assert texts[:-1] == [next(source).text for _ in texts[:-1]]


def test_learning_rate_warms_up_and_falls():
    rates = [module.rate_at(step, 1000, 4e-3) for step in range(1000)]
    assert max(rates) == pytest.approx(4e-3, rel=0.02)
    assert rates[0] < 4e-3 / 50 and rates[-1] < 4e-3 / 20


def test_export_writes_half_precision_and_sums(small, tmp_path):
    torch.manual_seed(0)
    model = module.new_model(TINY)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README.md").write_text("stays")
    module.export(model, small, tmp_path / "out")
    assert not wrong_checksums(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["n_embd"] == 16
    assert (tmp_path / "out" / "README.md").read_text() == "stays"
    assert model.dtype == torch.float32
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_tokenizer_learns_from_stories_in_both_manners(monkeypatch):
    monkeypatch.setattr(module, "VOCAB", 400)
    monkeypatch.setattr(module, "documents", lambda seed: iter(()))
    assert {"Ahoy", "Ġremarked"} <= module.train_tokenizer(400).get_vocab().keys()  # pirate and formal
