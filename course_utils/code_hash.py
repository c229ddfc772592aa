"""What a stored result rests on: a hash of the definitions and data files that a function reaches.

Followed are names, attributes of modules and imports, also those inside functions. Import lines, comments,
docstrings, annotations, layout and the place of a definition count for nothing, nor does
code that only shows.
"""

import ast
import copy
import hashlib
import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from course_utils.data import DATA

DISPLAY = {  # bars, boxes, plots; what only brings or checks files; this bookkeeping: none changes a result
    "course_utils.plots",
    "course_utils.widgets",
    "course_utils.fetch",
    "course_utils.data.check_shipped",
    "course_utils.code_hash",
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
    """Normal texts of the definitions that a function reaches, by module and name; data files and folders."""

    texts: dict[tuple[str, str], str] = field(default_factory=dict)
    data: set[Path] = field(default_factory=set)


def code_hash(function: Callable) -> str:
    """Of all that the function reaches in its own package. Raises ValueError for code reached by a string."""
    reached = reach(function)
    lines = sorted(f"{name}\0{text}" for (_, name), text in reached.texts.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def data_hash(function: Callable) -> str:
    """Of the files in data/ that the function can read, without cards, stored results and shipped artifacts.

    An artifact's card has the hash of what the artifact was made from.
    """
    digest = hashlib.sha256()
    for path in files_read(function):
        digest.update(f"{path.relative_to(DATA).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def files_read(function: Callable) -> list[Path]:
    """The files themselves; where only a part of the path is written out, all below that part."""
    found: set[Path] = set()
    for place in reach(function).data:
        found |= {place} if place.is_file() else {path for path in place.rglob("*") if path.is_file()}
    made = {DATA / "results", DATA / "artifacts"}
    return sorted(path for path in found if path.suffix != ".md" and made.isdisjoint(path.parents))


def reach(function: Callable) -> Reached:
    """Everything reached from the top-level definition that `function` belongs to."""
    owner = function if hasattr(function, "__qualname__") else type(function)
    return _reach(owner.__module__, owner.__qualname__.split(".")[0])


@cache
def _reach(root: str, start: str) -> Reached:
    reached, todo = Reached(), [(root, start)]
    while todo:
        module, name = todo.pop()
        if (module, name) in reached.texts or {module, f"{module}.{name}"} & DISPLAY:
            continue
        reached.texts[module, name], found, data = _definition(module, name, root.partition(".")[0])
        todo += found
        reached.data.update(data)
    return reached


@cache
def _definition(module: str, name: str, package: str) -> tuple[str, list[tuple[str, str]], set[Path]]:
    """(normal text, what it names in `package` as (module, name), data files and folders)."""
    parts, found, data = [], [], set()
    for node in module_of(module).definitions[name]:
        reader = _Reader(module_of(module), package)
        parts.append(ast.dump(reader.visit(copy.deepcopy(node))))
        found += reader.found
        data.update(reader.data)
    return "\n".join(parts), found, data


class Module:
    """Definitions at the top of a module, by name, and what its imports bind."""

    def __init__(self, name: str, tree: ast.Module):
        self.name, self.definitions, self.imports = name, {}, {}
        for node in _flat(tree.body):
            if isinstance(node, ast.Import | ast.ImportFrom):
                self.imports |= imported(node)
                continue
            for bound in _names_changed(node):
                self.definitions.setdefault(bound, []).append(node)


@cache
def module_of(name: str) -> Module:
    path = Path(importlib.util.find_spec(name).origin)
    return Module(name, ast.parse(path.read_text(encoding="utf-8")))


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


class _Reader(ast.NodeTransformer):
    """Brings a definition into normal form and notes what it reaches: definitions and data."""

    def __init__(self, module: Module, root: str):
        self.module, self.roots = module, {root, "course_utils"}
        self.scopes: list[tuple[set[str], dict]] = []  # names bound in a scope, and those bound by imports
        self.found: list[tuple[str, str]] = []
        self.data: set[Path] = set()

    def resolve(self, name: str) -> tuple[str, str] | None:
        """(module, definition), (module, "") for a module; None for what is local or of another package."""
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
        """Where a name of a module is defined, through modules that only hand it on."""
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

    def use(self, target: tuple[str, str]) -> ast.Name:
        module, name = target
        if not name and module not in DISPLAY:  # a module as a value: all of it
            self.found += [(module, each) for each in module_of(module).definitions]
            return ast.Name(module.rpartition(".")[2], ast.Load())
        if module not in DISPLAY:
            self.found.append(target)
        return ast.Name(name, ast.Load())

    def visit_Name(self, node):
        target = self.resolve(node.id) if isinstance(node.ctx, ast.Load) else None
        if target is None:
            return node
        if target[1] and (place := place_of(*target)):
            self.data.add(place[0])
        return self.use(target)

    def visit_Attribute(self, node):
        if target := self.module_attribute(node):
            return self.use(target)
        return self.generic_visit(node)

    def module_attribute(self, node) -> tuple[str, str] | None:
        """The definition that `module.name` stands for."""
        if isinstance(node.value, ast.Name):
            owner = self.resolve(node.value.id)
        else:
            owner = self.module_attribute(node.value) if isinstance(node.value, ast.Attribute) else None
        return self.follow(owner[0], node.attr) if owner and not owner[1] else None

    def visit_BinOp(self, node):
        place = _place(node, self.resolve)
        if place is None:
            return self.generic_visit(node)
        self.data.add(place[0])
        node.right = self.visit(node.right)
        if isinstance(node.left, ast.BinOp):
            node.left = self.visit_BinOp(node.left) if not _place(node.left, self.resolve) else node.left
        return node

    def visit_Call(self, node):
        name = ast.unparse(node.func)
        if name in BY_STRING and self.resolve(name) is None:
            self.refuse(node, f"{name}(...)")
        return self.generic_visit(node)

    def visit_Constant(self, node):
        if isinstance(node.value, str) and re.fullmatch(r"course_utils(\.\w+)+(:\w+)?", node.value):
            self.refuse(node, repr(node.value))
        return node

    def refuse(self, node, what):
        raise ValueError(
            f"{self.module.name}, line {node.lineno}: {what} reaches code by a string, which no hash can "
            "follow. Import the function and pass it on."
        )

    def visit_Import(self, node):
        return None

    visit_ImportFrom = visit_Import

    def visit_FunctionDef(self, node):
        node.decorator_list = [d for d in node.decorator_list if not self.registers(d)]
        node.decorator_list = [self.visit(d) for d in node.decorator_list]
        arguments = node.args
        for argument in [
            *arguments.posonlyargs,
            *arguments.args,
            *arguments.kwonlyargs,
            arguments.vararg,
            arguments.kwarg,
        ]:
            if argument is not None:
                argument.annotation = None
        node.returns = None
        arguments.defaults = [self.visit(d) for d in arguments.defaults]
        arguments.kw_defaults = [d and self.visit(d) for d in arguments.kw_defaults]
        return self.scope(node)

    def visit_Lambda(self, node):
        node.args.defaults = [self.visit(d) for d in node.args.defaults]
        return self.scope(node)

    def visit_ClassDef(self, node):
        node.decorator_list = [self.visit(d) for d in node.decorator_list]
        node.bases = [self.visit(base) for base in node.bases]
        node.keywords = [self.visit(keyword) for keyword in node.keywords]
        node.body = self.statements(node.body)
        return node

    def visit_ListComp(self, node):
        return self.comprehension(node)

    visit_SetComp = visit_GeneratorExp = visit_DictComp = visit_ListComp

    def comprehension(self, node):
        self.scopes.append(
            (
                {
                    inner.id
                    for generator in node.generators
                    for inner in ast.walk(generator.target)
                    if isinstance(inner, ast.Name)
                },
                {},
            )
        )
        self.generic_visit(node)
        self.scopes.pop()
        return node

    def scope(self, node):
        bound, imports = _bound(node)
        self.scopes.append((bound, imports))
        if isinstance(node, ast.Lambda):
            node.body = self.visit(node.body)
        else:
            node.body = self.statements(node.body)
        self.scopes.pop()
        return node

    def statements(self, body):
        match body:
            case [ast.Expr(ast.Constant(str())), *rest]:
                body = rest
        visited = [self.visit(statement) for statement in body]
        return [statement for statement in visited if statement is not None] or [ast.Pass()]

    def registers(self, decorator) -> bool:
        """Is it @sweep(...)? Points, seeds and tolerance are stored beside the result."""
        return isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "sweep"


def _bound(function) -> tuple[set[str], dict]:
    """Names that a function binds itself, and those among them that come from imports."""
    arguments = function.args
    every = [
        *arguments.posonlyargs,
        *arguments.args,
        *arguments.kwonlyargs,
        arguments.vararg,
        arguments.kwarg,
    ]
    bound, imports, glob = {argument.arg for argument in every if argument}, {}, set()
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
    """(path, whether all of it is known) of an expression below data/, else None."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        left = _place(node.left, resolve)
        if left is None or not left[1]:
            return left
        known = isinstance(node.right, ast.Constant) and isinstance(node.right.value, str)
        return (left[0] / node.right.value, True) if known else (left[0], False)
    if isinstance(node, ast.Name) and (target := resolve(node.id)) and target[1]:
        return place_of(*target)
    return None


@cache
def place_of(module: str, name: str) -> tuple[Path, bool] | None:
    """The place below data/ that a constant of a module names."""
    if (module, name) == ("course_utils.data", "DATA"):
        return DATA, True
    match module_of(module).definitions.get(name):
        case [ast.Assign(value=ast.BinOp() as value)]:
            return _place(value, _Reader(module_of(module), module.partition(".")[0]).resolve)
    return None
