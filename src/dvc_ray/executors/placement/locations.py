"""Which nodes have which data in their caches, as far as runs have seen, and which node is best for a stage."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from dvc_ray.files import atomic_write
from dvc_ray.values.task import Stored

_WORTH: Final = 1 << 20
"""Bytes of deps below which no node is preferred."""
_REMEMBERED: Final = 10_000
"""Objects that are remembered from run to run, the largest first."""


class Locations:
    """Which nodes have which objects. This only sets a preference: a lost node or object is no error."""

    def __init__(self) -> None:
        self._nodes: dict[str, set[str]] = {}
        self._sizes: dict[str, int] = {}

    @classmethod
    def read(cls, path: Path) -> Locations:
        """Read what earlier runs have written; empty if there is nothing, or if it has another format."""
        found = cls()
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            for oid, (size, nodes) in json.loads(path.read_text(encoding="utf-8")).items():
                for node in nodes:
                    found.note(str(node), [(str(oid), int(size))])
        return found

    def write(self, path: Path, alive: Collection[str]) -> None:
        """Write down for the next run which nodes that are alive have which objects, if large enough to matter.

        A file that cannot be written is no error.
        """
        there = set(alive)
        worth = [(size, oid, sorted(self._nodes[oid] & there)) for oid, size in self._sizes.items() if size >= _WORTH]
        kept = sorted((each for each in worth if each[2]), reverse=True)[:_REMEMBERED]
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, json.dumps({oid: [size, nodes] for size, oid, nodes in kept}).encode())

    def note(self, node: str, found: Iterable[tuple[str, int]]) -> None:
        """Note that a node has objects.

        Args:
            node: Its id.
            found: MD5 and size in bytes of each.
        """
        for oid, size in found:
            self._nodes.setdefault(oid, set()).add(node)
            self._sizes[oid] = max(size, self._sizes.get(oid, 0))

    def best(self, deps: Iterable[Stored], alive: Collection[str]) -> str:
        """The node that has most of some deps, by bytes; empty if none has enough of them to matter.

        Args:
            deps: What a stage reads.
            alive: Ids of the nodes it may run on.
        """
        bytes_on: dict[str, int] = {}
        for dep in deps:
            for node in self._nodes.get(dep.oid, ()):
                if node in alive:
                    bytes_on[node] = bytes_on.get(node, 0) + max(dep.size, self._sizes.get(dep.oid, 0))
        node = max(sorted(bytes_on), key=bytes_on.__getitem__, default="")
        return node if bytes_on.get(node, 0) >= _WORTH else ""


def of_entry(entry: object) -> list[tuple[str, int]]:
    """MD5 and size in bytes of the outs and deps in an entry of dvc.lock."""
    items = [*entry.get("outs", ()), *entry.get("deps", ())] if isinstance(entry, dict) else []
    return [(str(item["md5"]), int(item.get("size") or 0)) for item in items if item.get("md5")]
