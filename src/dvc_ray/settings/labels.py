"""Ray's label selectors: read before Ray is started, and compared with the labels of a node.

The syntax is that of ``ray._private.label_utils`` (2.60.0), the meaning was observed on a local Ray of that version:
``!`` also matches a node without the label. Ray keeps a space before a value in ``in(…)``, so that the value never
matches; spaces are removed here. ``(a)`` without ``in`` passes Ray's check, but never matches; it is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from dvc_ray.ray_api.names import NODE_ID
from dvc_ray.settings.failures import RefusedError

_WORD: Final = r"[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
_PREFIX: Final = rf"(?:{_WORD})?(?:\.(?:{_WORD})?)*"
_SELECTOR: Final = re.compile(rf"(!?)(?:({_WORD})|in\(\s*({_WORD}(?:\s*,\s*{_WORD})*)\s*\))")
_HINT: Final = "A selector is a value, '!value', 'in(a, b)' or '!in(a, b)'; in YAML, quote what begins with '!'."


def selector(value: object) -> tuple[tuple[str, str], ...]:
    """Read a label selector.

    Raises:
        ValueError: The value is not a mapping.
        RefusedError: Ray would not accept a label or a choice in it.
    """
    if not isinstance(value, Mapping):
        raise ValueError(value)  # noqa: TRY004  all readers raise ValueError
    return tuple((_label(key), _choice(key, item)) for key, item in value.items())


def mismatch(wanted: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """Find the first label that a node must have but lacks, or must not have but has; empty if there is none."""
    return next((key for key, choice in wanted.items() if not _matches(choice, labels.get(key))), "")


def _label(key: object) -> str:
    prefix, _, name = str(key).rpartition("/")
    good = isinstance(key, str) and re.fullmatch(_WORD, name) and len(prefix) <= 253
    if not good or ("/" in str(key) and not re.fullmatch(_PREFIX, prefix)):
        raise RefusedError(
            f"'meta.ray.label_selector' has '{key}', which is no label of Ray",
            "A label is [prefix/]name: letters, digits, '-', '_' and '.', 63 at most, a letter or digit at both ends.",
        )
    return str(key)


def _choice(key: object, value: object) -> str:
    if value == "":
        return ""
    match = _SELECTOR.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise RefusedError(f"'meta.ray.label_selector.{key}' cannot be {value!r}", _HINT)
    values = [match[2]] if match[2] else re.split(r"\s*,\s*", match[3])
    # Ray 2.60 aborts the whole process for an invalid node id (accessor.cc: !node_id.IsNil()).
    if key == NODE_ID and not match[1] and not all(re.fullmatch("[0-9a-f]{56}", item) for item in values):
        raise RefusedError(
            f"'meta.ray.label_selector.{key}' cannot be {value!r}: that is no id of a node",
            "Node ids have 56 hexadecimal digits; see them with `ray list nodes`.",
        )
    return match[1] + (match[2] or f"in({','.join(values)})")


def _matches(choice: str, value: str | None) -> bool:
    negated = choice.startswith("!")
    body = choice.removeprefix("!")
    values = body[3:-1].split(",") if body.startswith("in(") else [body]
    return (value in values) is not negated
