"""Keys of the remote for S3 clients other than ours, such as Ray's own storage, on a node without keys of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from dvc_ray import env


def give(text: str, path: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Write a file of credentials that only its owner may read.

    Args:
        text: Content of the file; if it is empty, nothing is done.
        path: Path of the file.
        environ: The environment that needs the keys; if it has keys, or the user's own file has, nothing is done.

    Returns:
        Variables that name the file.
    """
    own = any(environ.get(name) for name in env.OWN_CREDENTIALS) or Path("~/.aws/credentials").expanduser().exists()
    if not text or own:
        return {}
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return {env.CREDENTIALS_FILE: str(path)}
