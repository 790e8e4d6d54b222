"""Which tests a run has, in which order, and which of them share a process."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
TOGETHER: Final = (
    "tests/test_demo.py",
    "tests/test_meanwhile.py",
    "tests/test_storage_aws.py",
    "tests/test_lock.py",
    "tests/test_command.py",
)
"""Modules whose tests share what takes longer to make than a test, a trained model, servers, counted runs; or that
look for processes by a name that two of them use."""
FIRST: Final = (
    "tests/hosts/test_faults.py",
    "tests/hosts/test_secrets.py",
    "tests/hosts/test_identity.py",
    "tests/hosts/",
    "tests/test_demo.py",
    "tests/test_property",
    "tests/test_docs.py",
    "tests/test_identity.py",
    "tests/test_meanwhile.py",
    "tests/test_environment",
    "tests/test_closed.py",
    "tests/live/test_on_ray.py",
)
"""The longest, so that no process has one left when the others are done; of hosts what matters most."""


def scope(nodeid: str) -> str:
    """Name what runs in one process: all tests with hosts, which share theirs; a module, or a test alone."""
    file = nodeid.partition("::")[0]
    if file.startswith("tests/hosts/"):
        return "hosts"
    return file if file in TOGETHER else nodeid


def turn(nodeid: str) -> int:
    """Say how early a test has its turn, 0 first."""
    return next((place for place, start in enumerate(FIRST) if nodeid.startswith(start)), len(FIRST))


def third(nodeid: str) -> int:
    """Say in which third of the tests one is; a new test does not move the others."""
    return int(hashlib.sha256(nodeid.encode()).hexdigest(), 16) % 3


def third_of_commit() -> int:
    """Say which third has its turn at the commit that is checked out."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout, 16) % 3


def is_chosen(nodeid: str, chosen: int, *, long: bool) -> bool:
    """Whether a test is of the third that was chosen; those with hosts always are, but for the long ones."""
    return (nodeid.startswith("tests/hosts/") and not long) or third(nodeid) == chosen
