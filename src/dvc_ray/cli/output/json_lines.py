"""A run as lines of JSON: what ``--json`` prints."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from dvc_ray.cli.output import plain
from dvc_ray.events import Sink
from dvc_ray.values import wire
from dvc_ray.values.report import Record


@contextmanager
def printer() -> Iterator[Sink]:
    """Make a sink that prints each event; other output goes to standard error meanwhile."""
    out = sys.stdout

    def show(record: Record) -> None:
        print(plain.dumps(wire.encode(record)), file=out, flush=True)

    with redirect_stdout(sys.stderr):  # Ray itself prints when one of its processes dies
        yield show
