"""A project's ``.dvc/config`` as a stage's workspace has it: what a command may need of it, no secrets.

As long as the file was, and line by line: Git, which looks at time and size, takes it for the file that it knows, and
what DVC says of a line holds for the user's.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from dvc_ray.redact import bare, named, public

_SECTION: Final = re.compile(rb"\s*\[+\s*['\"]?\s*([\w-]+)")
_OPTION: Final = re.compile(rb"\s*['\"]?([\w.-]+)['\"]?\s*=\s*(.*)", re.DOTALL)
_QUOTES: Final = (b'"""', b"'''")
_WITHHELD: Final = frozenset({"machine"})
"""Sections of which a workspace needs nothing, and whose scripts may hold anything."""
_NOTE: Final = b"# withheld by dvc-ray"


def is_config(path: str) -> bool:
    """Whether a path relative to a tree is the settings of a DVC project that Git may track."""
    return path == ".dvc/config" or path.endswith("/.dvc/config")


def without_secrets(text: bytes) -> bytes:
    """Take secrets out of the settings of a DVC project.

    Args:
        text: The file.

    Returns:
        It, as it is if there are none in it; nothing of a file that cannot be read.
    """
    found = b"".join(_lines(text))
    parsed = _parsed(found)
    if parsed is None:
        return b""
    return found if _cleaned(parsed) == parsed else _written(_cleaned(parsed))


def _lines(text: bytes) -> Iterator[bytes]:
    section, quote, hides = "", b"", False
    for line in text.splitlines(keepends=True):
        if quote:  # within a value of several lines
            quote = b"" if quote in line else quote
            yield _blank(line) if hides else _shown(line)
        elif option := _OPTION.fullmatch(line):
            quote = next((mark for mark in _QUOTES if option[2].startswith(mark) and mark not in option[2][3:]), b"")
            hides = _is_secret(section, option[1].decode("ascii"))
            yield _blank(line) if hides else _shown(line)
        else:
            if begins := _SECTION.match(line):
                section = begins[1].decode("ascii").lower()
            yield _shown(line)


def _is_secret(section: str, option: str) -> bool:
    return section in _WITHHELD or named(option)


def _blank(line: bytes) -> bytes:
    """A comment in the place of a line, as long as that."""
    content = line.rstrip(b"\r\n")
    return _NOTE[: len(content)].ljust(len(content)) + line[len(content) :]


def _shown(line: bytes) -> bytes:
    """A line without the passwords of URLs, as long as it was."""
    content = line.rstrip(b"\r\n")
    return bare(content).ljust(len(content)) + line[len(content) :]


def _parsed(text: bytes) -> Mapping[str, Any] | None:
    """The file as DVC reads it (``dvc.config.Config.load_config_to_level``, 3.67.1); None: it does not."""
    from configobj import ConfigObj

    with contextlib.suppress(Exception):  # of configobj's several kinds, and what is no text
        return dict(ConfigObj(text.decode().splitlines(), list_values=True, interpolation=False).dict())
    return None


def _cleaned(found: Mapping[str, Any], section: str = "") -> dict[str, Any]:
    """What the lines should have left."""
    cleaned: dict[str, Any] = {}
    for name, value in found.items():
        within = section or name.split()[0].strip("'\"").lower()
        if isinstance(value, dict):
            cleaned[name] = _cleaned(value, within)
        elif not _is_secret(within, name):
            cleaned[name] = [public(each) for each in value] if isinstance(value, list) else public(value)
    return cleaned


def _written(settings: Mapping[str, Any]) -> bytes:
    """Settings that the lines did not tell as DVC reads them, written anew."""
    from configobj import ConfigObj

    written = io.BytesIO()
    ConfigObj(dict(settings), list_values=True, encoding="utf-8", interpolation=False).write(written)
    return written.getvalue()
