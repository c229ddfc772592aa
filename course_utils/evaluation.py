"""Evaluating a model: loss and perplexity, answers about facts, forgetting, confidence intervals."""

import math
import re
import unicodedata
from collections.abc import Sequence

import torch

from course_utils.chatml import IM_END, encode_conversation
from course_utils.data import Example, chunks_by_length, collate, encode_text, load_source_texts
from course_utils.generation import generate
from course_utils.models import eval_mode
from course_utils.training import fast_lm_loss


@torch.no_grad()
def mean_loss(model, examples: Sequence[Example], batch_size: int = 32) -> float:
    """Mean loss in nats over all target tokens of the examples. Restores the model's mode."""
    if not examples:
        raise ValueError("no examples to average the loss over")
    device = next(model.parameters()).device
    total, tokens = 0.0, 0
    with eval_mode(model):
        for chunk in chunks_by_length(examples, batch_size, lambda example: len(example.input_ids)):
            batch = collate([examples[index] for index in chunk], pad_id=0)
            loss, count = fast_lm_loss(model, {name: value.to(device) for name, value in batch.items()})
            total, tokens = total + loss.item(), tokens + int(count)
    if tokens == 0:
        raise ValueError("the examples have no target tokens: every label is -100")
    return total / tokens


def perplexity(model, tokenizer, texts: Sequence[str]) -> float:
    """exp of the mean loss over all tokens of the texts: equally likely choices per token."""
    return math.exp(mean_loss(model, [encode_text(tokenizer, text) for text in texts]))


def source_loss(model, tokenizer) -> float:
    """Mean loss in nats per token on held-out text like that of pre-training."""
    return mean_loss(model, [encode_text(tokenizer, text) for text in load_source_texts()])


def forgetting(before: float, after: float) -> float:
    """Rise of the source loss through tuning, in nats per token; its exp is the factor on the perplexity."""
    return after - before


def normalise(text: str) -> str:
    """Lower case, single spaces between words, no leading article, no punctuation at the ends."""
    text = " ".join(unicodedata.normalize("NFC", text).lower().split()).strip(" .,;:!?\"'")
    return re.sub(r"^(the|an|a) ", "", text)


def exact_match(answer: str, obj: str, kind: str = "short") -> bool:
    """Whether an answer gives the object, ignoring case, a leading article and punctuation at the ends.

    short: the first line is the object. sentence: the answer is one sentence, longer than the object, which
    it contains as whole words.
    """
    if kind not in ("short", "sentence"):
        raise ValueError(f"kind is short or sentence, got {kind!r}")
    lines = answer.strip().splitlines() or [""]
    wanted = normalise(obj)
    if kind == "short":
        return normalise(lines[0]) == wanted
    said = normalise(lines[0])
    rest = re.sub(rf"(?<!\w){re.escape(wanted)}(?!\w)", "", said)
    one_sentence = len(lines) == 1 and not re.search(r"[.!?]\s", rest)
    return rest != said and normalise(rest) != "" and one_sentence


def answer_questions(
    model, tokenizer, questions: Sequence[dict], max_new_tokens: int = 32, batch_size: int = 64
):
    """The model's greedy answer to each question's prompt, stripped."""
    prompts = [question["prompt"] for question in questions]
    answers = generate(model, tokenizer, prompts, max_new_tokens=max_new_tokens, batch_size=batch_size)
    return [answer.strip() for answer in answers]


def score_answers(answers: Sequence[str], questions: Sequence[dict]) -> tuple[float, dict[str, float]]:
    """Share of answers that give the object: (overall, by relation)."""
    if not questions:
        raise ValueError("no questions to score")
    by_relation: dict[str, list[bool]] = {}
    for answer, question in zip(answers, questions, strict=True):
        right = exact_match(answer, question["object"], question["kind"])
        by_relation.setdefault(question["relation"], []).append(right)
    overall = sum(sum(right) for right in by_relation.values()) / len(questions)
    return overall, {relation: sum(right) / len(right) for relation, right in sorted(by_relation.items())}


def fact_accuracy(model, tokenizer, questions: Sequence[dict]) -> tuple[float, dict[str, float]]:
    """Share of questions answered with the right object: (overall, by relation)."""
    return score_answers(answer_questions(model, tokenizer, questions), questions)


def question_text(question: dict) -> str:
    """The question as a user would type it, without the "Question:" and "Answer:" around it."""
    return question["prompt"].removeprefix("Question:").removesuffix("Answer:").strip()


def chat_answers(model, tokenizer, questions: Sequence[dict], max_new_tokens: int = 32, batch_size: int = 64):
    """The model's greedy answer to each question in ChatML, up to <|im_end|> or end of text, stripped."""
    prompts = [
        encode_conversation(tokenizer, [{"role": "user", "content": question_text(question)}], True).input_ids
        for question in questions
    ]
    answers = generate(
        model, tokenizer, prompts, max_new_tokens=max_new_tokens, batch_size=batch_size, stop=(IM_END, "eos")
    )
    return [answer.strip() for answer in answers]


def difference_interval(
    ours: torch.Tensor, theirs: torch.Tensor, draws: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """(difference of means, low, high): a 95% bootstrap interval; ours, theirs: scores [seeds, questions]."""
    generator = torch.Generator().manual_seed(seed)

    def draw(count):
        return torch.randint(count, (count,), generator=generator)

    means = torch.empty(draws)
    for number in range(draws):
        picks = draw(ours.shape[1])  # the same questions for both models
        mean = ours[draw(len(ours))][:, picks].mean()
        means[number] = mean - theirs[draw(len(theirs))][:, picks].mean()  # seeds are drawn separately
    low, high = means.quantile(torch.tensor([0.025, 0.975]))
    return (ours.mean() - theirs.mean()).item(), low.item(), high.item()


def wilson_interval(right, count):
    """95% interval of a share, (low, high), after Wilson: with z = 1.96, p = right / count and n = count,

    (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).
    """
    z, p, n = 1.96, right / count, count
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = (p + z**2 / (2 * n) + sign * half for sign in (-1, 1))
    return max(0.0, low / (1 + z**2 / n)), min(1.0, high / (1 + z**2 / n))
