"""The campaign's one project."""

from __future__ import annotations

import pytest

from tests.helpers.campaign import Lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, _environment: None) -> Lab:
    return Lab(tmp_path_factory.mktemp("hostile"))
