"""Writes docs/reference/cli.md from the parser: ``python -m tests.make_reference``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from dvc_ray.cli.parser import make_parser

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
_HEAD = """# Command line

Made from `--help` by `python -m tests.make_reference`; a test compares it. Exit codes: [errors](errors.md).
What the flags of DVC do: [DVC's flags](dvc-flags.md).
"""


def text() -> str:
    """The page as it should be."""
    os.environ["COLUMNS"] = "100"
    pages = (f"\n## {parser.prog}\n\n```text\n{parser.format_help()}```\n" for parser in _parsers(make_parser()))
    return _HEAD + "".join(pages)


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in dict.fromkeys(action.choices.values()):
                yield from _parsers(inner)


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
