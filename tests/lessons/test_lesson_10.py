"""Lesson 10: verdicts on answers; tricks and rules; the hunt's server; what stored claims exclude."""

import itertools
import random
import statistics

import pytest
import torch
from helpers import draws_of, feed, tiny_model

from course_utils.checks import claims
from course_utils.data import Example
from course_utils.lessons.lesson_10 import appended, stored, suspects, tricks, word_counts
from course_utils.lessons.lesson_10.pairs import bradley_terry_loss, endless_pairs, share_right
from course_utils.methods import reward
from course_utils.notebook_files import lessons, read_notebook
from course_utils.preferences import Pair, load_preferences
from course_utils.stored_runs import load_sweep
from course_utils.training import train
from course_utils.world.annotator import word_count
from course_utils.world.gold import gold_parts, gold_score
from course_utils.world.stories import story


@pytest.mark.parametrize("exercise, seed", draws_of("10"))
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


@pytest.fixture
def pairs():
    rng = random.Random(0)

    def example():
        ids = [rng.randrange(1, 300) for _ in range(rng.randrange(3, 20))]
        return Example(ids, ids)

    return [(example(), example()) for _ in range(40)]


@pytest.fixture
def model():
    model = reward.from_language_model(tiny_model())
    torch.manual_seed(0)
    torch.nn.init.normal_(model.head.weight)
    return model


@pytest.mark.parametrize("stored", [True, False])
def test_the_lessons_training_is_the_packages(pairs, stored):
    def loss(model, batch):
        if stored:
            return reward.state_pair_loss(model, batch)
        chosen, rejected = reward.score(model, batch["input_ids"], batch["attention_mask"]).chunk(2)
        return bradley_terry_loss(chosen, rejected) * len(chosen), len(chosen)

    theirs, ours = (reward.from_language_model(tiny_model()) for _ in range(2))
    reward.fit(theirs, pairs, pad_id=0, steps=6, seed=3)
    given = reward.prepare_pairs(ours, pairs, 0) if stored else pairs
    options = {"lr": reward.LEARNING_RATE, "loss_fn": loss, "seed": 3}
    train(ours, endless_pairs(given, 0, 3), steps=6, **options)
    reward.centre(ours, given[:100], 0)
    examples = [example for pair in pairs for example in pair]
    scores = reward.scores(theirs, examples, 0)
    assert scores.std() > 0.01
    assert torch.allclose(reward.scores(ours, examples, 0), scores, atol=1e-3)


def test_a_pair_loss_turned_round_turns_the_scores_round(pairs):
    """So stories that rose when told twice now fall: the claim rejects such a model."""
    right, wrong = (reward.from_language_model(tiny_model()) for _ in range(2))
    reward.fit(right, pairs, pad_id=0, steps=6)
    reward.fit(wrong, [pair[::-1] for pair in pairs], pad_id=0, steps=6)
    examples = [example for pair in pairs for example in pair]
    scores = reward.scores(right, examples, 0)
    assert scores.std() > 0.01
    assert torch.allclose(reward.scores(wrong, examples, 0), -scores, atol=1e-3)
    [claim] = [
        record
        for record in claims.read(read_notebook(lessons(["10"])[0]))
        if record["text"].startswith("Telling a good story twice")
    ]
    assert 1 - claim["value"] < 0.5 < claim["at_least"] < claim["value"]


