"""Whether the base fits the data (before training), and whether the result is better (after it).

Without a browser, a run ends with an error unless the result is better, so that nobody ships it unread.
"""

import math
import os
import random
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from course_utils.checks.show import show
from course_utils.data import Example, encode
from course_utils.evaluation import difference_interval, mean_loss, wilson_interval
from course_utils.own.own_data import split_words
from course_utils.own.own_run import Scores, agrees, context, name_of_base, shared_words
from course_utils.own.split import LARGEST

BITS_SAVED = 0.3  # minimum saving of a fit base, relative to the bits of counting characters
ENDED = 0.5  # minimum share of answers that end by themselves
BASE_TRIED = 100  # conversations on which the base is tried
FEW = 10  # held-out questions: fewer are not conclusive
HARDLY = 0.1  # share of agreeing answers: of fewer, shared words can be the form alone
COMPARED = 200  # training answers among which the most usual one is sought
BETTER, NO_BETTER, UNUSABLE = "better", "no better", "unusable"
KIND_OF = {BETTER: "good", NO_BETTER: "neutral", UNUSABLE: "bad"}


class Unfit(ValueError):
    """The base hardly knows the data's language; nothing was trained."""


class NotBetter(RuntimeError):
    """The tuned model is no better than the alternatives without training."""


class Unusable(RuntimeError):
    """The tuned model must not be used."""


# ------------------------------------------------------------------------------------ before training


@dataclass(frozen=True)
class Fit:
    """How well a base knows the data's texts before tuning."""

    loss: float  # nats per token
    bits: float  # per character
    counted: float  # bits per character by the frequencies of the characters only
    tokens: float  # per word
    known: float  # share of the words that are one or two tokens
    count: int  # conversations read

    @property
    def good(self) -> bool:
        return self.bits <= (1 - BITS_SAVED) * self.counted

    @property
    def words(self) -> str:
        """Passed or failed, and by what."""
        return (
            f"Fit check {'passed' if self.good else 'failed'}: the base takes {self.bits:.2f} bits for a "
            f"character of {self.count} conversations, a program that only counts how often each occurs "
            f"takes {self.counted:.2f}; passed is at most {(1 - BITS_SAVED) * self.counted:.2f}."
        )


def fit_of(model, tokenizer, conversations: Sequence, seed: int = 0) -> Fit:
    """How well the base predicts the conversations' texts, read as plain text without a chat format.

    The loss is also given per character, since tokenizers differ. A base that needs as many bits as the
    character frequencies knows neither the words nor the language.
    """
    drawn = random.Random(seed).sample(conversations, min(BASE_TRIED, len(conversations)))
    texts = ["\n".join(message["content"] for message in row.messages) for row in drawn]
    ids = [encode(tokenizer, text)[: context(model)] for text in texts]
    read = "".join(tokenizer.decode(row) for row in ids)
    loss = mean_loss(model, [Example(row, row) for row in ids])
    counts = Counter(read)
    counted = -sum(n / len(read) * math.log2(n / len(read)) for n in counts.values())
    words = [len(encode(tokenizer, f" {word}")) for text in texts for word in split_words(text)]
    return Fit(
        loss=loss,
        bits=loss / math.log(2) * sum(len(row) - 1 for row in ids) / len(read),
        counted=counted,
        tokens=statistics.mean(words),
        known=statistics.mean(tokens <= 2 for tokens in words),
        count=len(drawn),
    )


def check_fit(fit: Fit, base: str, anyway: bool) -> None:
    """Raise Unfit, with advice, unless the base fits or the user goes on anyway."""
    if fit.good or anyway:
        return
    raise Unfit(
        f"BASE: {name_of_base(base)} is not fit for these data, so nothing was trained. It takes "
        f"{fit.bits:.1f} bits for a character of them; a program that only counts how often each occurs "
        f"takes {fit.counted:.1f}. It would learn their form and answer with nonsense. Choose as BASE "
        "a model that has read such text: an instruct model (smollm2, a folder, a hub id), for other "
        "languages than English a multilingual one. ANYWAY = True trains all the same."
    )


# -------------------------------------------------------------------------------------- after training


@dataclass(frozen=True)
class Verdict:
    """The verdict and its reason."""

    word: str  # better, no better, unusable
    reason: str
    beside: str = ""  # what to know beside it: what the held-out rows share with training
    caution: str = ""  # of "better": hardly an answer agrees

    @property
    def title(self) -> str:
        return f"Verdict: {with_caution(self.word, self.caution)}"

    def show(self) -> None:
        """Show a box in the notebook."""
        show(self.title, f"{self.reason}. {self.beside}".strip(), kind=KIND_OF[self.word])


