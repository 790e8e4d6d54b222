"""The token with which this process authenticates to a cluster."""

from __future__ import annotations


def reread() -> None:
    """Have Ray read the variables of token authentication, and the token, again.

    Ray reads the variables when it is imported, and the token when it first needs it. ``Config`` and
    ``AuthenticationTokenLoader`` of ``ray._raylet``, the same in 2.54.0 and 2.60.0. Without it, a token could only be
    chosen before Ray is imported: a local Ray would be open to other users of the machine.
    """
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # compiled

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def be_quiet() -> None:
    """Keep Ray from warning at each start that it has turned authentication on, as the user need not act on that.

    The logger of ``ray._private.authentication``, the same in 2.54.0 and 2.60.0. Without it, the warning is printed.
    """
    import logging

    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
