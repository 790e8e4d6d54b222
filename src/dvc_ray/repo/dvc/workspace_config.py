"""The ``.dvc/config`` of a stage workspace: the user's settings that a command may need, without secrets.

The copy has the size and the lines of the user's file. Git, which compares time and size, takes it for unchanged, and
a line number in a message of DVC is the line number in the user's file.
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
"""Sections that no workspace needs, and whose scripts may contain anything."""
_NOTE: Final = b"# withheld by dvc-ray"


def is_config(path: str) -> bool:
    """Whether a path, relative to a tree, is the configuration file of a DVC project that Git may track."""
    return path == ".dvc/config" or path.endswith("/.dvc/config")


def without_secrets(text: bytes) -> bytes:
    """Remove secrets from the configuration of a DVC project.

    Args:
        text: Content of the file.

    Returns:
        The content without secrets, unchanged if it has none; empty if the file cannot be parsed.
    """
    found = b"".join(_lines(text))
    parsed = _parsed(found)
    if parsed is None:
        return b""
    return found if _cleaned(parsed) == parsed else _written(_cleaned(parsed))


def _lines(text: bytes) -> Iterator[bytes]:
    section, quote, hides = "", b"", False
    for line in text.splitlines(keepends=True):
        if quote:  # within a multi-line value
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
    """A comment in place of a line, as long as the line."""
    content = line.rstrip(b"\r\n")
    return _NOTE[: len(content)].ljust(len(content)) + line[len(content) :]


def _shown(line: bytes) -> bytes:
    """A line without the passwords in its URLs, padded to its former length."""
    content = line.rstrip(b"\r\n")
    return bare(content).ljust(len(content)) + line[len(content) :]


def _parsed(text: bytes) -> Mapping[str, Any] | None:
    """The file as DVC reads it (``dvc.config.Config.load_config_to_level``, 3.67.1); None if DVC cannot."""
    from configobj import ConfigObj

    with contextlib.suppress(Exception):  # configobj raises several kinds; the file may not be text
        return dict(ConfigObj(text.decode().splitlines(), list_values=True, interpolation=False).dict())
    return None


def _cleaned(found: Mapping[str, Any], section: str = "") -> dict[str, Any]:
    """The settings that should be left in the cleaned lines."""
    cleaned: dict[str, Any] = {}
    for name, value in found.items():
        within = section or name.split()[0].strip("'\"").lower()
        if isinstance(value, dict):
            cleaned[name] = _cleaned(value, within)
        elif not _is_secret(within, name):
            cleaned[name] = [public(each) for each in value] if isinstance(value, list) else public(value)
    return cleaned


def _written(settings: Mapping[str, Any]) -> bytes:
    """The settings as a new file, for a file whose cleaned lines DVC would read in another way."""
    from configobj import ConfigObj

    written = io.BytesIO()
    ConfigObj(dict(settings), list_values=True, encoding="utf-8", interpolation=False).write(written)
    return written.getvalue()
