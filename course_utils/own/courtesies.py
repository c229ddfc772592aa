"""What people write around a question, in English: greetings, thanks, sign-offs, the names after them."""

import re

_GREETING = (
    r"(?:dear|hello|hi|hey|greetings|good\s+(?:morning|day|afternoon|evening)|to\s+whom\s+it\s+may\s+concern)"
)
_ADDRESSED = r"(?:there|all|everyone|everybody|folks|team|support|colleagues?|friends?|sirs?|madam|or)"
_CLOSING = (
    r"(?:(?:many\s+)?thanks|thank\s+you|thx|cheers|(?:kind(?:est)?|best|warm(?:est)?|many)\s+(?:regards|wishes)"
    r"|regards|all\s+the\s+best|(?:yours\s+)?(?:sincerely|faithfully|truly)"
    r"|sent\s+from\s+my\s+\w+|have\s+a\s+\w+\s+(?:day|evening|weekend))"
)
_ASKING = r"(?:please|pls|plz|(?:answer\s+)?asap|as\s+soon\s+as\s+possible)"  # no name comes after it
_MORE = (
    r"(?:again|so\s+much|very\s+much|a\s+lot|in\s+advance"
    r"|for\s+(?:your|the|any)\s+(?:\w+\s+)?(?:help|reply|answer|time|support))"
)
_REACH_ME = (  # "You can reach me at ann@example.org", "my number is 030 1234567"
    r"(?:(?:you\s+can|please)\s+)*"
    r"(?:(?:reach|contact|call|text|e-?mail|phone|write(?:\s+to)?)\s+me\s+(?:back\s+)?(?:at|on|by|via|under)"
    r"|my\s+(?:e-?mail|phone|mobile|number|telephone)(?:\s+(?:address|number))?\s+is)\b"
    r"[^.?!\n@\d]{0,15}(?:\S{1,64}@\S{1,99}|\+?\d[\d ()/.-]{5,}\d)"
)
_OPENS = re.compile(
    rf"^\W*{_GREETING}\b(?:\W+{_ADDRESSED}\b)*(?:(?-i:(?:[^\S\n]+[A-Z]\w*){{1,2}})[,:!\n])?\W*", re.I
)
_ENDS = re.compile(
    rf"(?:^|[\W_]+)(?:{_CLOSING}\b(?:\s+{_MORE})*(?:[,.!\s]+\w+){{0,3}}|{_ASKING}\b)[^\w?]*$", re.I
)
_CONTACT = re.compile(rf"(?:^|[\W_]+){_REACH_ME}[^\w?]*$", re.I)
_OF_ONESELF = re.compile(r"\bm[ey]\b", re.I)
# don't, isn't, can't, and without the apostrophe
_NEGATED = re.compile(r"\b(do|does|did|is|are|was|were|would|could|should|has|have|had)n['’]?t\b", re.I)
_CANNOT = re.compile(r"\bcan(?:not|['’]?t)\b", re.I)
_WILL_NOT = re.compile(r"\bwon['’]t\b", re.I)

_WORD = re.compile(r"\w")
_AROUND = 200  # letters at either end of a text in which courtesies are looked for


def bare_question(text: str) -> str:
    """The text without greetings before, closings and contacts after it (one word stays), don't as do not."""
    text = text.strip()
    for ending in (_ENDS, _CONTACT, _ENDS) if _OF_ONESELF.search(text[-_AROUND:]) else (_ENDS,):
        text = text[:-_AROUND] + _without(ending, text[-_AROUND:], text[:-_AROUND])
    text = _without(_OPENS, text[:_AROUND], text[_AROUND:]) + text[_AROUND:]
    return _WILL_NOT.sub("will not", _CANNOT.sub("can not", _NEGATED.sub(r"\1 not", text)))


def _without(pattern: re.Pattern, part: str, rest: str) -> str:
    """A part of a text without what the pattern finds, again and again; it or the rest keeps a word."""
    while (shorter := pattern.sub("", part)) != part and (_WORD.search(shorter) or _WORD.search(rest)):
        part = shorter
    return part