def test_an_interval_over_requests_is_wider_where_pairs_share_them():
    alone = [Pair(f"request {number}", "a", "b") for number in range(100)]
    shared = [Pair(f"request {number // 10}", "a", "b") for number in range(100)]
    right = torch.tensor([float(number // 10 % 3 > 0) for number in range(100)])
    (share, low, high), (same, lower, higher) = (
        share_right(right, torch.full((100,), 0.5), pairs) for pairs in (alone, shared)
    )
    assert share == same == pytest.approx(right.mean().item())
    assert low == pytest.approx(share - 1.96 * (share * (1 - share) / 100) ** 0.5, abs=0.03)
    assert lower < low < high < higher
    assert share_right(right, right, alone)[0] == 0.5, "ties count half"


@pytest.mark.parametrize("name", tricks.TRICKS)
def test_no_trick_makes_a_better_story(name):
    rng = random.Random(0)
    for one in [story(rng) for _ in range(40)]:
        prompt = f"Tell me a story about {one.names[0]}."
        before = gold_score(prompt, one.text)
        after = gold_score(prompt, tricks.TRICKS[name](prompt, one.text))
        assert after <= before + 0.16, "more manner at full form is all that a trick can add"
        if name in ("told twice", "the word happy, forty times", "all words shuffled", "about somebody else"):
            assert after <= 0.05


def test_properties_have_the_parts_of_the_gold_score_and_the_length():
    found = tricks.properties("Tell me a story about Mia.", "Mia was happy. Mia was sad.")
    assert list(found) == [*tricks.PARTS.values(), "length"] and found["length"] == 6


def test_the_server_reads_padding_and_is_right_alone(model, pairs):
    examples = [example for pair in pairs for example in pair]
    right = reward.scores(model, examples, 0)
    assert torch.allclose(suspects.served_scores(model, examples, 0, 1), right, atol=1e-4)
    of_length = sorted(examples, key=lambda example: len(example.input_ids))[:: len(examples) - 1]
    short, long = suspects.served_scores(model, of_length, 0, 2)
    assert long == pytest.approx(reward.scores(model, of_length, 0)[1].item(), abs=1e-4)
    assert abs(short - reward.scores(model, of_length, 0)[0]) > 1e-3


def test_weights_of_words_are_the_optimum_and_ignore_order():
    """At the optimum of a convex objective its gradient is zero."""
    pairs = load_preferences().held_out[:120]
    model = word_counts.fit_word_counts(pairs, penalty=10.0)
    difference = model.counts([p.chosen for p in pairs]) - model.counts([p.rejected for p in pairs])
    wrong = torch.sigmoid(-(difference @ model.weights))
    gradient = -(wrong[:, None] * difference).sum(0) + 10 * model.weights
    assert gradient.abs().max() < 1e-2 < model.weights.abs().max()
    text = "Mia was happy. Her father smiled, and they laughed."
    one, other = model.scores([text, " ".join(reversed(text.replace(".", " .").replace(",", " ,").split()))])
    assert one == pytest.approx(other.item())
    assert model.scores([f"{text} {text}"]).item() == pytest.approx(2 * one.item())
    stronger = word_counts.fit_word_counts(pairs, penalty=100.0)
    assert stronger.weights.norm() < model.weights.norm()


def test_shares_of_words_do_not_see_length():
    pairs = load_preferences().held_out[:120]
    model = word_counts.fit_word_counts(pairs, penalty=10.0, shares=True)
    text = "Mia was happy. Her father smiled, and they laughed."
    one, other = model.scores([text, f"{text} {text}"])
    assert one == pytest.approx(other.item()) and abs(one) > 1e-3


def test_the_chosen_penalty_lies_inside_those_tried():
    chosen = [
        row["result"]["penalty"]
        for row in load_sweep("reward_words")["rows"]
        if row["point"]["pairs"] == 2400
    ]
    tried = word_counts.PENALTIES
    assert all(min(tried) < each < max(tried) for each in chosen)
    for words, share in itertools.product(("counts", "shares"), (0.75, 0.5)):
        assert all(min(tried) < each < max(tried) for each in stored.of_words("penalty", share, words))


def test_what_stands_behind_a_story_is_another_of_its_kind_and_near_in_length():
    rng = random.Random(0)
    told = [(f"Tell me a story about {one.names[0]}.", one.text) for one in (story(rng) for _ in range(60))]
    good = appended.good_stories(told, 5)
    assert [gold_score(*key) for key in good] == sorted((gold_score(*key) for key in told), reverse=True)[:5]
    texts = appended.behind(good, told)
    mood = {text: gold_parts(prompt, text).mood for prompt, text in told}
    assert texts["the story again"] == [text for _, text in good]
    for (_, text), another in zip(good, texts["another good story"], strict=True):
        assert another != text and another in {each for _, each in good}
    for name, right in (("a neutral story", lambda m: m == 0), ("a gloomy story", lambda m: m <= -0.5)):
        for (_, text), behind in zip(good, texts.get(name, []), strict=False):
            kind = [each for each in mood if right(mood[each]) and each != text]
            assert behind in kind
            apart = [abs(word_count(each) - word_count(text)) for each in kind]
            assert abs(word_count(behind) - word_count(text)) == min(apart)


@pytest.mark.parametrize(
    ("brings", "reason"),
    [
        ({"another good story": 1.4, "a neutral story": 1.1, "a gloomy story": 1.0}, "length"),
        ({"another good story": 1.4, "a neutral story": 0.2, "a gloomy story": -1.0}, "mood"),
        ({"another good story": 0.2, "a neutral story": 0.1, "a gloomy story": 0.0}, "repetition"),
    ],
)
def test_the_main_reason_is_told_from_the_controls(brings, reason):
    assert (
        appended.what_counts({name: [value] for name, value in (brings | {"the story again": 1.5}).items()})
        == reason
    )


def test_a_change_is_counted_in_units_of_the_spread():
    good, texts = [("ask", "a b")], {"the story again": ["c d e"]}
    found = appended.changes(lambda keys: [len(text.split()) for _, text in keys], good, texts, unit=2.0)
    assert found == {"the story again": [1.5]}


def test_the_story_again_is_longer_and_balanced_pairs_take_it_away():
    biased, balanced = (stored.change("a neutral story", share) for share in (0.75, 0.5))
    assert min(biased) > 0.5 > 0 > max(balanced)
    again = [statistics.mean(stored.change("the story again", share)) for share in (0.75, 0.5)]
    assert again[1] < again[0] / 4
    assert min(stored.rising("a gloomy story", 0.75)) > 0.5


def test_stored_claims_have_their_controls_on_the_other_side():
    rows = [row["point"] | row["result"] for row in load_sweep("reward_bias")["rows"]]

    def of(name, longer):
        values = [row[name] for row in rows if row["longer"] == longer]
        assert len(values) == 5
        return values

    def credit(longer):
        return [a - b for a, b in zip(of("biased", longer), of("labels", longer), strict=True)]

    assert min(credit(0.75)) > 0.04 > max(credit(0.5))
    assert statistics.mean(of("biased", 0.75)) > statistics.mean(of("biased", 0.5))
    assert max(a - b for a, b in zip(of("gold", 0.75), of("gold", 0.5), strict=True)) < -0.01
    blind = stored.of_words("shortcut", 0.75, "shares")
    assert min(of("shortcut", 0.75)) > 0.69 > statistics.mean(blind) > statistics.mean(of("shortcut", 0.5))
