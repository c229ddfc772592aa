"""The import rules: where imports may point, and what may be at the top of the package."""

import ast
import importlib.util
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import course_utils
from course_utils.notebook_files import code_cells, lessons, read_notebook

PACKAGE = Path(course_utils.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
# a higher layer may import from below, never the reverse
FLOORS = {
    "core": 0,
    "methods": 1,
    "checks": 1,
    "world": 2,
    "artifacts": 3,
    "own": 4,
    "playground": 4,
    "lessons": 5,
    "making": 6,
    "commands": 7,
}
MAY_NOT = {  # in addition to the layers
    "methods": {"world", "checks", "lessons", "core:plots", "core:drawing", "core:widgets"},
    "checks": {"methods", "world", "lessons"},
}
ABOVE = {
    "course_utils.budget": "methods"
}  # the core knows no method, except for estimates of a method's needs


def layer(module: str) -> str:
    parts = module.split(".")
    if len(parts) == 1 or module == "course_utils.__main__":
        return "commands"
    if parts[1] in FLOORS:
        return parts[1]
    return "core"


@cache
def imports(module: str) -> frozenset[str]:
    """Modules of the package that a module imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return frozenset(name for name in found if name in MODULES and name != module)


@pytest.mark.parametrize("module", MODULES)
def test_no_import_points_up(module):
    here = layer(module)
    for other in imports(module):
        there = layer(other)
        if ABOVE.get(module) == there:
            continue
        assert FLOORS[there] <= FLOORS[here], f"{module} imports {other}"
        assert not {there, f"{there}:{other.rpartition('.')[2]}"} & MAY_NOT.get(here, set()), (
            f"{module} imports {other}"
        )


def test_notebooks_import_nothing_that_only_makers_and_commands_use():
    for lesson in lessons(more=True):
        source = "\n".join(cell.source for cell in code_cells(read_notebook(lesson)))
        found = set(re.findall(r"(?:from|import) (course_utils\.(?:making|commands)[.\w]*)", source))
        assert not found, f"{lesson.name} imports {found}"


def test_no_lesson_imports_a_later_one():
    for module in MODULES:
        if layer(module) == "lessons" and module.count(".") > 2:
            later = [
                other for other in imports(module) if layer(other) == "lessons" and other[:30] > module[:30]
            ]
            assert not later, f"{module} imports {later}"


def test_no_circle():
    done: set[str] = set()

    def visit(module, way):
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module not in done:
            for other in sorted(imports(module)):
                visit(other, [*way, module])
            done.add(module)

    for module in MODULES:
        visit(module, [])


def test_the_top_of_the_package_has_at_most_27_modules():
    assert len([path for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")]) <= 27


def test_no_private_name_of_another_module_is_imported():
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("course_utils"):
                private = [alias.name for alias in node.names if alias.name.startswith("_")]
                assert not private, f"{module} takes {private} from {node.module}"


def public_definitions() -> dict[str, dict[str, str]]:
    """{name: {module: text}} of the public functions, classes and constants at the top of modules.

    Constants of a lesson's modules are its own settings. Suspects are left out: their faults are unique.
    """
    found: dict[str, dict[str, str]] = {}
    for module, path in MODULES.items():
        if module.endswith(".suspects"):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Assign) and ".lessons." not in module:
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            else:
                continue
            for name in names:
                if not name.startswith("_"):
                    found.setdefault(name, {})[module] = ast.unparse(node)
    return found


SAME_MEANING = {  # a command's entry; two writers; the loss plain and with centring
    "main",
    "save_adapter",
    "bradley_terry_loss",
}
LATER = {
    "answer_loss",
    "answers_to",
    "followed",
    "judged",
    "tuned",
}  # stored runs hash them: rename them when these are next computed


def test_no_two_public_things_share_a_name():
    shared = {
        name: sorted(modules)
        for name, modules in public_definitions().items()
        if len(modules) > 1 and name not in SAME_MEANING
    }
    assert shared.keys() == LATER, shared


LESSONS = sorted(path.name[-2:] for path in (PACKAGE / "lessons").glob("lesson_*"))


@pytest.mark.night
@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_is_loaded_alone_and_progress_knows_it(lesson):
    code = f"""
import sys
from course_utils.lessons.lesson_{lesson} import check
from course_utils.checks import progress
getattr(check, dir(check)[0])
others = [name for name in sys.modules if ".lesson_" in name and ".lesson_{lesson}" not in name]
print(progress.open_lesson(), others)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == f"{lesson} []", done.stderr


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_number_finds_everything(lesson):
    root = PACKAGE.parent
    assert len(list((root / "notebooks").glob(f"{lesson}_*.ipynb"))) == 1
    assert importlib.util.find_spec(f"course_utils.lessons.lesson_{lesson}.exercises")
    assert (root / "tests" / "lessons" / f"test_lesson_{lesson}.py").is_file()
