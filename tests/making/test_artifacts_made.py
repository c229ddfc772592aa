"""data/artifacts against its makers: cards, rounding, and at night the figures of newly made models."""

import copy

import pytest
import torch
from helpers import tiny_model, tiny_tokenizer

from course_utils import artifacts
from course_utils.chatml import add_chat_tokens
from course_utils.making import artifacts as maker
from course_utils.methods import reward
from course_utils.session import start

MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def session():
    return start("pocket", "quick", 0)


@pytest.mark.parametrize("name", maker.ARTIFACTS)
def test_a_card_is_of_todays_model_and_data(session, name):
    card = maker.read_card(name)
    assert card["weights"] == artifacts.weights_checksum(session), "run: make artifacts"
    assert card["rests_on"] == maker.rests_on(name), (
        "run: make artifacts; where no number changed: make artifacts ARGS=--confirm"
    )
    text = maker.card_text(name, artifacts.SHIPPED / name, card)
    assert (artifacts.SHIPPED / name / "README.md").read_text(encoding="utf-8") == text


def test_they_are_small():
    files = [path for path in artifacts.SHIPPED.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} == set(artifacts.SHIPPED_FOLDERS)
    assert sum(path.stat().st_size for path in files) < 42 * MEBIBYTE


@pytest.fixture
def made(monkeypatch, tmp_path, session):
    """make(name, trained): writes a model as the artifact of that name, in the test's folder."""
    monkeypatch.setattr(artifacts, "SHIPPED", tmp_path)

    def make(name, *trained):
        stand_in = maker.ARTIFACTS[name]._replace(train=lambda session: trained, figures=lambda *_: {})
        monkeypatch.setitem(maker.ARTIFACTS, name, stand_in)
        monkeypatch.setattr(maker, "rests_on", lambda name: "")
        maker.make(name, session, tmp_path / name)

    return make


def tiny_chat():
    model, tokenizer = tiny_model(), tiny_tokenizer()
    add_chat_tokens(model, tokenizer)
    return model, tokenizer


def test_a_causal_model_is_loaded_as_its_half_precision(made):
    model, tokenizer = tiny_chat()
    made("assistant", model, tokenizer)
    loaded, its_tokenizer = artifacts.load_shipped("assistant", "cpu")
    ids = torch.arange(20)[None]
    rounded = copy.deepcopy(model).half().float()
    torch.testing.assert_close(loaded(ids).logits, rounded(ids).logits, rtol=0, atol=1e-5)
    assert (loaded(ids).logits - model(ids).logits).abs().max() > 1e-4, "fp16 rounds"
    assert its_tokenizer.get_vocab() == tokenizer.get_vocab()
    assert its_tokenizer.chat_template == tokenizer.chat_template
    assert loaded.generation_config.eos_token_id == model.generation_config.eos_token_id


def test_a_reward_model_is_loaded_as_its_half_precision_on_the_assistant(made):
    model, tokenizer = tiny_chat()
    made("assistant", model, tokenizer)
    judge = reward.from_language_model(artifacts.load_shipped("assistant", "cpu")[0])
    torch.manual_seed(0)
    with torch.no_grad():
        for value in [value for value in judge.parameters() if value.requires_grad]:
            value += 0.1 * torch.randn_like(value)
        judge.centre += 0.3
    made("reward_model", judge, tokenizer)
    loaded, _ = artifacts.load_shipped_reward_model("cpu")
    ids, mask = torch.arange(40).view(2, 20), torch.ones(2, 20, dtype=torch.long)
    rounded = copy.deepcopy(judge).half().float()
    assert torch.equal(loaded(ids, mask), rounded(ids, mask)) and not torch.equal(
        loaded(ids, mask), judge(ids, mask)
    )


def test_a_card_is_stamped_where_the_figures_hold_and_not_where_they_do_not(made, monkeypatch, session):
    model, tokenizer = tiny_chat()
    made("assistant", model, tokenizer)
    weights = (artifacts.SHIPPED / "assistant" / "model.safetensors").read_bytes()
    figures = {"right short answers": 0.9}
    stand_in = maker.ARTIFACTS["assistant"]._replace(figures=lambda *_: figures)
    monkeypatch.setitem(maker.ARTIFACTS, "assistant", stand_in)
    maker.make("assistant", session, artifacts.SHIPPED / "assistant")
    monkeypatch.setattr(maker, "rests_on", lambda name: "today")
    figures["right short answers"] = 0.8
    with pytest.raises(ValueError, match=r"assistant: right short answers: shipped 0.9, now 0.8. Make it"):
        maker.confirm("assistant", session)
    assert maker.read_card("assistant")["rests_on"] == ""
    figures["right short answers"] = 0.88
    maker.confirm("assistant", session)
    card = maker.read_card("assistant")
    assert card["rests_on"] == "today" and card["figures"] == {"right short answers": 0.9}
    assert (artifacts.SHIPPED / "assistant" / "model.safetensors").read_bytes() == weights
    artifacts.check_artifact(artifacts.SHIPPED / "assistant")


@pytest.mark.night
@pytest.mark.parametrize("name", maker.ARTIFACTS)
def test_made_anew_it_has_the_same_figures(session, name):
    assert maker.made_anew_differs(name, session) == []
