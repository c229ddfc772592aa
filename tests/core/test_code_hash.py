"""The hash of a stored run follows what its value depends on, and nothing else."""

import importlib
import itertools
import sys

import pytest

from course_utils import code_hash as hashing

RUN = """\
import functools
from toy_NN.settings import RATE
from toy_NN import tools

LAYERS = {"all": 3}
LAYERS["some"] = 2

@functools.cache
def helper(x):
    return x + tools.step(x)

def run(point, seed):
    from toy_NN.late import late
    return {"y": helper(RATE) + late(LAYERS[point["layers"]])}
"""
FILES = {
    "__init__": "",
    "settings": "RATE = 0.1\nUNUSED = 1\n",
    "tools": "BATCH = 16\n\ndef step(x):\n    return x * BATCH\n\ndef unused():\n    return 1\n",
    "late": "from course_utils.data import DATA\n\ndef late(x):\n    return DATA / 'sub' / f'{x}.txt'\n",
    "experiments": RUN,
}
numbers = itertools.count()


@pytest.fixture
def hashed(tmp_path, monkeypatch):
    """hashed(file="changed text", ...): the two hashes of run in a package of its own, with those files."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(hashing, "DATA", tmp_path / "data")
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "sub" / "facts.jsonl").write_text("1")

    def hashes(**changed):
        hashing.module_of.cache_clear()
        hashing.place_of.cache_clear()
        name = f"toy_{next(numbers)}"
        (tmp_path / name).mkdir()
        for file, text in (FILES | changed).items():
            (tmp_path / name / f"{file}.py").write_text(text.replace("toy_NN", name))
        importlib.invalidate_caches()
        run = importlib.import_module(f"{name}.experiments").run
        result = hashing.code_hash(run), hashing.data_hash(run)
        for module in [module for module in sys.modules if module.startswith(name)]:
            del sys.modules[module]
        return result

    yield hashes
    hashing.module_of.cache_clear()
    hashing.place_of.cache_clear()


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("settings", "RATE = 0.1", "RATE = 0.2"),
        ("tools", "BATCH = 16", "BATCH = 8"),
        ("tools", "x * BATCH", "x + BATCH"),
        ("late", "DATA / 'sub'", "DATA / 'sub' / 'more'"),
        ("experiments", '{"all": 3}', '{"all": 4}'),
        ("experiments", 'LAYERS["some"] = 2', 'LAYERS["some"] = 1'),
        ("experiments", "x + tools", "x - tools"),
        ("experiments", "helper(RATE) +", "helper(RATE) -"),
        ("experiments", "@functools.cache\n", ""),
    ],
)
def test_what_the_value_depends_on_makes_it_stale(hashed, file, old, new):
    assert old in FILES[file]
    assert hashed(**{file: FILES[file].replace(old, new)})[0] != hashed()[0]


@pytest.mark.parametrize(
    "changed",
    [
        {"settings": "RATE = 0.1  # a comment\nUNUSED = 2\n"},
        {
            "tools": FILES["tools"]
            .replace("    return x", '    """Words."""\n    return (\n        x')
            .replace("BATCH\n\ndef unused", "BATCH\n    )\n\ndef unused")
        },
        {
            "experiments": RUN.replace(
                "from toy_NN import tools", "from toy_NN.tools import step as pace"
            ).replace("tools.step(", "pace(")
        },
        {"experiments": RUN.replace("def helper(x):", "def helper(x: float) -> float:")},
        {  # a helper moves to another module
            "experiments": RUN.replace("LAYERS = {", "from toy_NN.moved import helper\nLAYERS = {").replace(
                "@functools.cache\ndef helper(x):\n    return x + tools.step(x)\n", ""
            ),
            "moved": "import functools\n\nfrom toy_NN import tools\n\n\n@functools.cache\ndef helper(x):\n"
            "    return x + tools.step(x)\n",
        },
    ],
    ids=["comment and what is unused", "docstring and layout", "imports", "annotations", "place"],
)
def test_what_changes_no_value_keeps_it_current(hashed, changed):
    assert hashed(**changed) == hashed()


def test_data_files_count_and_cards_and_results_do_not(hashed, tmp_path):
    first = hashed()
    (tmp_path / "data" / "sub" / "README.md").write_text("a card")
    (tmp_path / "data" / "other.jsonl").write_text("not read")
    assert hashed() == first
    (tmp_path / "data" / "sub" / "facts.jsonl").write_text("2")
    assert hashed()[0] == first[0] and hashed()[1] != first[1]


@pytest.mark.parametrize(
    "line",
    ['import importlib; importlib.import_module("x")', 'eval("helper")(1)', '"course_utils.training:train"'],
)
def test_code_reached_by_a_string_is_refused(hashed, line):
    with pytest.raises(ValueError, match=r"experiments, line 13: .* reaches code by a string"):
        hashed(
            experiments=RUN.replace(
                "    from toy_NN.late import late", f"    from toy_NN.late import late; {line}"
            )
        )


def test_a_local_name_hides_a_definition(hashed):
    shadowed = FILES["tools"].replace("def step(x):", "def step(x, unused=2):\n    x = x + unused")
    changed = shadowed.replace("return 1", "return 5")
    assert hashed(tools=shadowed) == hashed(tools=changed)


def test_display_code_is_left_out(hashed, monkeypatch):
    monkeypatch.setattr(hashing, "DISPLAY", {f"toy_{number}.tools" for number in range(1000)})
    assert hashed() == hashed(tools="def step(x):\n    return 0\n")
