"""Whether a message that a page quotes is one that the code has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

Template = tuple[str, ...]
"""The fixed parts of a text, in order; between two of them stands a value."""


def templates(folder: Path) -> set[Template]:
    """All texts in the modules of a folder, but for what documents them."""
    return {found for path in folder.rglob("*.py") for found in _in_tree(ast.parse(path.read_text()))}


def _in_tree(tree: ast.AST) -> Iterator[Template]:
    documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [""]
            for value in node.values:
                if isinstance(value, ast.Constant):
                    parts[-1] += str(value.value)
                else:
                    parts.append("")
            yield tuple(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield (node.value,)


def is_said(message: str, known: Iterable[Template]) -> bool:
    """Whether a message is a part of a text; a value in it that is more than three words must be one, too.

    Args:
        message: With examples of values, or "…" for one.
        known: The texts.
    """
    message = message.strip("… ")
    words = set(re.findall(r"\w{3,}", message))
    near = [parts for parts in known if words & set(re.findall(r"\w{3,}", " ".join(parts)))]
    return any(
        len(message) - sum(map(len, values)) > 5
        and all(len(value.split()) <= 3 or is_said(value, known) for value in values)
        for parts in near
        for values in _values(message, parts)
        if list(values) != [message]
    )


def _values(message: str, parts: Template) -> Iterator[list[str]]:
    """The values of a text that a message is a part of, for each way in which it may be."""
    for place, part in enumerate(parts):
        if message in part:
            yield []
        for start in range(len(part)):
            if message.startswith(part[start:]):
                yield from _after(message[len(part) - start :], parts[place + 1 :])
        if place:
            yield from _after(message, parts[place:])


def _after(rest: str, parts: Template) -> Iterator[list[str]]:
    """The values in what follows, which begins with one, and ends anywhere."""
    if not rest:
        yield []
        return
    if not parts:
        return
    yield [rest]
    part = parts[0]
    for end in range(1, len(rest)):
        if part and rest.startswith(part, end):
            for values in _after(rest[end + len(part) :], parts[1:]):
                yield [rest[:end], *values]
        elif part.startswith(rest[end:]):
            yield [rest[:end]]


def of_errors(folder: Path, classes: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """What errors say where they are raised: place, what happened, hint; `…` for a value.

    Args:
        folder: Of the modules.
        classes: Names of the classes of errors.
    """
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in classes and node.args:
                what, hint = [*map(_shown, node.args), ""][:2]
                yield f"{path.relative_to(folder)}:{node.lineno}", what, hint


def _shown(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "…"
