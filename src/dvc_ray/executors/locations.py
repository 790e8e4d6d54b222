"""Which nodes have which data in their caches, as far as this run has seen; and which of them is best for a stage."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from dvc_ray.values.task import Stored

_WORTH = 1 << 20
"""Bytes below which it is not worth to prefer a node."""


class Locations:
    """What nodes have. A node that is gone, or whose cache has lost something, is no error: it is only a preference."""

    def __init__(self) -> None:
        self._nodes: dict[str, set[str]] = {}
        self._sizes: dict[str, int] = {}

    def note(self, node: str, found: Iterable[tuple[str, int]]) -> None:
        """Take down that a node has objects.

        Args:
            node: Its id.
            found: MD5 and bytes of each.
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
    """MD5 and bytes of the outs of an entry of dvc.lock, and of its deps."""
    items = [*entry.get("outs", ()), *entry.get("deps", ())] if isinstance(entry, dict) else []
    return [(str(item["md5"]), int(item.get("size") or 0)) for item in items if item.get("md5")]
