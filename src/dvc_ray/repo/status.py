"""Whether a stage has changed, as ``dvc.stage.Stage.changed`` decides it (3.67.1), with the reasons kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from dvc_ray.values.stage import Status

if TYPE_CHECKING:
    from dvc_ray.repo.virtual import Virtual


def of(stage: Any, *, allow_missing: bool = False, upstream: Iterable[Any] = ()) -> Status:
    """Status of a DVC stage in the user's workspace.

    The order is DVC's: command, deps, outs; the first that changed decides, so nothing is hashed that stock DVC
    would not hash, except that all deps are named rather than the first.

    Args:
        stage: A ``dvc.stage.Stage``; its repo must be locked.
        allow_missing: Do not count data that is missing as a change, as ``dvc repro --allow-missing``.
        upstream: The stages it depends on, for the same.
    """
    for look in (_stage, _deps, _outs):  # not called before its turn: checking an out costs, and may touch the cache
        found = tuple(text for text in look(stage) if not (allow_missing and _merely_missing(stage, text, upstream)))
        if found:
            return Status(changed=True, reasons=found if _known(stage) else ("not run before",))
    return Status(changed=False)


def by_hashes(stage: Any, data: Virtual) -> Status:
    """Status of a stage whose data need not be in the workspace.

    Args:
        stage: A ``dvc.stage.Stage``; its repo must be locked.
        data: What is known of data that is not there.
    """
    found = next(filter(None, _by_hashes(stage, data)), ())
    if found:
        return Status(changed=True, reasons=found if _known(stage) else ("not run before",))
    return Status(changed=False)


def _by_hashes(stage: Any, data: Virtual) -> Iterator[tuple[str, ...]]:
    """What each look finds, in DVC's order; none looks before its turn: checking an out costs."""
    yield tuple(_stage(stage))
    if stage.frozen or stage.is_callback or stage.always_changed:  # that says nothing of data
        yield tuple(_deps(stage))
    else:
        yield tuple(text for dep in stage.deps for text in dep_by_hashes(dep, data))
    yield tuple(f"{kind} {what}" for out in stage.outs for what, kind in _flat(_out(out)))


def dep_by_hashes(dep: Any, data: Virtual) -> Iterable[str]:
    """How a dep has changed, whose data need not be in the workspace; empty if it has not."""
    if not data.is_away(dep):
        return [f"{kind} {what}" for what, kind in _flat(dep.status())]
    kind = data.changed(dep)
    return [f"{kind} {dep}"] if kind else []


def _out(out: Any) -> dict[str, Any]:
    """Status of an out: that it is neither here nor in the local cache is no change, if its hash is known."""
    if not out.exists and out.hash_info and out.use_cache:
        return {}
    return dict(out.workspace_status())


def _known(stage: Any) -> bool:
    """Whether the stage has a result: an entry in dvc.lock, or a .dvc file, which is its own."""
    from dvc.stage import PipelineStage

    if not isinstance(stage, PipelineStage):
        return True
    return stage.name in (stage.dvcfile.lockfile_contents.get("stages") or {})


def _stage(stage: Any) -> Iterable[str]:
    return [("command changed" if stage.cmd else "file changed")] if stage.changed_stage() else []


def _deps(stage: Any) -> Iterable[str]:
    if stage.frozen:
        return []
    if stage.is_callback:
        return ["no deps: always runs"]
    if stage.always_changed:
        return ["always changed"]
    return [f"{kind} {what}" for dep in stage.deps for what, kind in _flat(dep.status())]


def _outs(stage: Any) -> Iterable[str]:
    return [f"{kind} {what}" for out in stage.outs for what, kind in _flat(out.status())]


def _merely_missing(stage: Any, text: str, upstream: Iterable[Any]) -> bool:
    """Whether a change is only that data is gone (``Stage._changed_deps``, ``changed_outs``)."""
    if any(text in (f"deleted {out}", f"not in cache {out}") for out in stage.outs):
        return True
    dep = next((dep for dep in stage.deps if text == f"deleted {dep}"), None)
    outs = [out for other in upstream for out in other.outs]
    return dep is not None and not any(dep.fs_path == out.fs_path and dep.hash_info != out.hash_info for out in outs)


def _flat(status: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """``{"params.yaml": {"lr": "modified"}, "a.csv": "deleted"}`` as ``("params.yaml:lr", "modified"), …``."""
    for path, kind in status.items():
        if isinstance(kind, dict):
            yield from ((f"{path}:{key}", str(value)) for key, value in kind.items())
        else:
            yield path, str(kind)
