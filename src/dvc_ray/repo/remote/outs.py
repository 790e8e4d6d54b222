"""DVC's outs and deps, as the data index sees them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dvc_ray.errors import UnsupportedError


def outs_of(stage: Any) -> Iterator[Any]:
    """The outs of a stage that are files or folders on a disk."""
    return (out for out in stage.outs if out.protocol == "local")


def build(out: Any, path: str) -> Any:
    """The object that DVC makes of a path in the workspace: a ``Tree``, or a file with its hash."""
    return out._build(out.repo.cache.repo, path, out.fs, "md5", ignore=out.dvcignore, dry_run=True)[2]


def oid_of(out: Any) -> str:
    """An out's hash.

    Raises:
        UnsupportedError: The hash has DVC 2's form, whose data is in another place.
    """
    if out.hash_info.name != "md5":
        raise UnsupportedError(
            f"'{out}' was added by DVC 2 ({out.hash_info.name}): workers do not look for data where that put it",
            "Bring it to DVC 3's: dvc cache migrate --dvc-files, then dvc push",
        )
    return str(out.hash_info.value)


def is_params(dep: Any) -> bool:
    """Whether a dep is params."""
    from dvc.dependency import ParamsDependency

    return isinstance(dep, ParamsDependency)
