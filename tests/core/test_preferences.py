import json
import math
import random

import pytest
from helpers import tiny_model, tiny_tokenizer

from course_utils import preferences
from course_utils.chatml import IM_END, add_chat_tokens
from course_utils.preferences import Pair, Preferences
from course_utils.world import annotator
from course_utils.world.gold import gold_score
from course_utils.world.stories import story


def user(text):
    return [{"role": "user", "content": text}]


def assistant(text):
    return [{"role": "assistant", "content": text}]


PLAIN = {"prompt": "Once", "chosen": " upon a time.", "rejected": " twice."}
CHAT = {"prompt": user("A story, please."), "chosen": assistant("Once."), "rejected": assistant("Twice.")}


@pytest.fixture(scope="module")
def pool():
    """Labelled pairs of grammar stories, noise 0.1."""
    rng = random.Random(0)
    prompts, answers = [], []
    for number in range(30):
        prompts.append(user(f"Tell me story {number}."))
        answers.append([story(rng).text for _ in range(7)])
    return annotator.make_pairs(prompts, answers, 0.1, seed=0)


def write(path, *rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def test_plain_and_conversational_rows_are_read(tmp_path):
    path = write(tmp_path / "pairs.jsonl", PLAIN, "", CHAT)
    assert preferences.read_pairs(path) == [
        Pair("Once", " upon a time.", " twice."),
        Pair(user("A story, please."), "Once.", "Twice."),
    ]


def test_written_pairs_are_read_back(tmp_path, pool):
    some = [*pool[:5], Pair("Once", " upon a time.", " twice.")]
    path = preferences.write_pairs(tmp_path / "new" / "pairs.jsonl", some)
    assert preferences.read_pairs(path) == some
    assert [entry.name for entry in path.parent.iterdir()] == ["pairs.jsonl"]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"prompt": "x", "chosen": "y"}, 'no "rejected"'),
        ({"messages": []}, 'no "prompt"'),
        (PLAIN | {"chosen": assistant("y")}, "are mixed"),
        (PLAIN | {"chosen": 3}, "are mixed"),
        (PLAIN | {"rejected": "  "}, '"rejected" is empty'),
        (PLAIN | {"rejected": " upon a time."}, "the same text"),
        (PLAIN | {"rejected": " upon a time. \n"}, "the same text"),
        (PLAIN | {"chosen": "Yes", "rejected": "Yes "}, "the same text"),
        (CHAT | {"prompt": assistant("Hello.")}, "must end with a message of the user, not of the assistant"),
        (CHAT | {"chosen": user("Once.")}, r"one message of the assistant, got roles \['user'\]"),
        (CHAT | {"chosen": [*CHAT["prompt"], *CHAT["chosen"]]}, r"got roles \['user', 'assistant'\]"),
        (CHAT | {"chosen": []}, '"chosen" must be a text or a list of messages'),
        (CHAT | {"chosen": {"content": "x"}}, '"chosen" must be a text or a list of messages'),
        (CHAT | {"prompt": [{"role": "user"}]}, '"prompt": message 1'),
        (CHAT | {"prompt": [{"role": "tool", "content": "x"}]}, "has the role 'tool'"),
        (CHAT | {"chosen": assistant(" ")}, '"chosen" is empty'),
        ("{", "not JSON"),
        ("[1]", "expected an object"),
    ],
)
def test_a_bad_line_is_named(tmp_path, row, fault):
    path = write(tmp_path / "pairs.jsonl", PLAIN, "", row)
    with pytest.raises(ValueError, match=fault) as error:
        preferences.read_pairs(path)
    assert str(error.value).startswith(f"{path}, line 3")


def test_an_empty_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"empty\.jsonl: the file has no pairs"):
        preferences.read_pairs(write(tmp_path / "empty.jsonl"))


def test_encoded_as_the_policy_writes_it():
    tokenizer = tiny_tokenizer()
    add_chat_tokens(tiny_model(vocab_size=400), tokenizer)
    example = preferences.encode_answer(tokenizer, CHAT["prompt"], "a cat")
    text = tokenizer.apply_chat_template([*CHAT["prompt"], *assistant("a cat")], tokenize=False)
    assert tokenizer.decode(example.input_ids) == text.removesuffix("\n") and text.endswith(f"{IM_END}\n")
    asked = tokenizer.apply_chat_template(CHAT["prompt"], tokenize=False, add_generation_prompt=True)
    start = len(tokenizer(asked)["input_ids"])
    assert example.labels == [-100] * start + example.input_ids[start:]
    assert tokenizer.decode(example.labels[start:]) == f"a cat{IM_END}"


def test_earlier_turns_of_the_assistant_are_no_part_of_the_answer():
    tokenizer = tiny_tokenizer()
    add_chat_tokens(tiny_model(vocab_size=400), tokenizer)
    turns = [*user("the cat"), *assistant("a mat"), *user("the mat")]
    example = preferences.encode_answer(tokenizer, turns, "a cat")
    answer = [token for token in example.labels if token != -100]
    assert tokenizer.decode(answer) == f"a cat{IM_END}"


def test_plain_pairs_end_with_the_end_of_text():
    tokenizer = tiny_tokenizer()
    ((chosen, rejected),) = preferences.encode_pairs(tokenizer, [Pair("the cat", " sat", " on the mat")])
    assert tokenizer.decode(chosen.input_ids) == "the cat sat<|endoftext|>"
    assert rejected.input_ids[-1] == tokenizer.eos_token_id == rejected.labels[-1]


