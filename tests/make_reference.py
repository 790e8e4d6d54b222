"""Writes docs/reference/cli.md from the parser, and the table of config.md: ``python -m tests.make_reference``."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path

from dvc_ray.cli.options import make_parser
from dvc_ray.settings.schema import SETTINGS

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
PAGE = REFERENCE / "cli.md"
SETTINGS_PAGE = REFERENCE / "config.md"
_HEAD = """# Command line

Made from `--help` by `python -m tests.make_reference`; a test compares it. Exit codes: [errors](errors.md).
What the flags of DVC do: [DVC's flags](dvc-flags.md).
"""


def text() -> str:
    """The page of the command line as it should be."""
    os.environ["COLUMNS"] = "100"
    pages = (f"\n## {parser.prog}\n\n```text\n{parser.format_help()}```\n" for parser in _parsers(make_parser()))
    return _HEAD + "".join(pages)


def settings_text() -> str:
    """The page of settings as it should be: as it is, with the table made anew."""
    page = SETTINGS_PAGE.read_text(encoding="utf-8")
    return re.sub(r"(^\|.*\n)+", lambda _: _table(), page, count=1, flags=re.MULTILINE)


def _table() -> str:
    """All settings, a row each."""
    rows = ["setting | flag | variable | value | default | meaning", "--- | " * 5 + "---"]
    for setting in SETTINGS.values():
        flags = ", ".join(f"`{flag}`" for flag in setting.flags) or "none"
        names = f"`{setting.name}` | {flags} | `{setting.variable}`"
        rows.append(f"{names} | {setting.reader.takes} | {setting.default_text} | {setting.text}")
    return "".join(f"| {row} |\n" for row in rows)


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in dict.fromkeys(action.choices.values()):
                yield from _parsers(inner)


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
    SETTINGS_PAGE.write_text(settings_text(), encoding="utf-8")
