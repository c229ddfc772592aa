"""After a split: what its held-out rows share with training, by their letters.

It shares no code with the groups by which rows were split: a hole there shows here.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

NEAR_LETTERS = 0.7  # share of the triples of letters of two questions that are in both
_WHOLE = 15  # letters of a question's sentence that is compared alone
_ASKED = re.compile(r"[^.!?\n]+\?")
_SENTENCE = re.compile(r"[.!?\n]+")
_OPENING = set("hello hi hey dear good day morning afternoon evening greetings please tell me thanks".split())
_OPENING |= set("there all everyone everybody folks team support sir sirs madam or".split())
_ASKING = set("please pls plz asap".split())
_ENDING = _ASKING | set("thanks thx cheers regards wishes sincerely faithfully".split())
_BEFORE_ASKING = _ENDING | set("tell me".split())
_WITH_AN_ENDING = set("kind kindest best warm warmest many yours so very much a lot in advance again".split())
_WITH_AN_ENDING |= set("for your the any quick help reply answer time support hello hi tell me there".split())
_REACHED = set("reach contact call text email e-mail mail phone mobile telephone number write".split())
_WITH_A_CONTACT = _REACHED | set("you can please me my at on by via under is address".split())
_CONTACT_FIGURES = 6  # a telephone number has more
_NAMES = 3  # words after a greeting or an ending that are somebody's name
_LAST = 40  # pieces of a text among which endings are looked for
_PIECE = re.compile(r"[^\s,:!?]+@[^\s,:!?]+|[^\s,.:!?]+|[,.:!?\n]")


@dataclass(frozen=True)
class Shared:
    """Positions of held-out rows: of `count`, those that share something with training."""

    count: int
    same: list[int]  # a question, letter by letter
    near: list[int]  # NEAR_LETTERS of the triples of letters, or a whole sentence (see _sentences)
    answers: list[int]  # the answer, word for word but for greeting and signature

    @property
    def words(self) -> str:
        """Two sentences for the report and beside the verdict."""
        of = f"of {self.count} held-out rows"
        return (
            f"Compared with training letter by letter, {len(self.same)} {of} ask the same, {len(self.near)} "
            f"nearly the same ({NEAR_LETTERS:.0%} of the triples of letters, or a whole sentence), "
            f"and {len(self.answers)} have an answer that stands there word for word. A good score on such "
            "rows can be memory."
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
    said = {bare_letters(answer) for row in train for answer in row.answers}
    answers = [n for n, row in enumerate(held_out) if row.answers and bare_letters(row.answers[-1]) in said]
    whole = {sentence for row in train for turn in row.asked for sentence in _sentences(turn)}
    longer = {
        n
        for n, row in enumerate(held_out)
        if any(not whole.isdisjoint(_sentences(turn)) for turn in row.asked)
    } - {*same}
    return Shared(len(judged), same, sorted({*_near(asked, anywhere)} | longer), answers)


def bare_letters(text: str) -> str:
    """The letters and figures of a question without courtesies and names around it; "" if nothing is left."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'").replace("n't", "not")
    text = re.sub(r"\bthank\s+you\b|\bsent\s+from\s+my\s+\w+", "thanks", text)
    pieces = _PIECE.findall(text)
    core = _without_greeting(_without_ending(pieces))
    if not any(map(_is_word, core)):
        core = [piece for piece in pieces if _inside(piece) not in _OPENING | _ENDING | _WITH_AN_ENDING]
    return _plain(" ".join(core)) or _plain("" if pieces else text)


def _is_word(piece):
    return any(map(str.isalnum, piece))


def _inside(piece):
    """A word without the signs around it."""
    return re.sub(r"^\W+|\W+$", "", piece)


def _without_greeting(pieces):
    start = 0
    while start < len(pieces) and (_inside(pieces[start]) in _OPENING or not _is_word(pieces[start])):
        start += 1
    ends = [n for n in range(start, min(start + _NAMES, len(pieces))) if pieces[n] in ",:!\n"]
    if ends and start and pieces[start - 1] in _OPENING:
        start = ends[0] + 1
    return pieces[start:]


def _without_ending(pieces):
    """Cut at the last ending that only names follow, or at a contact; again, until there is none.

    Of a long text the last pieces are looked at.
    """
    before, pieces = pieces[:-_LAST], pieces[-_LAST:]
    while True:
        cut = min(_ending_at(pieces), _contact_at(pieces))
        if cut == len(pieces) or not any(map(_is_word, before + pieces[:cut])):
            return before + pieces
        pieces = pieces[:cut]


def _ending_at(pieces):
    """Where the last ending begins that only names follow, with what belongs to it; else their number."""
    words = [n for n, piece in enumerate(pieces) if _is_word(piece)]
    asked = max((n for n, piece in enumerate(pieces) if piece == "?"), default=-1)
    last = [n for n in words if _inside(pieces[n]) in _ENDING]
    after = [n for n in words if last and n > last[-1]]
    if last and _inside(pieces[last[-1]]) in _ASKING:  # "please cancel it"
        return len(pieces) if after else _back(pieces, last[-1], _BEFORE_ASKING)
    while after and pieces[after[0]] in _WITH_AN_ENDING:
        after.pop(0)
    if not last or len(after) > _NAMES or (after and asked > last[-1]):
        return len(pieces)
    return _back(pieces, last[-1], _ENDING | _WITH_AN_ENDING)


def _contact_at(pieces):
    """Where "reach me at" begins, if an address or a number after it ends the text; else their number."""
    start = len(pieces)
    while start and ("@" in pieces[start - 1] or not any(map(str.isalpha, pieces[start - 1]))):
        start -= 1
    contact = "".join(pieces[start:])
    if "@" not in contact and sum(map(str.isdigit, contact)) <= _CONTACT_FIGURES:
        return len(pieces)
    cut = _back(pieces, start, _WITH_A_CONTACT)
    cut = max((n + 1 for n in range(cut, start) if pieces[n] == "?"), default=cut)
    said = [piece for piece in pieces[cut:start] if _is_word(piece)]
    reach_me = any(word in _REACHED and after == "me" for word, after in pairwise(said))
    mine = "my" in said and "is" in said[said.index("my") :]
    return cut if (reach_me or mine) and "?" not in pieces[start:] else len(pieces)


def _back(pieces, end, words):
    """The place before `end` from which on there are only these words, and signs."""
    while end and (_inside(pieces[end - 1]) in words or not _is_word(pieces[end - 1])):
        end -= 1
    return end


def _plain(text):
    """The text without case, spaces, punctuation and symbols; accents and vowel signs stay."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return "".join(sign for sign in text if unicodedata.category(sign)[0] not in "PSZC")


def _sentences(turn):
    """Letters of the first sentence and of those that ask, if they are long enough to be a question."""
    first = next((one for one in map(bare_letters, _SENTENCE.split(turn)) if len(one) >= _WHOLE), "")
    asked = (bare_letters(sentence) for sentence in _ASKED.findall(turn))
    return {letters for letters in (first, *asked) if len(letters) >= _WHOLE}


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
