"""After a split: what its held-out rows share with training, by their letters.

It shares no code with the groups by which rows were split: a hole there shows here.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NEAR_LETTERS = 0.7  # share of the triples of letters of two questions that are in both
_SAID = (
    r"(?:(?:hello|hi|hey)(?:\s+there)?|good\s+(?:day|morning|afternoon|evening)|please(?:\s+tell\s+me)?|tell\s+me"
    r"|thanks|thank\s+you)"
)
AROUND = re.compile(rf"^[\W_]*(?:{_SAID}(?:[\W_]+|$))+|(?:(?:^|[\W_]+){_SAID})+[\W_]*$")


@dataclass(frozen=True)
class Shared:
    """Positions of held-out rows: of `count`, those that share something with training."""

    count: int
    same: list[int]  # a question, letter by letter
    near: list[int]  # nearly a question: NEAR_LETTERS or more of the triples of letters
    answers: list[int]  # the answer, word for word

    @property
    def words(self) -> str:
        """Two sentences for the report and beside the verdict."""
        of = f"of {self.count} held-out rows"
        return (
            f"Compared with training letter by letter, {len(self.same)} {of} ask the same, {len(self.near)} "
            f"nearly the same ({NEAR_LETTERS:.0%} of the triples of letters), and {len(self.answers)} have "
            "an answer that stands there word for word. A good score on such rows can be memory."
        )


def shared_with(held_out: Sequence, train: Sequence) -> Shared:
    """What held-out rows share with rows of training; rows have user turns `asked` and `answers`.

    Of two conversations that ask on in the same words ("And the price?") none leaks: an opening question is
    compared with all turns of the other side. Greetings and thanks alone are no question.
    """
    trained = [[bare_letters(turn) for turn in row.asked] for row in train]
    openings = {_opening(turns) for turns in trained} - {""}
    anywhere = {turn for turns in trained for turn in turns} - {""}
    judged = [[bare_letters(turn) for turn in row.asked] for row in held_out]
    same = [
        n for n, turns in enumerate(judged) if _opening(turns) in anywhere or not openings.isdisjoint(turns)
    ]
    asked = [_opening(turns) if n not in set(same) else "" for n, turns in enumerate(judged)]
    said = {_plain(answer) for row in train for answer in row.answers}
    answers = [n for n, row in enumerate(held_out) if row.answers and _plain(row.answers[-1]) in said]
    return Shared(len(judged), same, _near(asked, anywhere), answers)


def bare_letters(text: str) -> str:
    """The letters and figures of a question without the courtesies around it; "" if nothing is left."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return _plain(AROUND.sub(" ", text))


def _plain(text):
    """The text without case, spaces, punctuation and symbols; accents and vowel signs stay."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return "".join(sign for sign in text if unicodedata.category(sign)[0] not in "PSZC")


def _opening(turns):
    return next(filter(None, turns), "")


def _near(questions: Sequence[str], others: Iterable[str]) -> list[int]:
    """Positions of questions of which one of the others has nearly all triples of letters.

    A text that is so near has one of any few triples of the question: those beyond the share that may miss.
    The rarest are looked up.
    """
    triples = [_triples(question) for question in questions]
    counts = Counter(triple for its in triples for triple in its)
    by_triple = {}
    for n, its in enumerate(triples):
        rarest = sorted(its, key=lambda triple: (counts[triple], triple))
        for triple in rarest[: int((1 - NEAR_LETTERS) * len(its)) + 1]:
            by_triple.setdefault(triple, []).append(n)
    found = set()
    for other in others:
        theirs = _triples(other)
        candidates = {n for triple in by_triple.keys() & theirs for n in by_triple[triple]} - found
        found |= {n for n in candidates if _alike(triples[n], theirs)}
    return sorted(found)


def _triples(text):
    return {text[n : n + 3] for n in range(max(1, len(text) - 2))} if text else set()


def _alike(a, b):
    both = len(a & b)
    return both >= NEAR_LETTERS * (len(a) + len(b) - both)
