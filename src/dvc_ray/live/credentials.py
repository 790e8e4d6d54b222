"""Keys of the remote for other clients than ours, such as Ray's own storage, on a node that has none of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from dvc_ray import env


def give(text: str, path: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Write a file of credentials that only its owner may read.

    Args:
        text: Its content; nothing is done if it is empty.
        path: Where.
        environ: The environment it is for; with keys of its own, or in the user's own file, nothing is done.

    Returns:
        Variables that lead to it.
    """
    own = any(environ.get(name) for name in env.OWN_CREDENTIALS) or Path("~/.aws/credentials").expanduser().exists()
    if not text or own:
        return {}
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return {env.CREDENTIALS_FILE: str(path)}
