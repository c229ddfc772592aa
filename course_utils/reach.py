"""What a function reaches in its own package: definitions, and files in data/.

It follows names, attributes of modules and imports, also inside functions. Annotations do not count, nor does
code that only displays.
"""

import ast
import hashlib
import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from course_utils.data import DATA

DISPLAY = {  # progress bars, boxes, plots, fetching, checks, this bookkeeping: they change no result
    "course_utils.plots",
    "course_utils.widgets",
    "course_utils.fetch",
    "course_utils.data.check_shipped",
    "course_utils.reach",
    "course_utils.stored_runs",
    "course_utils.training.ProgressBar",
    "course_utils.session._machine",
    "course_utils.session._expected_time",
    "course_utils.session.watch_cells",
    "course_utils.session.check_not_stopped",
}
BY_STRING = {"importlib.import_module", "import_module", "__import__", "eval", "exec", "globals"}


@dataclass(frozen=True)
class Reached:
    """The definitions that a function reaches, by module and name; data files and folders."""

    names: set[tuple[str, str]] = field(default_factory=set)
    data: set[Path] = field(default_factory=set)


def data_hash(function: Callable) -> str:
    """A hash of the files in data/ that the function can read, except cards, stored results and artifacts.

    An artifact's card has the hash of its own inputs.
    """
    digest = hashlib.sha256()
    for path in files_read(function):
        digest.update(f"{path.relative_to(DATA).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def files_read(function: Callable) -> list[Path]:
    """The files themselves; for a partly known path, all files below the known part."""
    found: set[Path] = set()
    for place in reach(function).data:
        found |= {place} if place.is_file() else {path for path in place.rglob("*") if path.is_file()}
    made = {DATA / "results", DATA / "artifacts"}
    return sorted(path for path in found if path.suffix != ".md" and made.isdisjoint(path.parents))


def reach(function: Callable) -> Reached:
    """Everything reached from the top-level definition that contains `function`."""
    owner = function if hasattr(function, "__qualname__") else type(function)
    return _reach(owner.__module__, owner.__qualname__.split(".")[0])


@cache
def _reach(root: str, start: str) -> Reached:
    reached, todo = Reached(), [(root, start)]
    while todo:
        module, name = todo.pop()
        if (module, name) in reached.names or {module, f"{module}.{name}"} & DISPLAY:
            continue
        reached.names.add((module, name))
        found, data = _definition(module, name, root.partition(".")[0])
        todo += found
        reached.data.update(data)
    return reached


@cache
def _definition(module: str, name: str, package: str) -> tuple[list[tuple[str, str]], set[Path]]:
    """(names it uses in `package` as (module, name), data files and folders)."""
    reader = _Reader(module_of(module), package)
    for node in module_of(module).definitions[name]:
        reader.visit(node)
    return reader.found, reader.data


class Module:
    """A module's top-level definitions, by name, and the names its imports bind."""

    def __init__(self, name: str, tree: ast.Module):
        self.name = name
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, tuple[str, str]] = {}
        for node in _flat(tree.body):
            if isinstance(node, ast.Import | ast.ImportFrom):
                self.imports |= imported(node)
                continue
            for bound in _names_changed(node):
                self.definitions.setdefault(bound, []).append(node)


@cache
def module_of(name: str) -> Module:
    spec = importlib.util.find_spec(name)
    assert spec and spec.origin, name
    return Module(name, ast.parse(Path(spec.origin).read_text(encoding="utf-8")))


def imported(node: ast.Import | ast.ImportFrom) -> dict[str, tuple[str, str]]:
    """{name bound: (module, attribute, "" for the module itself)}."""
    if isinstance(node, ast.ImportFrom):
        return {alias.asname or alias.name: (node.module or "", alias.name) for alias in node.names}
    return {
        alias.asname or alias.name.partition(".")[0]: (
            alias.name if alias.asname else alias.name.partition(".")[0],
            "",
        )
        for alias in node.names
    }


def _flat(body):
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from _flat([*node.body, *node.orelse])
        else:
            yield node


