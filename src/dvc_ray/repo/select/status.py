"""Whether a stage has changed, as ``dvc.stage.Stage.changed`` decides it (3.67.1), with the reasons kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dvc_ray.values.stage import Status

if TYPE_CHECKING:
    from dvc_ray.repo.remote.data_index import DataIndex

_DELETED: Final = "deleted"
_MISSING: Final = frozenset({_DELETED, "not in cache"})
"""What ``Output.status`` says of missing data (3.67.1)."""


@dataclass(frozen=True, slots=True)
class Change:
    """One reason why a stage has changed."""

    kind: str
    """What ``status`` of the dep or out says: deleted, modified, …; without an item, the whole reason."""
    item: Any = None
    """The ``Dependency`` or ``Output``; None if the change is about the stage itself."""
    what: str = ""
    """The item as DVC names it, or a param of it."""
    is_whole: bool = False
    """Whether the change is about the item, not about a param of it."""

    def __str__(self) -> str:
        """As a plan shows it."""
        return f"{self.kind} {self.what}" if self.what else self.kind


def of(stage: Any, *, allow_missing: bool = False, upstream: Iterable[Any] = ()) -> Status:
    """Status of a DVC stage in the user's workspace.

    The order is DVC's: command, deps, outs; the first that changed decides. So nothing is hashed that stock DVC would
    not hash, except that all changed deps are named rather than the first.

    Args:
        stage: A ``dvc.stage.Stage``; its repo must be locked.
        allow_missing: Do not count missing data as a change, as ``dvc repro --allow-missing``.
        upstream: The stages that it depends on; used if `allow_missing`.
    """
    for look in (_stage, _deps, _outs):  # each called only if needed: checking an out costs, and may touch the cache
        changes = [change for change in look(stage) if not (allow_missing and _merely_missing(stage, change, upstream))]
        if changes:
            return _changed(stage, changes)
    return Status(changed=False)


def by_hashes(stage: Any, data: DataIndex) -> Status:
    """Status of a stage whose data need not be in the workspace.

    Args:
        stage: A ``dvc.stage.Stage``; its repo must be locked.
        data: The index of data that is not there.
    """
    found = next(filter(None, _by_hashes(stage, data)), [])
    return _changed(stage, found) if found else Status(changed=False)


def _by_hashes(stage: Any, data: DataIndex) -> Iterator[list[Change]]:
    """The changes that each check finds, in DVC's order; made only if needed, because checking an out costs."""
    yield list(_stage(stage))
    if stage.frozen or stage.is_callback or stage.always_changed:  # decided without data
        yield list(_deps(stage))
    else:
        yield [change for dep in stage.deps for change in dep_by_hashes(dep, data)]
    yield [change for out in stage.outs for change in _flat(out, _out(out))]


def dep_by_hashes(dep: Any, data: DataIndex) -> list[Change]:
    """How a dep whose data need not be in the workspace has changed; empty if it has not changed."""
    if not data.is_away(dep):
        return list(_flat(dep, dep.status()))
    kind = data.changed(dep)
    return [Change(kind, dep, str(dep), is_whole=True)] if kind else []


def _changed(stage: Any, changes: Iterable[Change]) -> Status:
    return Status(changed=True, reasons=tuple(map(str, changes)) if _known(stage) else ("not run before",))


def _out(out: Any) -> dict[str, Any]:
    """Status of an out; one that is neither here nor in the local cache has not changed, if its hash is known."""
    if not out.exists and out.hash_info and out.use_cache:
        return {}
    return dict(out.workspace_status())


def _known(stage: Any) -> bool:
    """Whether the stage has a result: an entry in dvc.lock, or its own .dvc file."""
    from dvc.stage import PipelineStage

    if not isinstance(stage, PipelineStage):
        return True
    return stage.name in (stage.dvcfile.lockfile_contents.get("stages") or {})


def _stage(stage: Any) -> Iterable[Change]:
    return [Change("command changed" if stage.cmd else "file changed")] if stage.changed_stage() else []


def _deps(stage: Any) -> Iterable[Change]:
    if stage.frozen:
        return []
    if stage.is_callback:
        return [Change("no deps: always runs")]
    if stage.always_changed:
        return [Change("always changed")]
    return [change for dep in stage.deps for change in _flat(dep, dep.status())]


def _outs(stage: Any) -> Iterable[Change]:
    return [change for out in stage.outs for change in _flat(out, out.status())]


def _merely_missing(stage: Any, change: Change, upstream: Iterable[Any]) -> bool:
    """Whether a change is only that data is missing (``Stage._changed_deps``, ``changed_outs``)."""
    if not change.is_whole or change.kind not in _MISSING:
        return False
    if any(change.item is out for out in stage.outs):
        return True
    outs = [out for other in upstream for out in other.outs]
    dep = change.item
    return change.kind == _DELETED and not any(
        dep.fs_path == out.fs_path and dep.hash_info != out.hash_info for out in outs
    )


def _flat(item: Any, status: dict[str, Any]) -> Iterable[Change]:
    """``{"params.yaml": {"lr": "modified"}, "a.csv": "deleted"}`` as changes of ``params.yaml:lr`` and ``a.csv``."""
    for path, kind in status.items():
        if isinstance(kind, dict):
            yield from (Change(str(value), item, f"{path}:{key}") for key, value in kind.items())
        else:
            yield Change(str(kind), item, path, is_whole=True)
