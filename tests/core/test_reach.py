"""The walk finds exactly the definitions and data files that a function reaches."""

import importlib
import itertools
import sys

import pytest

from course_utils import reach

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
def reached(tmp_path, monkeypatch):
    """reached(file="changed text", ...): (names, hash of the data) of run in a separate package."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(reach, "DATA", tmp_path / "data")
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "sub" / "facts.jsonl").write_text("1")

    def reaching(**changed):
        reach.module_of.cache_clear()
        reach.place_of.cache_clear()
        name = f"toy_{next(numbers)}"
        (tmp_path / name).mkdir()
        for file, text in (FILES | changed).items():
            (tmp_path / name / f"{file}.py").write_text(text.replace("toy_NN", name))
        importlib.invalidate_caches()
        run = importlib.import_module(f"{name}.experiments").run
        names = {f"{module.partition('.')[2]}.{each}" for module, each in reach.reach(run).names}
        found = names - {".DATA", "data.DATA"}, reach.data_hash(run)
        for module in [module for module in sys.modules if module.startswith(name)]:
            del sys.modules[module]
        return found

    yield reaching
    reach.module_of.cache_clear()
    reach.place_of.cache_clear()


EXPERIMENTS = {f"experiments.{name}" for name in ("run", "helper", "LAYERS")}
REACHED = EXPERIMENTS | {"settings.RATE", "tools.step", "tools.BATCH", "late.late"}


def test_names_attributes_and_imports_inside_functions_are_followed(reached):
    assert reached()[0] == REACHED


@pytest.mark.parametrize(
    "changed, names",
    [
        (
            {
                "experiments": RUN.replace(
                    "from toy_NN import tools", "from toy_NN.tools import step as pace"
                ).replace("tools.step(", "pace(")
            },
            REACHED,
        ),
        (
            {"experiments": RUN.replace("def helper(x):", "def helper(x: tools.unused) -> tools.unused:")},
            REACHED,
        ),
        ({"experiments": RUN.replace("tools.step(x)", "hand_on(tools)(x)")}, REACHED | {"tools.unused"}),
        (
            {
                "experiments": RUN.replace("from toy_NN.settings", "from toy_NN.more"),
                "more": "from toy_NN.settings import RATE\n",
            },
            REACHED,
        ),
    ],
    ids=["another name", "annotations", "a module as a value", "handed on"],
)
def test_how_a_definition_is_written_does_not_matter(reached, changed, names):
    assert reached(**changed)[0] == names


def test_data_files_count_and_cards_and_results_do_not(reached, tmp_path):
    first = reached()
    (tmp_path / "data" / "sub" / "README.md").write_text("a card")
    (tmp_path / "data" / "other.jsonl").write_text("not read")
    assert reached() == first
    (tmp_path / "data" / "sub" / "facts.jsonl").write_text("2")
    assert reached()[0] == first[0] and reached()[1] != first[1]


@pytest.mark.parametrize(
    "line",
    ['import importlib; importlib.import_module("x")', 'eval("helper")(1)', '"course_utils.training:train"'],
)
def test_code_reached_by_a_string_is_refused(reached, line):
    with pytest.raises(ValueError, match=r"experiments, line 13: .* reaches code by a string"):
        reached(
            experiments=RUN.replace(
                "    from toy_NN.late import late", f"    from toy_NN.late import late; {line}"
            )
        )


def test_a_local_name_hides_a_definition(reached):
    hiding = FILES["tools"].replace("def step(x):", "def step(x, unused=2):\n    x = x + unused")
    shown = FILES["tools"].replace("def step(x):", "def step(x):\n    x = x + unused()")
    assert reached(tools=hiding)[0] == REACHED
    assert reached(tools=shown)[0] == REACHED | {"tools.unused"}


def test_display_code_is_left_out(reached, monkeypatch):
    monkeypatch.setattr(reach, "DISPLAY", {f"toy_{number}.tools" for number in range(1000)})
    assert reached()[0] == REACHED - {"tools.step", "tools.BATCH"}
