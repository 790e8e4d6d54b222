"""The settings of a run: one table for the keys of files, variables, flags, their help and the reference page.

`dvc_ray.values.run` has a field for each, in `RunRequest` and in `RunSettings`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dvc_ray.settings.failures import RefusedError, shown
from dvc_ray.settings.readers import Reader, boolean, duration, is_variable, mapping, positive, size, strings

_HIDDEN: Final = "what it is, which is not shown, as it may hold secrets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting, wherever it is set."""

    name: str
    """Its name in settings files and in Python."""
    reader: Reader
    """Reads values of TOML and Python, and the texts of variables and flags."""
    default: object
    default_text: str
    """The default in words, for `--help` and the reference page."""
    text: str
    """Its description in one line, for `--help` and the reference page."""
    flags: tuple[str, ...] = ()
    """Its flags on the command line, the long one last; empty: it has none."""
    metavar: str = ""
    """Placeholder of its value in `--help`."""

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"DVC_RAY_{self.name.upper()}"

    @property
    def help(self) -> str:
        """The help of its flag."""
        return f"{self.text} (default: {self.default_text})"

    def read(self, value: object) -> object:
        """Read a value.

        Raises:
            RefusedError: It has the wrong type or is out of range; ``what`` follows the name of the setting.
        """
        try:
            return self.reader.read(value)
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
            raise RefusedError(
                f"must be {self.reader.takes}, not {_HIDDEN if self.reader.may_hold_secrets else shown(value)}",
                f"Correct it, or leave it out for the default: {self.default_text}.",
            ) from None


def _text(value: object) -> str:
    """A text of printable characters: others could disguise what is printed with it."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(value)
    return value


def _count(value: object) -> int:
    """A whole number of at least 1; in a variable, as text."""
    return positive(int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value) else value)


def _seconds(value: object) -> float:
    """A duration, or 0; in a variable, a number is a text."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
        value = float(value)
    return 0.0 if value == 0 and not isinstance(value, bool) else duration(value)


def _boolean(value: object) -> bool:
    """A truth value; in a variable, as text."""
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
    return boolean(value)


def _variables(value: object) -> tuple[str, ...]:
    """A list of names of variables; in a variable, separated by commas."""
    items = value.split(",") if isinstance(value, str) else strings(value)
    names = tuple(name.strip() for name in items if name.strip())
    if not all(map(is_variable, names)):
        raise ValueError(value)
    return names


def _local(value: object) -> str:
    """Which executor a machine of its own has."""
    if value not in {"auto", "ray"}:
        raise ValueError(value)
    return str(value)


def _table(value: object) -> dict[str, Any]:
    """A table; in a variable, as JSON."""
    if isinstance(value, str):
        import json  # 2 ms of `--help`

        value = json.loads(value)
    return dict(mapping(value))


_ROWS: Final = (
    Setting(
        name="jobs",
        reader=Reader("a whole number of at least 1", _count),
        default=None,
        default_text="what the cores allow",
        text="at most N stages at the same time",
        flags=("-j", "--jobs"),
        metavar="N",
    ),
    Setting(
        name="address",
        reader=Reader("an address such as 10.0.0.1:6379", _text),
        default=None,
        default_text="$RAY_ADDRESS, else this machine",
        text="Ray cluster to run on",
        flags=("--address",),
        metavar="HOST:PORT",
    ),
    Setting(
        name="local",
        reader=Reader("'auto' or 'ray'", _local),
        default="auto",
        default_text="auto",
        text="where stages run on this machine: in processes if they ask for CPUs only (auto), or on a local Ray (ray)",
    ),
    Setting(
        name="grace",
        reader=Reader("a duration such as 30s or 1m30s, or a number of seconds", _seconds),
        default=10.0,
        default_text="10s",
        text="time between SIGTERM and SIGKILL when a command is stopped",
    ),
    Setting(
        name="node_cache_size",
        reader=Reader("a size such as 100GiB, or a number of bytes", size),
        default=None,
        default_text="no bound",
        text="what the cache of data on each node of a cluster may have",
    ),
    Setting(
        name="secrets",
        reader=Reader("a list of names of environment variables", _variables),
        default=(),
        default_text="none",
        text="variables whose values stages on other machines get from the caller's environment, and that are masked",
    ),
    Setting(
        name="bare_workspace",
        reader=Reader("true or false", _boolean),
        default=False,
        default_text="false",
        text="whether commands see nothing but code and what their stage declares: no ignored files, no Git",
    ),
    Setting(
        name="owner",
        reader=Reader("a name of printable characters", _text),
        default="",
        default_text="your user name",
        text="whose your runs are: a part of their ids, and so of what they keep in the remote",
    ),
    Setting(
        name="runtime_env",
        reader=Reader("a table as Ray's runtime_env", _table, may_hold_secrets=True),
        default={},
        default_text="none",
        text="Ray's runtime_env for all stages",
    ),
)
SETTINGS: Final[Mapping[str, Setting]] = {setting.name: setting for setting in _ROWS}
"""All settings by name, in the order of the reference page."""
