"""Where settings come from: request > DVC_RAY_* > .dvc/ray.local.toml > .dvc/ray.toml > user file > defaults."""

from __future__ import annotations

import getpass
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from dvc_ray.env import RAY_ADDRESS
from dvc_ray.errors import BadArgumentError, ClusterError, ConfigError
from dvc_ray.settings.failures import RefusedError, did_you_mean, shown
from dvc_ray.settings.schema import SETTINGS
from dvc_ray.values.run import RunFlags, RunRequest, RunSettings


def resolve(request: RunRequest, dvc_dir: str | None, environ: Mapping[str, str] | None = None) -> RunSettings:
    """Resolve the settings of a run.

    Args:
        request: The request, whose settings win.
        dvc_dir: The project's ``.dvc``; None: there is no project.
        environ: The environment; default ``os.environ``.

    Raises:
        BadArgumentError: A setting of the request has the wrong type or is out of range.
        ConfigError: The same for a setting of a variable or file; or a file has an unknown setting, or cannot be read.
        ClusterError: The address is one that dvc-ray cannot use.
    """
    environ = os.environ if environ is None else environ
    found: dict[str, Any] = {name: setting.default for name, setting in SETTINGS.items()}
    for path in _files(dvc_dir, environ):
        found |= _of_file(path)
    found |= _of_variables(environ)
    found |= _of_request(request)
    found["address"] = _address(found["address"] or environ.get(RAY_ADDRESS))
    found["owner"] = _plain(found["owner"] or _user())
    flags = {field.name: getattr(request, field.name) for field in fields(RunFlags)}
    return RunSettings(**flags, **found)


def _files(dvc_dir: str | None, environ: Mapping[str, str]) -> list[Path]:
    """List the settings files that exist; a later one wins."""
    user = Path(environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "dvc-ray" / "config.toml"
    projects = [Path(dvc_dir, name) for name in ("ray.toml", "ray.local.toml")] if dvc_dir else []
    return [path for path in (user, *projects) if _is_there(path)]


def _of_file(path: Path) -> dict[str, Any]:
    found = _read(path)
    if unknown := [key for key in found if key not in SETTINGS]:
        raise ConfigError(
            f"unknown setting '{unknown[0]}' ({path}).{did_you_mean(unknown[0], SETTINGS)}",
            f"Settings: {', '.join(SETTINGS)}.",
        )
    return {name: _checked(name, value, str(path)) for name, value in found.items()}


def _of_variables(environ: Mapping[str, str]) -> dict[str, Any]:
    """Read the settings of variables; an empty variable is ignored."""
    return {
        name: _checked(name, environ[setting.variable], setting.variable)
        for name, setting in SETTINGS.items()
        if environ.get(setting.variable)
    }


def _checked(name: str, value: object, where: str) -> object:
    try:
        return SETTINGS[name].read(value)
    except RefusedError as error:
        raise ConfigError(f"setting '{name}' ({where}) {error.what}", error.hint) from None


def _of_request(request: RunRequest) -> dict[str, Any]:
    """Read the settings of the request; an empty text is ignored, as in a variable."""
    if isinstance(request.targets, str):
        raise BadArgumentError(
            f"'targets' must be a list of names, not {shown(request.targets)}", f"Write [{shown(request.targets)}]."
        )
    found = {}
    for name, setting in SETTINGS.items():
        value = getattr(request, name)
        if value is not None and value != "":
            try:
                found[name] = setting.read(value)
            except RefusedError as error:
                raise BadArgumentError(f"'{name}' {error.what}", error.hint) from None
    return found


def _address(given: Any) -> str | None:
    """Return the address of the cluster to join; None: a local Ray.

    Raises:
        ClusterError: The address is one that dvc-ray cannot use.
    """
    if given and given.startswith("ray://"):
        raise ClusterError(
            f"'{given}' is a Ray Client address, which dvc-ray does not use: a stage's result would be lost with the"
            " connection",
            "Run dvc-ray on the head node with --address auto, or give the address of the cluster itself (host:6379).",
        )
    return None if given in {None, "", "local"} else given


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # the system has no name for the user
        return str(os.getuid())


def _plain(name: str) -> str:
    """Make a name fit to be a part of ids, paths and keys."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")[:20]


def _is_there(path: Path) -> bool:
    """Whether there is a settings file; a path that leads to `os.devnull` counts as none.

    Raises:
        ConfigError: There is something in its place that is not a file.
    """
    if not os.path.lexists(path) or os.path.realpath(path) == os.devnull:
        return False
    if not path.is_file():
        raise ConfigError(f"'{path}' is not a file", "Settings are read from it: replace it with a file, or remove it.")
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read '{path}': {error}", "Fix or remove the file.") from None
    except (RecursionError, ValueError) as error:  # ValueError: an int of thousands of digits
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"cannot read '{path}': {why}", "Fix or remove the file.") from None
