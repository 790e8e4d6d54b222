"""``meta: {ray: {…}}`` of a stage: its keys and values, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dvc_ray.errors import ConfigError
from dvc_ray.settings import labels, retries
from dvc_ray.settings.failures import RefusedError, kind, shown, unknown_key, wrong_value
from dvc_ray.settings.readers import (
    Amount,
    Reader,
    boolean,
    duration,
    growing,
    is_variable,
    mapping,
    name,
    names,
    number,
    positive,
    size,
    strings,
)
from dvc_ray.values.stage import StageSettings


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
    try:
        return _settings(section)
    except RefusedError as error:
        raise ConfigError(f"stage '{address}': {error.what}", error.hint) from None


def _settings(section: object) -> StageSettings:
    if not isinstance(section, Mapping):
        raise RefusedError(
            f"'meta.ray' must be a mapping, not {kind(section)}",
            f"Write it as\n  meta:\n    ray:\n      num_cpus: 2\nAllowed keys: {', '.join(_READERS)}.",
        )
    found = {_known(key): _read(str(key), value) for key, value in section.items()}
    grows = tuple(key for key, value in found.items() if isinstance(value, Amount) and value.grows)
    plain: dict[str, Any] = {key: value.value if isinstance(value, Amount) else value for key, value in found.items()}
    return StageSettings(**plain, grows=grows)


def _known(key: object) -> str:
    if key not in _READERS:
        raise unknown_key(key, "meta.ray", _READERS)
    return str(key)


def _read(key: str, value: object) -> Any:
    reader = _READERS[key]
    try:
        return reader.read(value)
    except RefusedError:
        raise
    except (TypeError, ValueError):
        raise wrong_value(f"meta.ray.{key}", reader.takes, value) from None


def _env(value: object) -> tuple[tuple[str, str], ...]:
    items = mapping(value).items()
    for key, item in items:
        if not is_variable(key):
            raise RefusedError(
                f"'meta.ray.env' has {shown(key)}, which is no name of a variable",
                "A name has no '=' and is not empty.",
            )
        if isinstance(item, (dict, list)) or item is None or "\0" in str(item):
            raise RefusedError(
                f"'meta.ray.env.{key}' must be a text, a number, true or false, not {kind(item)} {shown(item)}",
                "Change it under 'meta: ray:' in dvc.yaml.",
            )
    return tuple((key, _env_text(item)) for key, item in items)


def _resources(value: object) -> tuple[tuple[str, float], ...]:
    found = tuple((key, number(item)) for key, item in mapping(value).items())
    for key, _ in found:
        if key in _OF_RAY:
            raise RefusedError(
                f"'meta.ray.resources' has '{key}', which Ray counts itself",
                f"Write '{_OF_RAY[key]}' beside 'resources'.",
            )
        if not key.strip():
            raise ValueError(value)
    return found


def _env_text(value: object) -> str:
    # As DVC writes a YAML boolean on a command line (dvc.parsing.interpolate.to_str).
    return str(value).lower() if isinstance(value, bool) else str(value)


_OF_RAY: Final = {"CPU": "num_cpus: …", "GPU": "num_gpus: …", "memory": "memory: …", "object_store_memory": "memory: …"}
"""Resources for which Ray has options of their own (``ray._private.ray_option_utils``, 2.60)."""
_COUNT: Final = "a number of at least 0, or one that grows: 2 * attempt"
_READERS: Final[dict[str, Reader]] = {
    "num_cpus": Reader(_COUNT, growing(number)),
    "num_gpus": Reader(_COUNT, growing(number)),
    "memory": Reader("a size such as 2GiB or a number of bytes, or one that grows: 2GiB * attempt", growing(size)),
    "resources": Reader("a mapping of resource names to numbers", _resources),
    "accelerator_type": Reader("the name of an accelerator such as A100", name),
    "label_selector": Reader("a mapping of labels to selectors: {zone: 'in(a, b)'}", labels.selector),
    "max_parallel": Reader("a whole number of at least 1", positive),
    "mutex": Reader("a name or a list of names", names),
    "env": Reader("a mapping of variable names to values", _env),
    "include": Reader("a path or a list of paths", strings),
    "bare_workspace": Reader("true or false", boolean),
    "runtime_env": Reader("a mapping as Ray's runtime_env", lambda value: dict(mapping(value))),
    "retries": Reader(
        "a whole number of at least 0, or a mapping: {max: 3, exit_codes: [137], delay: 10s}", retries.read
    ),
    "timeout": Reader("a duration such as 90s or 1h30m, or a number of seconds above 0", duration),
    "pull": Reader("true or false", boolean),
}
