"""Text for files, terminals and shells: decoded from any UTF, without control characters, quoted."""

import argparse
import json
import os
import re
import shlex
import unicodedata
from collections.abc import Callable
from pathlib import Path

WINDOWS = os.name == "nt"
BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # they change the direction of text
POWERSHELL_QUOTES = "'\u2018\u2019\u201a\u201b"  # all of them end a string in single quotes


class Parser(argparse.ArgumentParser):
    """A parser without control sequences in its messages; an empty path is an error."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.register("type", Path, given(Path))

    def error(self, message):
        super().error(plain_line(message))


def given(kind: Callable[[str], object]) -> Callable[[str], object]:
    """For `type=` of an argument that must not be empty, as an unset variable of the shell is."""

    def read(text: str) -> object:
        if not text:
            raise argparse.ArgumentTypeError("it is empty. Is a variable of your shell not set?")
        return kind(text)

    return read


def command(*words: object) -> str:
    """The words as one command for the user's shell: bash or zsh, PowerShell on Windows."""
    if not WINDOWS:
        return " ".join(_for_bash(str(word)) for word in words)
    quoted = [_for_powershell(str(word)) for word in words]
    return " ".join(["&", *quoted] if quoted[0].startswith("'") else quoted)


def course_command(*words: object) -> str:
    """`python -m course_utils` with these words, for pasting; a word with a leading dash is a path."""
    paths = (f"./{word}" if str(word).startswith("-") else word for word in words)
    return command("python", "-m", "course_utils", *paths)


def _for_bash(word: str) -> str:
    if not any(map(_commands, word)):
        return shlex.quote(word)
    letters = (_as_bytes(letter) if _commands(letter) or letter in "\\'" else letter for letter in word)
    return f"$'{''.join(letters)}'"


def _as_bytes(letter: str) -> str:
    undecoded = "\udc80" <= letter <= "\udcff"  # a byte of a path that is not UTF-8
    content = letter.encode(errors="surrogateescape" if undecoded else "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in content)


def _for_powershell(word: str) -> str:
    if re.fullmatch(r"[\w./\\:+=-]+", word, re.ASCII):
        return word
    return "'" + re.sub(f"([{POWERSHELL_QUOTES}])", r"\1\1", word) + "'"


def readable(content: bytes) -> str:
    """The text of a JSON file in any UTF, with or without a BOM; undecodable bytes are replaced."""
    return content.decode(json.detect_encoding(content), errors="replace")


def plain_line(text: object) -> str:
    r"""One line, with control characters, line ends and unpaired surrogates as \x1b, \n, \ud800."""
    return "".join(_escaped(letter) if _commands(letter) else letter for letter in str(text))


def plain_lines(text: object) -> str:
    """Like plain_line, line by line."""
    return "\n".join(map(plain_line, str(text).split("\n")))


def _commands(letter: str) -> bool:
    return letter in BIDI or unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
