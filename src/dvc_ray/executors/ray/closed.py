"""A local Ray closed to others: only its user reaches it, from this machine."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

AUTH_MODE: Final = "RAY_AUTH_MODE"
TOKEN: Final = "RAY_AUTH_TOKEN"  # noqa: S105  the variable
TOKEN_PATH: Final = "RAY_AUTH_TOKEN_PATH"  # noqa: S105
ON_LOOPBACK: Final = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's switch; without it, Ray's servers listen on 127.0.0.1 only, and drivers look for them there."""
VARIABLES: Final = (AUTH_MODE, TOKEN, TOKEN_PATH, ON_LOOPBACK)
"""What a driver needs beside the address of a Ray, and whatever starts from it."""


def close_to_others() -> Callable[[], None]:
    """Have the Ray that is started next ask for a token, and listen on this machine only, where Ray lets us.

    Without a token of the user's that others cannot read, it gets one of its own. Ray would make one in the user's
    home, for everybody to read (``generate_and_save_token``, 2.60.0); and before 2.60 it would ask for none.

    Returns:
        What puts things back as they were.
    """
    from ray._private import ray_constants

    before = {name: os.environ.get(name) for name in VARIABLES}
    loopback = ray_constants.ENABLE_RAY_CLUSTER
    if ON_LOOPBACK not in os.environ:
        os.environ[ON_LOOPBACK] = "0"
        ray_constants.ENABLE_RAY_CLUSTER = False
    if os.environ.setdefault(AUTH_MODE, "token").lower() == "token" and not _has_private_token():
        os.environ[TOKEN] = secrets.token_hex(32)
    _reread()

    def put_back() -> None:
        ray_constants.ENABLE_RAY_CLUSTER = loopback
        for name, text in before.items():
            if text is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = text
        _reread()

    return put_back


def use_token() -> bool:
    """Show the user's token to a cluster from now on, if there is one and nobody has said whether to.

    Ray does so by itself only for a cluster that it finds on this machine, not for one that is joined by its address
    (``ray.init``, 2.60.0). Not to be done unasked: a driver with a token does not hear workers that have none.

    Returns:
        Whether it is shown now, and was not before.
    """
    if AUTH_MODE in os.environ or not has_token():
        return False
    os.environ[AUTH_MODE] = "token"
    _reread()
    return True


def has_token() -> bool:
    """Whether there is one where Ray looks (``ray._private.authentication``, 2.60.0)."""
    return bool(os.environ.get(TOKEN)) or _file().is_file()


def _has_private_token() -> bool:
    """Whether the user has one that nobody else can read, or has named one."""
    if os.environ.get(TOKEN) or os.environ.get(TOKEN_PATH):
        return True
    file = _file()
    return file.is_file() and any(not each.stat().st_mode & 0o077 for each in (file, *file.parents))


def _file() -> Path:
    return Path(os.environ.get(TOKEN_PATH) or "~/.ray/auth_token").expanduser()


def _reread() -> None:
    """Have Ray look at the environment again: it has done so when it was imported, and when it asked for a token."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
