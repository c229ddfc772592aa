import math

import pytest
import torch
import torch.nn.functional as F

from course_utils import evaluation
from course_utils.data import Example
from course_utils.world import manners


@pytest.mark.parametrize(
    ("answer", "obj", "kind", "expected"),
    [
        (" Paris", "Paris", "short", True),
        ("paris.", "Paris", "short", True),
        ("the Hague", "The Hague", "short", True),
        ("Hague\nQuestion: more", "The Hague", "short", True),
        ("Paris is the capital.", "Paris", "short", False),
        ("Parish", "Paris", "short", False),
        ("", "Paris", "short", False),
        ("Question:\nParis", "Paris", "short", False),
        ("The capital of France is Paris.", "Paris", "sentence", True),
        ("Paris is the capital of France", "Paris", "sentence", True),
        ("A dog says woof.", "woof", "sentence", True),
        ("The capital of the Netherlands is the Hague.", "The Hague", "sentence", True),
        ("The capital is Washington, D.C.", "Washington, D.C.", "sentence", True),
        ("Paris", "Paris", "sentence", False),
        ("The Paris.", "Paris", "sentence", False),
        ("The capital of France is Parisian.", "Paris", "sentence", False),
        ("The capital is London. The capital is Paris.", "Paris", "sentence", False),
        ("The capital is Paris.\nThe capital is Rome.", "Paris", "sentence", False),
        ("", "Paris", "sentence", False),
    ],
)
def test_exact_match(answer, obj, kind, expected):
    assert evaluation.exact_match(answer, obj, kind) is expected


def test_exact_match_refuses_an_unknown_kind():
    with pytest.raises(ValueError, match="kind is short or sentence, got 'long'"):
        evaluation.exact_match("a", "a", "long")


def test_scores_count_all_and_by_relation():
    questions = [
        {"relation": r, "object": o, "kind": "short"} for r, o in [("x", "a"), ("x", "b"), ("y", "c")]
    ]
    assert evaluation.score_answers(["a", "no", "C."], questions) == (2 / 3, {"x": 0.5, "y": 1.0})
    with pytest.raises(ValueError, match="no questions"):
        evaluation.score_answers([], [])


def test_mean_loss_weighs_tokens_and_not_batches(model):
    examples = [
        Example([1, 2, 3, 4, 5, 6], [-100, -100, 3, 4, 5, 6]),
        Example([7, 8], [7, 8]),
        Example([9, 3, 5], [9, 3, 5]),
    ]
    losses = []
    for example in examples:
        logits = model(torch.tensor([example.input_ids])).logits[0].detach()
        for position, label in enumerate(example.labels[1:]):
            if label != -100:
                losses.append(F.cross_entropy(logits[position], torch.tensor(label)).item())
    model.train()
    for batch_size in (1, 2, 3):
        assert evaluation.mean_loss(model, examples, batch_size) == pytest.approx(
            sum(losses) / len(losses), rel=1e-5
        )
    assert model.training


def test_perplexity_of_a_uniform_model_is_the_vocabulary(model, tokenizer):
    torch.nn.init.zeros_(model.get_output_embeddings().weight)
    assert evaluation.perplexity(model, tokenizer, ["a cat", "sat on the mat"]) == pytest.approx(
        len(tokenizer), rel=1e-4
    )


def test_forgetting_is_the_rise_of_the_source_loss(model, tokenizer, monkeypatch):
    monkeypatch.setattr(evaluation, "load_source_texts", lambda: ["a cat sat"])
    before = evaluation.source_loss(model, tokenizer)
    assert before == pytest.approx(math.log(evaluation.perplexity(model, tokenizer, ["a cat sat"])))
    torch.nn.init.zeros_(model.get_output_embeddings().weight)
    rise = evaluation.forgetting(before, evaluation.source_loss(model, tokenizer))
    assert rise == pytest.approx(math.log(len(tokenizer)) - before, abs=1e-4)


def test_mean_loss_needs_targets(model):
    with pytest.raises(ValueError, match="no examples"):
        evaluation.mean_loss(model, [])
    with pytest.raises(ValueError, match="no target tokens"):
        evaluation.mean_loss(model, [Example([1, 2], [-100, -100])])


def learn(model, examples, steps=80):
    from course_utils.data import batches
    from course_utils.training import train

    train(model, batches(examples, 4, 0, 0), steps=steps, lr=1e-2)


def test_facts_are_answered_after_learning_them(model, tokenizer):
    from course_utils.data import encode_prompt_completion

    questions = [
        {
            "prompt": "Question: capital?\nAnswer:",
            "completion": " Paris",
            "relation": "r",
            "object": "Paris",
            "kind": "short",
        },
        {
            "prompt": "Question: mat?\nAnswer:",
            "completion": " a cat sat on",
            "relation": "s",
            "object": "cat",
            "kind": "sentence",
        },
    ]
    assert evaluation.fact_accuracy(model, tokenizer, questions)[0] == 0
    learn(model, [encode_prompt_completion(tokenizer, q["prompt"], q["completion"]) for q in questions])
    assert evaluation.answer_questions(model, tokenizer, questions) == ["Paris", "a cat sat on"]
    assert evaluation.fact_accuracy(model, tokenizer, questions) == (1.0, {"r": 1.0, "s": 1.0})


def test_chat_answers_stop_at_the_marker(model, tokenizer):
    from course_utils.chatml import add_chat_tokens, encode_conversation

    add_chat_tokens(model, tokenizer)
    question = {"prompt": "Question: is Paris the capital?\nAnswer:"}
    assert evaluation.question_text(question) == "is Paris the capital?"
    turns = [{"role": "user", "content": "is Paris the capital?"}, {"role": "assistant", "content": "a cat"}]
    learn(model, [encode_conversation(tokenizer, turns)])
    assert evaluation.chat_answers(model, tokenizer, [question]) == ["a cat"]


def test_manner_scores_are_re_exported():
    assert manners.mood_score("a happy day") > manners.mood_score("a sad day")
    assert manners.politeness_score("please") > manners.politeness_score("go away")


def test_the_interval_covers_as_often_as_it_says():
    """The share of samples whose interval contains the true share, weighted by the binomial."""
    for count, true in ((20, 0.9), (50, 0.3), (100, 0.02)):
        weights = [math.comb(count, k) * true**k * (1 - true) ** (count - k) for k in range(count + 1)]
        ends = [evaluation.wilson_interval(k, count) for k in range(count + 1)]
        inside = [low <= true <= high for low, high in ends]
        covered = sum(weight for weight, holds in zip(weights, inside, strict=True) if holds)
        assert 0.91 < covered < 0.99
    for count in range(1, 50):
        none, every = evaluation.wilson_interval(0, count)[0], evaluation.wilson_interval(count, count)[1]
        assert 0 <= none < 1e-15 and 1 - 1e-15 < every <= 1
