"""Says what is wrong in a YAML file and where, with the facts that DVC prints (``dvc.utils.strictyaml``, 3.67.1)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

_SHOWN: Final = 160
"""Most characters that are shown of a source line."""
_ERRORS: Final = 10
"""Most errors that are shown of a file."""
_STEPS: Final = 5
"""How many levels up DVC looks for a value whose position in the file is known."""


def explained(error: BaseException) -> str:
    """Describe each error with its position; empty if the exception is not about a YAML file."""
    from dvc.utils.strictyaml import YAMLSyntaxError, YAMLValidationError

    if isinstance(error, YAMLSyntaxError):
        revision = f" in revision '{error.rev[:7]}'" if error.rev else ""
        found = [f"'{error.relpath}' is invalid{error.hint}{revision}.", *_of_syntax(error)]
    elif isinstance(error, YAMLValidationError):
        found = [f"{error}.", *_of_schema(error)]
    else:
        return ""
    return "\n".join(found)


def _of_syntax(error: Any) -> Iterator[str]:
    from ruamel.yaml.error import MarkedYAMLError

    source = error.yaml_text.splitlines()
    cause = error.exc.__cause__
    if not isinstance(cause, MarkedYAMLError):
        yield f"  {cause}"
        return
    last = None
    for text, mark in ((cause.context, cause.context_mark), (cause.problem, cause.problem_mark)):
        if text and mark is None:
            yield f"  {_capital(text)}"
        elif text:
            if last is not None and last != mark.line:
                yield from _source(source, last)
            yield f"  {_capital(text)}, in line {mark.line + 1}, column {mark.column + 1}"
            last = mark.line
    if last is not None:
        yield from _source(source, last)


def _of_schema(error: Any) -> Iterator[str]:
    from dvc.utils.serialize import parse_yaml_for_update

    source = error.text.splitlines()
    data = parse_yaml_for_update(error.text, error.path)
    for found in error.exc.errors[:_ERRORS]:
        where = f", in {' -> '.join(map(str, found.path))}" if found.path else ""
        line, column, steps = _place(data, found.path)
        place = f", line {line}, column {column}" if line else ""
        yield f"  {_capital(found.error_message)}{where}{place}"
        if line:
            for at in range(max(line - 2, 0), line + steps - 1):
                yield from _source(source, at)


def _place(data: object, path: list[Any]) -> tuple[int, int, int]:
    """Line and column of a value, or of the nearest value around it with a known position, and the level of that."""
    found, places = data, []
    for key in path:
        found = _item(found, key)
        places.append(found)
    for steps, value in enumerate(reversed(places[1 - _STEPS :]), start=1):
        mark = getattr(value, "lc", None)
        if mark is not None and mark.line is not None:
            return mark.line + 1, mark.col + 1, steps
    return 0, 0, 1


def _item(value: object, key: object) -> object:
    if isinstance(value, (Mapping, list)):
        with contextlib.suppress(LookupError, TypeError):
            return value[key]  # type: ignore[call-overload]
    return None


def _source(source: list[str], at: int) -> Iterator[str]:
    if at < len(source):
        text = source[at] if len(source[at]) <= _SHOWN else f"{source[at][: _SHOWN - 1]}…"
        yield f"  {at + 1:>4} | {text}".rstrip()


def _capital(text: str) -> str:
    text = str(text)
    return text[:1].upper() + text[1:]
