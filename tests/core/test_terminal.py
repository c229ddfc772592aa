"""Printed text: a real shell reads commands as meant, and no text controls the terminal."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from test_systems import sources

from course_utils import terminal
from course_utils.home import ROOT, pip_install

WORDS = [
    'my "model" $(touch pwned)',
    "it's",
    "a\\b",
    "`x`",
    "*",
    "~/x",
    "",
    "é ü",
    "a;b&c|d",
    "$HOME",
    "!x",
    "a\n\x1b[2J\\'b",
    "Zo\udceb\x85\u2028",
]
BASH = shutil.which("bash")
SHOW = "import json, sys; print(json.dumps(sys.argv[1:]))"


@pytest.mark.skipif(os.name != "posix" or not BASH, reason="needs bash")
def test_a_shell_reads_every_word_as_it_is(tmp_path):
    text = terminal.command(sys.executable, "-c", SHOW, *WORDS)
    done = subprocess.run([BASH, "-c", text], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert terminal.plain_line(text) == text
    assert json.loads(done.stdout) == WORDS and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["python", "-m", "pip", r"C:\x\y.txt"], r"python -m pip C:\x\y.txt"),
        ([r"C:\My Tools\python.exe", "a b"], r"& 'C:\My Tools\python.exe' 'a b'"),
        (["echo", 'it\'s $(x) "y"'], "echo 'it''s $(x) \"y\"'"),
        (["echo", "a\u2019b", ""], "echo 'a\u2019\u2019b' ''"),
        (["echo", "@x", "a,b", "~/x"], "echo '@x' 'a,b' '~/x'"),
    ],
)
def test_powershell_gets_its_own_quotes(monkeypatch, words, text):
    monkeypatch.setattr(terminal, "WINDOWS", True)
    assert terminal.command(*words) == text


def test_a_folder_that_begins_with_a_dash_is_no_option():
    words = shlex.split(terminal.course_command("rated", "-x y", "ratings.json"))
    assert words == ["python", "-m", "course_utils", "rated", "./-x y", "ratings.json"]


def test_control_characters_are_shown_and_command_nothing():
    hostile = "\x1b[2J\x07\x9b31m\x7f\r\x00\ud800\u2028\u202eend"
    shown = r"\x1b[2J\x07\x9b31m\x7f\r\x00\ud800\u2028\u202eend"
    assert terminal.plain_line(hostile) == shown
    assert terminal.plain_line("Zoë\xa0東京　👩\u200d🔧") == "Zoë\xa0東京　👩\u200d🔧"
    assert terminal.plain_line("a\nb") == r"a\nb" and terminal.plain_lines("a\x1b\nb") == "a\\x1b\nb"


def test_the_command_that_installs_is_quoted(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/my tools/python")
    assert pip_install("lab").startswith("'/my tools/python' -m pip install -e ")
    assert shlex.split(pip_install("lab"))[-1] == f"{ROOT}[lab]"


COMMANDS = re.compile(r"(python -m course_utils \w|-m pip |pip install|git \w+ --)[^`;\n]*$")
OWN_WORDS = {  # the course's own, without shell characters
    "{lesson_key(lesson)}",
    "{name}",  # a model or a sweep
    "{chosen.name}",
    "{' '.join(missing)}",  # packages
}


def spliced(source):
    """Values that f-strings put into commands unquoted."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            text = ""
            for part in node.values:
                if isinstance(part, ast.FormattedValue) and COMMANDS.search(text):
                    yield f"{{{ast.unparse(part.value)}}}"
                text += part.value if isinstance(part, ast.Constant) else "x"


def test_no_command_is_put_together_without_quotes():
    assert list(spliced("print(f'python -m course_utils rated \"{out}\" x')")) == ["{out}"]
    found = {
        (path, word)
        for path, source in sources().items()
        if not path.startswith("tests/")
        for word in spliced(source)
        if word not in OWN_WORDS
    }
    assert not found
