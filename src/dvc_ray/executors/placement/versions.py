"""Whether nodes have what stages need, and the same versions as the head: a pure decision, and its messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

PACKAGES: Final = ("dvc", "dvc-s3", "dvclive", "obstore", "ray")
"""Packages whose versions are compared; dvc-ray itself goes to the nodes with the run."""
_NEEDED: Final = {"dvc": "it runs the stages", "ray": "it starts them"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The Python and the packages of a machine."""

    name: str
    python: str
    packages: Mapping[str, str]
    """Versions; packages that are not installed are left out."""


def fatal(head: Machine, nodes: Sequence[Machine]) -> str:
    """Say which nodes cannot run stages; empty if all can."""
    lines = []
    for node in nodes:
        lacks = [name for name in _NEEDED if name not in node.packages]
        lines += [f"node {node.name} has no {name}: {_NEEDED[name]}" for name in lacks]
        if _minor(node.python) != _minor(head.python):
            lines.append(f"node {node.name} has Python {node.python}, this machine {head.python}")
        lines += [
            f"node {node.name} has {name} {node.packages[name]}, this machine {head.packages[name]}"
            for name in ("dvc",)
            if name in node.packages and _major(node.packages[name]) != _major(head.packages[name])
        ]
    return "; ".join(lines)


def doubts(head: Machine, nodes: Sequence[Machine]) -> str:
    """Say which versions differ in a way that usually does not matter; empty if none do."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        for name in PACKAGES:
            here, there = head.packages.get(name), node.packages.get(name)
            if here is not None and here != there:
                found.setdefault(f"{name} {there or 'missing'} instead of {here}", []).append(node.name)
    return "; ".join(f"{what} on {', '.join(names)}" for what, names in found.items())


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _major(version: str) -> str:
    return version.partition(".")[0]
