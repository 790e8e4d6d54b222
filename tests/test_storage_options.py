"""Options of a remote as DVC has them: what they mean to our own clients."""

from __future__ import annotations

from typing import Any

import pytest

from dvc_ray.storage.bucket_location import seconds, verified


@pytest.mark.parametrize(
    ("given", "found"),
    [(None, None), ("true", None), (True, None), ("false", False), (False, False), ("a.pem", "a.pem")],
)
def test_how_a_certificate_is_verified(given: object, found: object) -> None:
    options = {} if given is None else {"ssl_verify": given}
    assert verified(options) is found or verified(options) == found


@pytest.mark.parametrize(("given", "found"), [({}, 30), ({"read_timeout": "5"}, 5), ({"read_timeout": 600}, 30)])
def test_a_shorter_timeout_of_the_remote_counts(given: dict[str, Any], found: float) -> None:
    assert seconds(given, "read_timeout", 30) == found