def with_caution(word: str, caution: str) -> str:
    """The verdict's word, with its caution in the same line."""
    return f"{word}, but {caution}" if caution else word


def judge_result(
    references: Sequence[str],
    before: Scores,
    prompted: Scores,
    after: Scores,
    answers: Sequence[str],
    beside: str = "",
) -> Verdict:
    """The verdict on held-out answers, by the words that they share with the references.

    Unusable: answers do not end, or one usual training answer (from `answers`), given to every question,
    scores higher. Better: the tuned model beats that answer, the base, and the prompted base, each by more
    than chance: the 95% interval of the paired difference is above 0; and of none of them more answers agree
    with the references. Free texts hardly ever agree, so the verdict can be better with none; then it says
    so. Fewer than FEW questions give no verdict.
    """
    word, reason = _judged(references, before, prompted, after, answers)
    agreed = sum(map(agrees, after.answers, references))
    return Verdict(word, reason, beside, hardly_agree(agreed, len(references)) if word == BETTER else "")


def too_few(count: int) -> str:
    """Words for so few held-out questions that no result can be better; "" for enough."""
    if count >= FEW:
        return ""
    return (
        f"{count} held-out questions are too few to tell: {FEW} are needed, so a file of about "
        f"{math.ceil(FEW / LARGEST)} different questions"
    )


def hardly_agree(agreed: int, count: int) -> str:
    """Words for so few agreeing answers that F1 may pay for the form alone; "" for enough."""
    if agreed >= HARDLY * count:
        return ""
    said = (
        f"only {agreed} of its {count} answers agree with their references"
        if agreed > 1
        else f"only one of its {count} answers agrees with its reference"
        if agreed
        else f"none of its {count} answers agrees with its reference"
    )
    return f"{said}: read them before you believe the shared words"


def _judged(references, before, prompted, after, answers):
    count = len(references)
    if count < FEW:
        return NO_BETTER, too_few(count)
    texts = {
        "tuned": after.answers,
        "base": before.answers,
        "prompted": prompted.answers,
        "usual": [usual_answer(answers)] * count,
    }
    shared = {
        name: torch.tensor([shared_words(*both) for both in zip(said, references, strict=True)])
        for name, said in texts.items()
    }
    mean = {name: f"{values.mean():.2f}" for name, values in shared.items()}
    of_words = f"words shared with the references of {count} held-out questions (F1): {mean['tuned']}"
    if wilson_interval(after.ended * count, count)[1] < ENDED:
        ended = round(after.ended * count)
        return UNUSABLE, f"only {ended} of {count} answers end by themselves; a server would not stop"
    ours = shared["tuned"][None]  # one training run: [1, questions]
    leads = {name: difference_interval(ours, shared[name][None])[1:] for name in texts if name != "tuned"}
    if leads["usual"][1] < 0:
        return UNUSABLE, f"{of_words}; one and the same answer to everything has more, {mean['usual']}"
    others = {"base": "the base", "prompted": "the best prompt", "usual": "one answer to everything"}
    ahead = (
        f"{leads[name][0]:+.2f} to {leads[name][1]:+.2f} against {words} ({mean[name]})"
        for name, words in others.items()
    )
    why = f"{of_words}; the difference, with 95% intervals, is {', '.join(ahead)}"
    if not all(low > 0 for low, _ in leads.values()):
        return NO_BETTER, f"{why}: not above 0 for each, so chance alone can make it, or it is none"
    agreed = {name: sum(map(agrees, said, references)) for name, said in texts.items()}
    if more := [
        f"{words} {agreed[name]}" for name, words in others.items() if agreed[name] > agreed["tuned"]
    ]:
        return NO_BETTER, (
            f"{why}; but fewer of its answers agree with the references: {agreed['tuned']} of {count}, of "
            f"{', of '.join(more)}"
        )
    return BETTER, why


def usual_answer(answers: Sequence[str]) -> str:
    """The answer that shares most words with the others, of COMPARED drawn ones."""
    answers = random.Random(0).sample(answers, min(COMPARED, len(answers)))
    return max(dict.fromkeys(answers), key=lambda one: sum(shared_words(one, other) for other in answers))


def settle(verdict: Verdict, scale: str) -> None:
    """Raise NotBetter or Unusable if nobody reads the notebook; at smoke scale do nothing.

    JupyterLab's server sets its session's name in the kernels' environment; there the box is enough.
    """
    if verdict.word == BETTER or scale == "smoke" or os.environ.get("JPY_SESSION_NAME"):
        return
    raise (Unusable if verdict.word == UNUSABLE else NotBetter)(f"{verdict.word}: {verdict.reason}")
