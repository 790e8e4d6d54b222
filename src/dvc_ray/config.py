"""Settings of dvc-ray: flags > DVC_RAY_* > .dvc/ray.local.toml > .dvc/ray.toml > user file > defaults."""

from __future__ import annotations

import getpass
import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from dvc_ray.errors import BadArgumentError, ClusterError, ConfigError
from dvc_ray.settings.amounts import boolean, duration, positive, size
from dvc_ray.settings.failures import did_you_mean, shown
from dvc_ray.values.run import GRACE, RunOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings with their defaults."""

    address: str | None = None
    """Ray cluster to join; RAY_ADDRESS stands for it if unset; neither: a local Ray for each run."""
    jobs: int | None = None
    """Stages at the same time; unset: as many as the resources allow."""
    grace: float = GRACE
    """Seconds between SIGTERM and SIGKILL when a command is stopped."""
    node_cache_size: int | None = None
    """Bytes that each node's cache of data may have; unset: no bound."""
    secrets: tuple[str, ...] = ()
    """Names of variables that stages on other machines get from the caller's environment."""
    bare_workspace: bool = False
    """Whether stages see nothing but code and what they declare: no ignored files, no Git."""
    owner: str = ""
    """Part of the ids of runs; unset: the name of the user."""
    runtime_env: dict[str, Any] = field(default_factory=dict, repr=False)
    """Ray's, for all stages; what a stage's own says, wins."""


def load(dvc_dir: str | None, environ: Mapping[str, str] | None = None) -> Config:
    """Read the settings that hold for a project.

    Args:
        dvc_dir: The project's ``.dvc``; None: there is no project.
        environ: The environment; default ``os.environ``.

    Raises:
        ConfigError: A file cannot be read, or a setting is unknown or has the wrong type.
    """
    environ = os.environ if environ is None else environ
    user = Path(environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "dvc-ray" / "config.toml"
    config = Config()
    projects = [Path(dvc_dir, name) for name in ("ray.toml", "ray.local.toml")] if dvc_dir else []
    for path in (user, *projects):
        if _is_there(path):
            config = _merge(config, _read(path), str(path))
    variables = {name: environ[f"DVC_RAY_{name.upper()}"] for name in _TYPES if environ.get(f"DVC_RAY_{name.upper()}")}
    return _merge(config, variables, "environment, DVC_RAY_*")


def apply(config: Config, options: RunOptions, environ: Mapping[str, str] | None = None) -> RunOptions:
    """Fill what the command line left open from the settings.

    Raises:
        BadArgumentError: ``jobs`` is not positive.
        ClusterError: The address is one dvc-ray cannot use.
    """
    environ = os.environ if environ is None else environ
    jobs = options.jobs if options.jobs is not None else config.jobs
    if options.jobs is not None:
        try:
            positive(options.jobs)
        except ValueError:
            raise BadArgumentError(
                f"--jobs must be a whole number of at least 1, not {shown(options.jobs)}",
                "Leave it out to use all cores.",
            ) from None
    address = options.address or config.address or environ.get("RAY_ADDRESS") or None
    if address and address.startswith("ray://"):
        raise ClusterError(
            f"'{address}' is a Ray Client address, which dvc-ray does not use: a stage's result would be lost with the"
            " connection.",
            "Run dvc-ray on the head node with --address auto, or give the address of the cluster itself (host:6379).",
        )
    grace = options.grace if options.grace is not None else config.grace
    address = None if address == "local" else address
    return replace(
        options,
        jobs=jobs,
        address=address,
        grace=grace,
        secrets=options.secrets or config.secrets,
        node_cache_size=config.node_cache_size,
        bare_workspace=config.bare_workspace,
        owner=_plain(config.owner or _user()),
        runtime_env=config.runtime_env,
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user that the system has no name for
        return str(os.getuid())


def _plain(name: str) -> str:
    """A name as a part of ids, paths and keys."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")[:20]


def _is_there(path: Path) -> bool:
    """Whether there is a file of settings; one that is `os.devnull` has none.

    Raises:
        ConfigError: There is something else in its place.
    """
    if not os.path.lexists(path) or os.path.realpath(path) == os.devnull:
        return False
    if not path.is_file():
        raise ConfigError(f"'{path}' is no file.", "Settings are read from it: put a file in its place, or nothing.")
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read '{path}': {error}", "Mend or remove the file.") from None
    except (RecursionError, ValueError) as error:  # an int of thousands of digits
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"cannot read '{path}': {why}", "Mend or remove the file.") from None


def _merge(config: Config, found: Mapping[str, Any], where: str) -> Config:
    typed: dict[str, Any] = {_known(key, where): _typed(key, value, where) for key, value in found.items()}
    return replace(config, **typed)


def _known(key: str, where: str) -> str:
    if key in _TYPES:
        return key
    raise ConfigError(
        f"unknown setting '{key}' ({where}).{did_you_mean(key, _TYPES)}", f"Settings: {', '.join(_TYPES)}."
    )


def _typed(key: str, value: object, where: str) -> object:
    try:
        return _TYPES[key](value)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        expected = _EXPECTED[key]
        raise ConfigError(
            f"setting '{key}' ({where}) must be {expected}, not {shown(value)}", "Correct or remove it."
        ) from None


def _names(value: object) -> tuple[str, ...]:
    """A list of names; in a variable, separated by commas."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise TypeError
    names = tuple(name.strip() for name in items if name.strip())
    if any("=" in name or "\0" in name for name in names):
        raise ValueError(items)
    return names


def _text(value: object) -> str:
    """A text, without what would disguise what is printed with it."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(value)
    return value


def _count(value: object) -> int:
    """A whole number of at least 1; in a variable, as text."""
    return positive(int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value) else value)


def _seconds(value: object) -> float:
    """A duration, or none at all; in a variable, a number is a text."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
        value = float(value)
    return 0.0 if value == 0 and not isinstance(value, bool) else duration(value)


def _boolean(value: object) -> bool:
    """A truth value; in a variable, as text."""
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
    return boolean(value)


def _table(value: object) -> dict[str, Any]:
    """A table; in a variable, as JSON."""
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise TypeError
    return found


_TYPES: dict[str, Callable[[Any], object]] = {
    "address": _text,
    "jobs": _count,
    "grace": _seconds,
    "node_cache_size": size,
    "secrets": _names,
    "bare_workspace": _boolean,
    "owner": _text,
    "runtime_env": _table,
}
_EXPECTED = {
    "address": "a text",
    "jobs": "a whole number of at least 1",
    "grace": "a number of seconds, or a duration such as 30s",
    "node_cache_size": "a size such as 100GiB",
    "secrets": "a list of names of environment variables",
    "bare_workspace": "true or false",
    "owner": "a text",
    "runtime_env": "a table as Ray's runtime_env",
}
assert set(_TYPES) == {field.name for field in fields(Config)}  # noqa: S101
