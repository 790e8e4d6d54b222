"""Ray as the remote executor of DVC, and what a stage's own training code needs of it.

Names are loaded on first use: ``import dvc_ray`` imports neither Ray nor DVC nor DVCLive.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from dvc_ray._version import __version__

if TYPE_CHECKING:
    from dvc_ray.live.data import data_path
    from dvc_ray.live.live import Live
    from dvc_ray.live.session import storage_path
    from dvc_ray.live.transport import fetch, init

__all__ = ["Live", "__version__", "data_path", "fetch", "init", "storage_path"]

_HOMES: Final = {
    "Live": "dvc_ray.live.live",
    "data_path": "dvc_ray.live.data",
    "fetch": "dvc_ray.live.transport",
    "init": "dvc_ray.live.transport",
    "storage_path": "dvc_ray.live.session",
}


def __getattr__(name: str) -> Any:
    """Load a public name from the module it lives in (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Offer the public names before they are loaded."""
    return sorted({*globals(), *__all__})