def _names_changed(node) -> set[str]:
    """Top-level names that a statement defines or changes (TABLE[key] = ..., TABLE.update(...))."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    changed = [
        inner for inner in ast.walk(node) if not isinstance(getattr(inner, "ctx", ast.Load()), ast.Load)
    ]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        changed.append(node.value.func)
    return {root.id for inner in changed if isinstance(root := _root(inner), ast.Name)}


def _root(node):
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node


class _Reader(ast.NodeVisitor):
    """Collects what a definition reaches: definitions and data."""

    def __init__(self, module: Module, root: str):
        self.module, self.roots = module, {root, "course_utils"}
        self.scopes: list[tuple[set[str], dict]] = []  # names bound in a scope, and those bound by imports
        self.found: list[tuple[str, str]] = []
        self.data: set[Path] = set()

    def resolve(self, name: str) -> tuple[str, str] | None:
        """(module, definition), or (module, "") for a module; None for local names and other packages."""
        for bound, imports in reversed(self.scopes):
            if name in imports:
                return self.follow(*imports[name])
            if name in bound:
                return None
        if name in self.module.definitions:
            return self.module.name, name
        if name in self.module.imports:
            return self.follow(*self.module.imports[name])
        return None

    def follow(self, module: str, name: str) -> tuple[str, str] | None:
        """Where a module's name is defined, following re-exports."""
        if module.partition(".")[0] not in self.roots:
            return None
        if not name:
            return module, ""
        there = module_of(module)
        if name in there.definitions:
            return module, name
        if name in there.imports:
            return self.follow(*there.imports[name])
        return f"{module}.{name}", ""

    def use(self, target: tuple[str, str]) -> None:
        module, name = target
        if module in DISPLAY:
            return
        if name:
            self.found.append(target)
        else:  # a module used as a value: everything in it
            self.found += [(module, each) for each in module_of(module).definitions]

    def visit_Name(self, node):
        target = self.resolve(node.id) if isinstance(node.ctx, ast.Load) else None
        if target is None:
            return
        if target[1] and (place := place_of(*target)):
            self.data.add(place[0])
        self.use(target)

    def visit_Attribute(self, node):
        if target := self.module_attribute(node):
            self.use(target)
        else:
            self.generic_visit(node)

    def module_attribute(self, node) -> tuple[str, str] | None:
        """The definition that `module.name` refers to."""
        if isinstance(node.value, ast.Name):
            owner = self.resolve(node.value.id)
        else:
            owner = self.module_attribute(node.value) if isinstance(node.value, ast.Attribute) else None
        return self.follow(owner[0], node.attr) if owner and not owner[1] else None

    def visit_BinOp(self, node):
        place = _place(node, self.resolve)
        if place is None:
            self.generic_visit(node)
            return
        self.data.add(place[0])
        self.visit(node.right)
        if isinstance(node.left, ast.BinOp) and not _place(node.left, self.resolve):
            self.visit_BinOp(node.left)

    def visit_Call(self, node):
        name = ast.unparse(node.func)
        if name in BY_STRING and self.resolve(name) is None:
            self.refuse(node, f"{name}(...)")
        self.generic_visit(node)

    def visit_Constant(self, node):
        if isinstance(node.value, str) and re.fullmatch(r"course_utils(\.\w+)+(:\w+)?", node.value):
            self.refuse(node, repr(node.value))

    def refuse(self, node, what):
        raise ValueError(
            f"{self.module.name}, line {node.lineno}: {what} reaches code by a string, which cannot be "
            "followed. Import the function and pass it on."
        )

    def visit_FunctionDef(self, node):
        for decorator in node.decorator_list:
            if not self.registers(decorator):
                self.visit(decorator)
        self.scope(node)

    def visit_Lambda(self, node):
        self.scope(node)

    def visit_AnnAssign(self, node):
        if node.value is not None:
            self.visit(node.value)

    def visit_ListComp(self, node):
        targets = [inner for part in node.generators for inner in ast.walk(part.target)]
        self.scopes.append(({inner.id for inner in targets if isinstance(inner, ast.Name)}, {}))
        self.generic_visit(node)
        self.scopes.pop()

    visit_SetComp = visit_GeneratorExp = visit_DictComp = visit_ListComp

    def scope(self, node):
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                self.visit(default)
        self.scopes.append(_bound(node))
        for inner in node.body if isinstance(node.body, list) else [node.body]:
            self.visit(inner)
        self.scopes.pop()

    def registers(self, decorator) -> bool:
        """Whether it is @sweep(...), whose points, seeds and tolerance are stored with the result."""
        return isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "sweep"


def _bound(function) -> tuple[set[str], dict]:
    """Names that a function binds itself, and those among them that are imported."""
    arguments = function.args
    every = [
        *arguments.posonlyargs,
        *arguments.args,
        *arguments.kwonlyargs,
        arguments.vararg,
        arguments.kwarg,
    ]
    bound, glob = {argument.arg for argument in every if argument}, set()
    imports: dict[str, tuple[str, str]] = {}
    todo = list(function.body) if isinstance(function.body, list) else [function.body]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
            continue
        if isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            bound |= {inner.target.id for inner in ast.walk(node) if isinstance(inner, ast.NamedExpr)}
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports |= imported(node)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            bound.add(node.id)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            bound.add(node.name)
        elif isinstance(node, ast.Global):
            glob |= set(node.names)
        todo += ast.iter_child_nodes(node)
    return bound - glob, imports


def _place(node, resolve) -> tuple[Path, bool] | None:
    """(path, whether it is completely known) of an expression below data/, else None."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        left = _place(node.left, resolve)
        if left is None or not left[1]:
            return left
        if isinstance(node.right, ast.Constant) and isinstance(node.right.value, str):
            return left[0] / node.right.value, True
        return left[0], False
    if isinstance(node, ast.Name) and (target := resolve(node.id)) and target[1]:
        return place_of(*target)
    return None


@cache
def place_of(module: str, name: str) -> tuple[Path, bool] | None:
    """The place below data/ that a module's constant names."""
    if (module, name) == ("course_utils.data", "DATA"):
        return DATA, True
    match module_of(module).definitions.get(name):
        case [ast.Assign(value=ast.BinOp() as value)]:
            return _place(value, _Reader(module_of(module), module.partition(".")[0]).resolve)
    return None
