"""What to check in a file of conversations before training: personal data, keys, damaged text.

Nothing is changed. Findings are not shown, since they may be secret: only their lines and kinds are.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from course_utils.own.own_data import watched
from course_utils.own.rows import line_list

CONTINUED = "[\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"  # the later bytes of a UTF-8 character, misread
# UTF-8 read as Windows-1252. Two bytes once are Â or Ã; other beginnings also occur in sound text ("CAFÉ»")
DAMAGED = re.compile(
    f"\ufffd|[ÂÃ]{CONTINUED}|(?:[Â-ß]{CONTINUED}){{2}}|â[€‚„†ˆ]{CONTINUED}|(?:[à-ï]{CONTINUED}{{2}}){{2}}|ðŸ{CONTINUED}{{2}}"
)
DATE_OR_SHARE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|0\.\d+$")
SECRETS = (  # bounded, so that no pattern rescans a line of up to a million characters from many places
    r"\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{20,}",
    r"\bAKIA[0-9A-Z]{16}\b",
    r"\bAIza[\w-]{35}",
    r"\bgh[pousr]_[A-Za-z0-9]{36}",
    r"\bgithub_pat_\w{22,}",
    r"\bhf_[A-Za-z0-9]{30,}",
    r"\bxox[abprs]-[\w-]{10,}",
    r"(?<![\w-])eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    r"(?i:\b(?:passwor[dt]|passwd|pwd|api[_ -]?key|secret)\b)\s*[:=]\s*(?=\S{0,40}\d)\S{6,}",
)


@dataclass(frozen=True)
class Remark:
    """A usable line, and what to check in it."""

    line: int
    text: str


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of a card number (Luhn)."""
    values = [int(digit) for digit in reversed(digits)]
    return sum(values[::2] + [sum(divmod(2 * value, 10)) for value in values[1::2]]) % 10 == 0


def is_iban(text: str) -> bool:
    """Whether an account number is 1 modulo 97, as ISO 13616 requires."""
    text = text.replace(" ", "")
    return 15 <= len(text) <= 34 and int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def _telephone(text):
    digits = sum(c.isdigit() for c in text)
    return 9 <= digits <= 15 and text[0] in "+0(" and not DATE_OR_SHARE.match(text)


def _card(text):
    digits = re.sub(r"\D", "", text)
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and luhn(digits)


SOUGHT = {  # {kind: (pattern, further condition on a match)}
    "an e-mail address": (r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+", None),
    "an account number (IBAN)": (r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b", is_iban),
    "a card number": (r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)", _card),
    "a telephone number": (r"(?<![\w.])[+(]?\d[\d ()/.-]{7,}\d(?!\w)", _telephone),
    "a key or a password": ("|".join(SECRETS), None),
    "damaged characters (UTF-8 read as another encoding)": (DAMAGED.pattern, None),
}
PATTERNS = {what: (re.compile(pattern), test) for what, (pattern, test) in SOUGHT.items()}
IN_A_ROW = "two turns of the {} in a row"


def found_in(text: str) -> list[str]:
    """The kinds of findings in a text."""
    return [
        what
        for what, (pattern, test) in PATTERNS.items()
        if any(test is None or test(match[0]) for match in pattern.finditer(text))
    ]


def remarks(conversations: Sequence) -> list[Remark]:
    """Findings in the conversations, and conversions made in reading them, by line."""
    listed = []
    for row in watched(conversations, "looked through for personal data"):
        listed += [Remark(row.line, note) for note in row.notes]
        for number, message in enumerate(row.messages, start=1):
            listed += [Remark(row.line, what) for what in found_in(message["content"])]
            if number > 1 and message["role"] == row.messages[number - 2]["role"]:
                listed.append(Remark(row.line, IN_A_ROW.format(message["role"])))
    return list(dict.fromkeys(listed))


def remark_summary(listed: Sequence[Remark]) -> list[str]:
    """A sentence per kind: how many lines have it, and which (the first ones)."""
    lines = defaultdict(list)
    for remark in listed:
        lines[remark.text].append(remark.line)
    return [
        f"{what}: {len(numbers)} line{'s' * (len(numbers) > 1)}, {line_list(numbers)}"
        for what, numbers in lines.items()
    ]
