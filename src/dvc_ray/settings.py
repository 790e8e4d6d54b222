"""``meta: {ray: {…}}`` of a stage: what may stand there, checked before anything runs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from dvc_ray.errors import ConfigError
from dvc_ray.values import StageSettings

_UNITS: Final = {"": 1, "B": 1} | {
    unit: factor**power
    for power, letter in enumerate("KMGT", start=1)
    for unit, factor in ((f"{letter}B", 1000), (f"{letter}iB", 1024), (letter, 1024))
}
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse(address: str, meta: object) -> StageSettings:
    """Read a stage's settings for dvc-ray.

    Args:
        address: The stage, for messages.
        meta: The stage's ``meta`` as DVC resolved it; any YAML.

    Raises:
        ConfigError: A key is unknown or a value has the wrong type.
    """
    section = meta.get("ray") if isinstance(meta, Mapping) else None
    if section is None:
        return StageSettings()
    if not isinstance(section, Mapping):
        raise ConfigError(
            f"stage '{address}': 'meta.ray' must be a mapping, not {_kind(section)}",
            f"Write it as\n  meta:\n    ray:\n      num_cpus: 2\nAllowed keys: {', '.join(_READERS)}.",
        )
    return StageSettings(**{_known(address, key): _read(address, key, value) for key, value in section.items()})


def _known(address: str, key: object) -> str:
    if key in _READERS:
        return str(key)
    near = difflib.get_close_matches(str(key), _READERS, n=1)
    meant = f" Did you mean '{near[0]}'?" if near else ""
    raise ConfigError(
        f"stage '{address}': unknown key '{key}' in 'meta.ray'.{meant}",
        f"Allowed keys: {', '.join(_READERS)}.",
    )


def _read(address: str, key: object, value: object) -> Any:
    expected, reader = _READERS[str(key)]
    try:
        return reader(value)
    except (TypeError, ValueError):
        raise ConfigError(
            f"stage '{address}': 'meta.ray.{key}' must be {expected}, not {_kind(value)} {value!r}",
            f"Change it under 'meta: ray:' of stage '{address}' in dvc.yaml.",
        ) from None


def _kind(value: object) -> str:
    names = {
        "dict": "a mapping",
        "list": "a list",
        "str": "the string",
        "int": "the number",
        "float": "the number",
    }
    return names.get(type(value).__name__, "a value such as" if value is not None else "empty:")


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ValueError(value)
    return value


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(value)
    return value


def _bytes(value: object) -> int:
    if not isinstance(value, str):
        return _whole(value)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value)
    if not match or match[2] not in _UNITS:
        raise ValueError(value)
    return int(float(match[1]) * _UNITS[match[2]])


def _duration(value: object) -> float:
    if not isinstance(value, str):
        seconds = _number(value)
    else:
        parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smhd])", value)
        if not parts or re.sub(r"[\s\d.smhd]", "", value):
            raise ValueError(value)
        seconds = sum(float(amount) * _SECONDS[unit] for amount, unit in parts)
    if not seconds:
        raise ValueError(value)
    return seconds


def _strings(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(value)
    return tuple(value)


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(value)
    return value


def _env(value: object) -> tuple[tuple[str, str], ...]:
    items = _mapping(value).items()
    if any(isinstance(item, (dict, list)) or item is None for _, item in items):
        raise ValueError(value)
    return tuple((key, _env_text(item)) for key, item in items)


def _env_text(value: object) -> str:
    # As DVC writes a YAML boolean on a command line (dvc.parsing.interpolate.to_str).
    return str(value).lower() if isinstance(value, bool) else str(value)


_READERS: Final[dict[str, tuple[str, Callable[[object], Any]]]] = {
    "num_cpus": ("a number of at least 0", _number),
    "num_gpus": ("a number of at least 0", _number),
    "memory": ("a size such as 2GiB or a number of bytes", _bytes),
    "resources": (
        "a mapping of resource names to numbers",
        lambda value: tuple((key, _number(item)) for key, item in _mapping(value).items()),
    ),
    "env": ("a mapping of variable names to values", _env),
    "include": ("a path or a list of paths", _strings),
    "runtime_env": ("a mapping as Ray's runtime_env", lambda value: dict(_mapping(value))),
    "retries": ("a whole number of at least 0", _whole),
    "timeout": ("a duration such as 90s or 1h30m, or a number of seconds above 0", _duration),
}
