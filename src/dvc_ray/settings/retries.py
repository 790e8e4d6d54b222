"""``retries`` of ``meta.ray``: a number, or a mapping that says when and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dvc_ray.settings.failures import RefusedError, unknown_key, wrong_value
from dvc_ray.settings.readers import Reader, boolean, duration, growing, whole
from dvc_ray.values.stage import Retries

_WHERE: Final = "meta.ray.retries"


def read(value: object) -> Retries:
    """Read ``retries``.

    Raises:
        ValueError: It is neither a number nor a mapping.
        RefusedError: A part of the mapping is wrong.
    """
    if not isinstance(value, Mapping):
        return Retries(max=whole(value))
    found = {_known(key): _part(str(key), part) for key, part in value.items()}
    if "max" not in found:
        raise RefusedError(f"'{_WHERE}' needs 'max'", "Say how often: retries: {max: 3, exit_codes: [137]}")
    delay = found.pop("delay", None)
    if delay is not None:
        found |= {"delay": delay.value, "delay_grows": delay.grows}
    return Retries(**found)


def _known(key: object) -> str:
    if key not in _PARTS:
        raise unknown_key(key, _WHERE, _PARTS)
    return str(key)


def _part(key: str, value: object) -> Any:
    reader = _PARTS[key]
    try:
        return reader.read(value)
    except (TypeError, ValueError):
        raise wrong_value(f"{_WHERE}.{key}", reader.takes, value) from None


def _exit_codes(value: object) -> tuple[int, ...]:
    codes: list[Any] = value if isinstance(value, list) else [value]
    if not codes or any(isinstance(code, bool) or not isinstance(code, int) for code in codes):
        raise ValueError(value)
    if not all(1 <= code <= 255 or -64 <= code <= -1 for code in codes):
        raise ValueError(value)
    return tuple(codes)


_PARTS: Final[dict[str, Reader]] = {
    "max": Reader("a whole number of at least 0", whole),
    "exit_codes": Reader("an exit code (1 to 255, or -9 for a signal) or a list of them", _exit_codes),
    "timeout": Reader("true or false", boolean),
    "delay": Reader("a duration such as 10s, or one that grows: 10s * attempt", growing(duration)),
}
