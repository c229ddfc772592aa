"""`make constraints`: the exact versions installed here of everything the course and its tests need.

Run it after a complete run of the tests: constraints.txt states versions known to work together.
"""

from __future__ import annotations

import platform
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from itertools import chain

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from course_utils.home import ROOT, pip_install, write_whole

HEAD = """\
# Versions of one whole run of the tests, on Python {python}, {system}. Made by make constraints.
# pip install --constraint constraints.txt --editable ".[lab,test,compare,book]"
"""


def wanted() -> list[Requirement]:
    """The requirements in pyproject.toml, including all extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = chain(project["dependencies"], *project["optional-dependencies"].values())
    return [Requirement(line) for line in lines]


def versions(requirements: list[Requirement]) -> dict[str, str]:
    """{name: version} of the requirements and all their dependencies, as installed here.

    Raises PackageNotFoundError for a requirement that is not installed.
    """
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(requirement, True) for requirement in requirements]
    while todo:
        requirement, needed = todo.pop()
        name = canonicalize_name(requirement.name)
        try:
            package = distribution(name)
        except PackageNotFoundError:
            if needed:
                raise
            continue  # for another system
        found[name] = Version(package.version).public  # the reader chooses torch's build
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for line in map(Requirement, package.requires or []):
                if line.marker is None or line.marker.evaluate({"extra": extra}):
                    todo.append((line, False))
    return dict(sorted(found.items()))


def main() -> int:
    try:
        found = versions(wanted())
    except PackageNotFoundError as fault:
        print(f"{fault.name} is not installed: {pip_install('lab,test,compare,book')}", file=sys.stderr)
        return 1
    head = HEAD.format(python=platform.python_version(), system=platform.system())
    text = head + "".join(f"{name}=={version}\n" for name, version in found.items())
    write_whole(ROOT / "constraints.txt", text)
    print(f"constraints.txt: {len(found)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
