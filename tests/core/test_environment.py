import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
CONDA_NAMES = {"pytorch": "torch"}


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def ranges(requirements):
    return {requirement.name: requirement.specifier for requirement in map(Requirement, requirements)}


def test_environment_yml_asks_for_what_pyproject_asks_for():
    """The extras lab and compare; those who run the tests have pyproject.toml."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    conda = ranges(entry for entry in environment if isinstance(entry, str) and "python=" not in entry)
    pip = next(entry["pip"] for entry in environment if isinstance(entry, dict))
    assert pip[-1] == "-e ."
    pip = ranges(pip[:-1])
    assert not set(conda) & set(pip)
    binders = next(entry for entry in environment if isinstance(entry, str) and entry.startswith("python"))
    assert re.fullmatch(r"python=3\.\d+", binders)  # repo2docker accepts this, but not a range
    assert SpecifierSet(project()["requires-python"]).contains(binders.removeprefix("python="))
    del conda["pip"]
    listed = {CONDA_NAMES.get(name, name): specifier for name, specifier in (conda | pip).items()}
    extras = project()["optional-dependencies"]
    assert listed == ranges([*project()["dependencies"], *extras["lab"], *extras["compare"]])


def test_the_licence_is_the_one_that_pyproject_names():
    assert project()["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]


def test_the_release_of_bitsandbytes_that_errs_on_a_cpu_is_left_out():
    allowed = ranges(project()["optional-dependencies"]["compare"])["bitsandbytes"]
    assert not allowed.contains("0.50.2") and allowed.contains("0.50.0") and allowed.contains("0.50.3")
