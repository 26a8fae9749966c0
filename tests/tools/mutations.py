"""The mutants of a source text: each differs from it in one node of the syntax tree."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
}  # fmt: skip

EMPTY = {"list": "[]", "dict": "{}", "tuple": "()", "set": "set()", "bool": "False", "int": "0"}
REACHED = "_reached_lines"
UNTESTED = ("log.", "failpoints.")
"""Statements that begin so are no part of what the tests promise."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One changed node of a module, in the statement at ``line``."""

    tree: ast.Module
    line: int
    old: ast.AST
    new: ast.AST

    @property
    def source(self) -> str:
        """The whole module with the change."""
        return ast.unparse(ast.fix_missing_locations(_Replace(self.old, self.new).visit(self.tree)))

    def __str__(self) -> str:
        was, now = (" ".join(ast.unparse(node).split())[:90] for node in (self.old, self.new))
        return f"{self.line}  {was}  ->  {now}"


def mutants_of(source: str) -> list[Mutant]:
    """Return all mutants of what stands in functions, in the order of the source."""
    tree = ast.parse(source)
    found = [
        Mutant(tree=tree, line=statement.lineno, old=node, new=new)
        for function in _functions(tree)
        for statement in _statements(function)
        for node in _own_nodes(statement)
        for new in (*_of_statements(node, function), *_of_expressions(node))
    ]
    return sorted(found, key=lambda mutant: mutant.line)


def marked(source: str) -> str:
    """Return the source with each statement of a function noting in ``REACHED`` that it is run."""
    tree = ast.parse(source)
    for node in [n for n in ast.walk(tree) if isinstance(n, ast.stmt | ast.ExceptHandler)]:
        if isinstance(node, ast.ClassDef):
            continue
        for field in ("body", "orelse", "finalbody"):
            inside = getattr(node, field, [])
            with_marks = [part for s in inside for part in (_mark(s.lineno), s)]
            setattr(node, field, with_marks) if inside else None
    return ast.unparse(ast.fix_missing_locations(tree))


def _mark(line: int) -> ast.stmt:
    return ast.parse(
        f"vars(__import__('builtins')).setdefault('{REACHED}', set()).add({line})"
    ).body[0]


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Yield the statements of a function; those of functions within it are theirs."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            continue
        if isinstance(child, ast.stmt) and not _is_noise(child):
            yield child
        if not isinstance(child, ast.expr):
            yield from _statements(child)


def _is_noise(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Expr):
        return isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass)
    constant = isinstance(statement.value, ast.Constant)
    return constant or ast.unparse(statement).startswith(UNTESTED)


def _own_nodes(statement: ast.stmt) -> Iterator[ast.AST]:
    """Yield the statement and its expressions, without the statements in its body."""
    yield statement
    for field, child in ast.iter_fields(statement):
        if field == "annotation":
            continue
        for part in child if isinstance(child, list) else [child]:
            if isinstance(part, ast.expr | ast.withitem | ast.keyword):
                yield from ast.walk(part)


def _of_statements(node: ast.AST, function: ast.FunctionDef) -> Iterator[ast.AST]:
    match node:
        case ast.Expr(value=ast.Call()) | ast.Raise():
            yield ast.Pass()
        case ast.Return(value=ast.expr() as value):
            returns = ast.unparse(function.returns).split("[")[0] if function.returns else ""
            empty = EMPTY.get(returns, "None")
            if ast.unparse(value) != empty:
                yield ast.Return(value=ast.parse(empty, mode="eval").body)
        case ast.If() | ast.While():
            yield _with(node, test=ast.UnaryOp(op=ast.Not(), operand=node.test))
        case ast.AugAssign(op=op) if type(op) in SWAPPED:
            yield _with(node, op=SWAPPED[type(op)]())


def _of_expressions(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(ops=[op, *more]) if type(op) in SWAPPED:
            yield _with(node, ops=[SWAPPED[type(op)](), *more])
        case ast.BoolOp(op=op) | ast.BinOp(op=op) if type(op) in SWAPPED:
            yield _with(node, op=SWAPPED[type(op)]())
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.Constant(value=bool() as value):
            yield ast.Constant(value=not value)
        case ast.Constant(value=int() as value):
            yield ast.Constant(value=value + 1)
        case ast.IfExp():
            yield _with(node, test=ast.UnaryOp(op=ast.Not(), operand=node.test))
        case ast.comprehension(ifs=[_, *more]):
            yield _with(node, ifs=more)


def _with(node: ast.AST, **fields: object) -> ast.AST:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        if node is self.old:
            return ast.copy_location(self.new, node) if isinstance(node, ast.stmt) else self.new
        # A changed copy, so that the tree that the others are made from stays as it is.
        result: ast.AST = self.generic_visit(copy.copy(node))
        return result

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for field, value in ast.iter_fields(node):
            if isinstance(value, list):
                value = [self.visit(v) if isinstance(v, ast.AST) else v for v in value]
            elif isinstance(value, ast.AST):
                value = self.visit(value)
            setattr(node, field, value)
        return node
