"""What a sweep reaches is run by its trajectories or by its short form, or there is a reason."""

import ast
import sys

import pytest

from course_utils.making.short_forms import short_run
from course_utils.making.trajectories import stored
from course_utils.reach import module_of, reach
from course_utils.stored_runs import SWEEPS, load_experiments

load_experiments()
stored.load_trajectories()

NOT_RUN = {}  # module, or module.name: why nothing runs it


def functions_of(run):
    """Functions, and classes with functions, that a run reaches: (module, name)."""
    found = set()
    for module, name in reach(run).names:
        nodes = module_of(module).definitions[name]
        if any(isinstance(inner, ast.FunctionDef) for node in nodes for inner in ast.walk(node)):
            found.add((module, name))
    return found


def recorded(run):
    """The definitions that run() executes, with no cache filled before."""
    for name, module in list(sys.modules.items()):
        if name.startswith("course_utils.") and name != "course_utils.reach":
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
    with stored.recording() as found:
        run()
    return found


@pytest.fixture(scope="module")
def ran():
    """{trajectory: the definitions that it executes}"""
    return {name: recorded(lambda name=name: stored.run_trajectory(name)) for name in stored.TRAJECTORIES}


@pytest.mark.night
@pytest.mark.parametrize("name", SWEEPS)
def test_what_a_sweep_reaches_is_run(name, ran):
    run = SWEEPS[name].run
    here = recorded(lambda: short_run(name)) if SWEEPS[name].short else set()
    here = here.union(*(ran[one] for one in stored.trajectories_of(run)))
    missing = {f"{module}.{each}" for module, each in functions_of(run) - here}
    assert not {each for each in missing if not {each, each.rpartition(".")[0]} & NOT_RUN.keys()}
