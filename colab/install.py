"""Installs in Colab what the course needs and Colab lacks; what fits already is left alone."""

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

COURSE = Path(__file__).resolve().parents[1]


def needed(project: dict) -> list[Requirement]:
    """The course's own requirements and those of the libraries that lessons compare with."""
    return [
        Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["compare"]
    ]


def lacking(requirements: list[Requirement]) -> tuple[list[str], list[str]]:
    """(what is missing, what is there in another version), as pip takes it."""
    missing, other = [], []
    for requirement in requirements:
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            missing.append(str(requirement))
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            other.append(str(requirement))
    return missing, other


def main() -> None:
    project = tomllib.loads((COURSE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    missing, other = lacking(needed(project))
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    if missing or other:
        print("Installing", ", ".join(missing + other), flush=True)
        subprocess.run([*pip, *missing, *other], check=True)
    subprocess.run([*pip, "--no-deps", "--editable", str(COURSE)], check=True)
    if other:
        print("Some packages changed: choose Runtime > Restart session, then run this cell again.")
    else:
        print("The course is ready.")


if __name__ == "__main__":
    main()
