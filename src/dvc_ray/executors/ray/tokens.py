"""A local Ray that is closed to others: it lets in only those who have its user's token."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dvc_ray.ray_api import tokens

AUTH_MODE: Final = "RAY_AUTH_MODE"
TOKEN: Final = "RAY_AUTH_TOKEN"  # noqa: S105  the variable
TOKEN_PATH: Final = "RAY_AUTH_TOKEN_PATH"  # noqa: S105
VARIABLES: Final = (AUTH_MODE, TOKEN, TOKEN_PATH)
"""Variables that a driver needs besides the address of a Ray."""


def close_to_others() -> Callable[[], None]:
    """Make the Ray that is started next ask for a token; if there is none, make one that only the user can read.

    Ray would make one in the user's home that everybody can read (``generate_and_save_token``, 2.60.0); before 2.60 it
    would ask for none. A stage's own driver finds the token there, so no variable is added to its environment.

    Returns:
        A function that restores the environment.
    """
    before = {name: os.environ.get(name) for name in VARIABLES}
    if os.environ.setdefault(AUTH_MODE, "token").lower() == "token" and not has_token():
        _make_token(_file())
    tokens.reread()

    def put_back() -> None:
        for name, text in before.items():
            if text is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = text
        tokens.reread()

    return put_back


def use_token() -> bool:
    """Show the user's token to clusters from now on, if there is one and RAY_AUTH_MODE is not set.

    Ray itself does so only for a cluster that it finds on this machine, not for one that is joined by its address
    (``ray.init``, 2.60.0). Do it only when needed: a driver with a token does not hear workers that have none.

    Returns:
        Whether the token is shown now, and was not before.
    """
    if AUTH_MODE in os.environ or not has_token():
        return False
    os.environ[AUTH_MODE] = "token"
    tokens.reread()
    return True


def has_token() -> bool:
    """Whether there is a token where Ray looks for it (``ray._private.authentication``, 2.60.0)."""
    return bool(os.environ.get(TOKEN)) or _file().is_file()


def _make_token(file: Path) -> None:
    """Make a token as Ray does, atomically and for the user only; for this process only if the home is not writable."""
    token = secrets.token_hex(32)
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as written:
            written.write(token)
        with contextlib.suppress(FileExistsError):  # another start was first, which counts, unlike in `atomic_write`
            os.link(fresh, file)
        fresh.unlink()
    except OSError:
        os.environ[TOKEN] = token


def _file() -> Path:
    return Path(os.environ.get(TOKEN_PATH) or "~/.ray/auth_token").expanduser()
