"""Tools that a test needs and a machine may lack."""

from __future__ import annotations

import os

import pytest

from tests.testbed.needs import find

_REMEDIES = {
    "npm": "it comes with Node.js",
    "poetry": "pip install 'dvc-ray[dev]'",
    "setpriv": "apt-get install util-linux",
    "unshare": "apt-get install util-linux",
    "uv": "pip install 'dvc-ray[dev]'",
}
_NOT_IN_CI = {"npm", "pipenv", "pdm", "hatch", "pixi", "conda"}
"""What CI does not install either."""


def need(tool: str) -> None:
    """Skip the test where a tool is missing, and say which and what brings it; in CI, fail."""
    if find(tool) is not None:
        return
    why = f"no {tool}: {_REMEDIES.get(tool, f'pip install {tool}')}"
    if os.environ.get("CI") and tool not in _NOT_IN_CI:
        pytest.fail(f"must run in CI: {why}")
    pytest.skip(why)
