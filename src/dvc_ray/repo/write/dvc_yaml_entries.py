"""Entries of the sections of dvc.yaml that DVCLive writes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

LISTS: Final = ("params", "metrics", "plots")


ARTIFACTS: Final = "artifacts"
OWN: Final = (*LISTS, ARTIFACTS)
"""Sections that DVCLive writes."""


_FILES: Final = {"params": "params.yaml", "metrics": "metrics.json"}
"""DVCLive's files to which entries refer."""


_PLOTS: Final = frozenset(("plots", kind) for kind in ("metrics", "images", "sklearn", "custom"))
"""Pairs of nested folders in which DVCLive has plots."""


def folders_of(
    before: Mapping[str, Any] | None, after: Mapping[str, Any], touched: Callable[[str], bool]
) -> tuple[str, ...]:
    """Directories of DVCLive to which the stage has logged.

    Entries that were added or removed show them. Entries that stayed do so if the stage has written the path that they
    name; but a metrics.json may be a command's own file, so it counts only if nothing else shows a directory.
    """
    found: dict[str, bool] = {}
    for key in LISTS:
        old = entries_of(before or {}, key)
        new = entries_of(after, key)
        for entry in [*new, *(entry for entry in old if entry not in new)]:
            path = _path(entry)
            if path is None or (folder := _folder(key, path)) is None:
                continue
            if before is not None and (entry in new) is not (entry in old):
                found[folder] = True
            elif touched(path):
                found[folder] = found.get(folder, False) or key != "metrics"
    sure = tuple(folder for folder, is_sure in found.items() if is_sure)
    return sure or tuple(found)


def _folder(key: str, path: str) -> str | None:
    """The directory of DVCLive that an entry's path may be in, as DVCLive looks for the directory in entries."""
    parts = PurePosixPath(path).parts
    if key == "plots":
        tops = (at for at, pair in enumerate(itertools.pairwise(parts)) if pair in _PLOTS)
        at = next(tops, None)
    else:
        at = len(parts) - 1 if parts and parts[-1] == _FILES[key] else None
    return None if at is None else f"{'/'.join(parts[:at]) or '.'}/"


def _path(entry: Any) -> str | None:
    """The path that an entry of a list names; None if DVCLive would leave the entry alone in any case."""
    if isinstance(entry, str):
        return entry
    return str(next(iter(entry))) if isinstance(entry, dict) and len(entry) == 1 else None


def new_entries(folders: Sequence[str], before: Sequence[Any], after: Sequence[Any], *, known: bool) -> list[Any]:
    """Entries that DVCLive has appended; none without a directory of DVCLive: then somebody else wrote them."""
    if not folders:
        return []
    kept = entries_without(folders, before)
    if known and list(after[: len(kept)]) == kept:
        return list(after[len(kept) :])
    return [entry for entry in after if not entries_without(folders, [entry])]


def entries_without(folders: Sequence[str], entries: Iterable[Any]) -> list[Any]:
    """Entries that DVCLive keeps: those in whose path its directory does not occur anywhere."""
    return [entry for entry in entries if not any(folder in (_path(entry) or "") for folder in folders)]


def artifacts_of(folders: Sequence[str], data: Mapping[str, Any]) -> dict[str, Any]:
    """Artifacts that DVCLive keeps."""
    return {name: meta for name, meta in mapping_of(data, ARTIFACTS).items() if _keeps(folders, meta)}


def _keeps(folders: Sequence[str], meta: Any) -> bool:
    return not isinstance(meta, dict) or not any(folder in str(meta.get("path", folder)) for folder in folders)


def moved_sections(before: Sequence[str], after: Sequence[str]) -> frozenset[str]:
    """Keys that now follow one that they preceded: DVCLive adds keys only at the end."""
    common = [key for key in before if key in after]
    return frozenset(
        key
        for at, key in enumerate(common)
        if key in OWN and any(after.index(other) < after.index(key) for other in common[at + 1 :])
    )


def in_order(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """The order in which DVCLive has added sections to the file, as far as it shows; else DVCLive's usual order."""
    seen = iter([key for key in after if key in OWN and key not in before])
    fresh = {key for key in after if key in OWN and key not in before}
    return [next(seen) if key in fresh else key for key in OWN]


def entries_of(data: Mapping[str, Any], key: str) -> list[Any]:
    """The entries of a section that is a list."""
    found = data.get(key) if key != ARTIFACTS else None
    return list(found) if isinstance(found, list) else []


def mapping_of(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The entries of a section that is a mapping."""
    found = data.get(key)
    return found if isinstance(found, dict) else {}
