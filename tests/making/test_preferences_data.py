"""The shipped pairs match their card."""

import pytest

from course_utils import preferences
from course_utils.chatml import add_chat_tokens
from course_utils.making.preferences import preferences_card
from course_utils.world import annotator


@pytest.fixture(scope="module")
def shipped():
    return preferences.load_preferences()


def test_shipped_sizes_and_card(shipped):
    assert len(shipped.train) == annotator.TRAIN and len(shipped.held_out) == annotator.HELD_OUT
    assert len(shipped.controlled) >= 100
    assert preferences_card(shipped) == (preferences.FOLDER / "README.md").read_text(encoding="utf-8")


def test_the_pairs_are_made_from_the_stories(shipped):
    assert annotator.make_preferences(*annotator.load_answers()) == shipped


def test_shipped_pairs_are_what_the_card_says(shipped):
    assert annotator.longer_share(shipped.train) == pytest.approx(annotator.LONGER, abs=0.005)
    assert annotator.longer_share(shipped.held_out) == pytest.approx(0.5, abs=0.06)
    assert annotator.longer_share(shipped.controlled) == 1
    for pairs in (shipped.train, shipped.held_out):
        ceiling = annotator.ceiling(pairs, annotator.NOISE)
        assert annotator.gold_agreement(pairs) == pytest.approx(ceiling, abs=0.04)
    prompts = [{preferences.request(p.prompt) for p in pairs} for pairs in shipped]
    assert not prompts[0] & prompts[1] and not prompts[0] & prompts[2]


def test_shipped_pairs_fit_into_the_model(shipped):
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    add_chat_tokens(model, tokenizer)
    lengths = [
        len(e.input_ids) for pair in preferences.encode_pairs(tokenizer, shipped.train[::20]) for e in pair
    ]
    assert max(lengths) < model.config.n_positions
