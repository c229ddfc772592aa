"""The versions in constraints.txt: the requirements and their dependencies, none for other systems."""

from importlib.metadata import PackageNotFoundError, version

import pytest
from packaging.requirements import Requirement

from course_utils.making import constraints


def test_what_is_needed_is_followed():
    found = constraints.versions([Requirement("pytest>=8"), Requirement("pytest-xdist")])
    assert found["pytest"] == version("pytest") and found["execnet"] == version("execnet")
    assert "colorama" not in found and list(found) == sorted(found)


def test_a_build_of_torch_is_no_version():
    assert "+" not in constraints.versions([Requirement("torch")])["torch"]


def test_a_missing_requirement_is_named():
    with pytest.raises(PackageNotFoundError, match="no-such-package"):
        constraints.versions([Requirement("no-such-package")])
