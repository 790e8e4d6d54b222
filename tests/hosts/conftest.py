"""Hosts for the tests of this folder: one testbed for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.testbed import Testbed, lacking


@pytest.fixture(scope="session")
def testbed() -> Iterator[Testbed]:
    """The hosts' network; the tests make their hosts themselves, or share those of other fixtures."""
    if why := lacking():
        assert "CI" not in os.environ, f"must run in CI: {why}"
        pytest.skip(f"no test hosts: {why}")
    with Testbed() as made:
        yield made