def test_the_annotator_errs_as_it_says():
    assert annotator.preference_probability(0.7, 0.5, 0.1) == pytest.approx(1 / (1 + math.exp(-2)))
    assert [annotator.preference_probability(*g, noise=0) for g in ((1, 0), (0, 1), (1, 1))] == [1, 0, 0.5]
    first, second = 0.65, 0.45
    pair = Pair("p", "a", "b")
    golds = {"a": first, "b": second}
    original = annotator.gold_score
    annotator.gold_score = lambda prompt, text: golds[text]
    try:
        labels = annotator.relabel([pair] * 4000, 0.2, seed=0)
    finally:
        annotator.gold_score = original
    share = sum(label == pair for label in labels) / 4000
    assert share == pytest.approx(1 / (1 + math.exp(-1)), abs=0.02)


def test_labels_agree_with_gold_as_often_as_the_ceiling_says(pool):
    assert annotator.gold_agreement(pool) == pytest.approx(annotator.ceiling(pool, 0.1), abs=0.03)
    sure = annotator.relabel(pool, 0, seed=1)
    assert annotator.gold_agreement(sure) == pytest.approx(1, abs=0.02)
    assert annotator.ceiling(pool, 0) > annotator.ceiling(pool, 0.1) > annotator.ceiling(pool, 0.4) > 0.5
    assert annotator.relabel(pool, 0.1, 3) == annotator.relabel(pool, 0.1, 3)


def test_the_label_does_not_depend_on_the_order_of_the_answers(pool):
    sure = annotator.relabel(pool, 0, seed=1)
    again = annotator.relabel([preferences.swapped(pair) for pair in sure], 0, seed=1)
    differing = [(a, b) for a, b in zip(sure, again, strict=True) if a != b]
    assert all(annotator.gold_of(a)[0] == annotator.gold_of(a)[1] for a, _ in differing)


def test_the_set_bias(pool):
    unequal = [
        pair for pair in pool if annotator.word_count(pair.chosen) != annotator.word_count(pair.rejected)
    ]
    assert annotator.longer_share(unequal) == pytest.approx(0.5, abs=0.08), "the gold score is blind to it"
    for share in (0.5, 0.75, 1.0, 0.0):
        kept = annotator.with_longer_share(pool, share, seed=0)
        assert annotator.longer_share(kept) == pytest.approx(share, abs=0.01)
        assert len(kept) > 0.4 * len(pool)
        assert all(pair in pool for pair in kept[:20])
    few = annotator.with_longer_share(pool, 0.75, seed=1, count=40)
    assert len(few) == 40 and annotator.longer_share(few) == 0.75
    with pytest.raises(ValueError, match="there are only"):
        annotator.with_longer_share(pool, 0.75, seed=1, count=10**6)


def test_no_answer_is_used_too_often(pool):
    kept = annotator.spread(pool, uses=2)
    texts = [(preferences.request(p.prompt), t) for p in kept for t in (p.chosen, p.rejected)]
    assert max(texts.count(text) for text in texts) == 2
    assert len(kept) < len(pool)


def test_controlled_pairs_differ_in_length_alone():
    rng = random.Random(3)
    prompts = [user("Tell me a story.") for _ in range(10)]
    answers = [[story(rng).text for _ in range(12)] for _ in prompts]
    pairs = annotator.make_controlled(prompts, answers, seed=0)
    assert len(pairs) > 10
    for pair in pairs:
        golds = [gold_score("Tell me a story.", text) for text in (pair.chosen, pair.rejected)]
        assert abs(golds[0] - golds[1]) <= annotator.EQUAL
        assert annotator.word_count(pair.chosen) - annotator.word_count(pair.rejected) >= annotator.DIFFERENT


def test_answers_that_are_no_stories_are_left_out(monkeypatch):
    from course_utils.methods import sft
    from course_utils.methods.sft import Reply

    long = "one two three four five " * 4
    said = [
        Reply(long + "a", True),
        Reply("too short", True),
        Reply(long + "b", False),
        Reply(long + "a", True),
    ]
    monkeypatch.setattr(sft, "replies", lambda model, tokenizer, asked, **options: 2 * said)
    prompts = [user("x"), user("y")]
    assert annotator.sample_answers(None, None, prompts, 4, seed=0) == [[long + "a"], [long + "a"]]


def test_answers_become_preferences():
    rng = random.Random(5)
    prompts = [user(f"Tell me story {i}.") for i in range(10)]
    answers = [[story(rng).text for _ in range(8)] for _ in prompts]
    made = annotator.make_preferences(prompts, answers, train=60, held_out=10, controlled=5)
    assert isinstance(made, Preferences) and len(made.train) == 60 and len(made.held_out) == 10
    assert annotator.longer_share(made.train) == 0.75
    asked = [{preferences.request(p.prompt) for p in pairs} for pairs in made]
    assert asked[1] == {"Tell me story 0.", "Tell me story 1."} and asked[2] <= asked[1]
    assert not asked[0] & asked[1]
    assert made == annotator.make_preferences(prompts, answers, train=60, held_out=10, controlled=5)


def test_a_model_that_ends_no_story_is_named():
    with pytest.raises(ValueError, match="2 stories to 2 requests make only 0 pairs"):
        annotator.make_preferences([user("x"), user("y")], [["a b"], ["c d"]])
