"""Chooses stages as ``dvc repro`` does, and refuses those that dvc-ray cannot run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from dvc_ray.errors import ConfigError, ProjectError, UnsupportedError
from dvc_ray.repo.dvc.failures import translate_errors
from dvc_ray.repo.inputs import snapshot
from dvc_ray.repo.run import stage_paths, tasks
from dvc_ray.settings import meta_ray
from dvc_ray.settings.failures import nearest
from dvc_ray.values.run import Selection
from dvc_ray.values.stage import StageKind, StageSettings, StageSpec


def ordered(repo: Any, selection: Selection) -> list[Any]:
    """The stages that ``dvc repro`` would reproduce, in its order (``dvc.repo.reproduce``, 3.67.1)."""
    from dvc.dvcfile import PROJECT_FILE
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    whole = selection.all_pipelines or selection.pipeline
    stages: list[Any] = []
    if not selection.all_pipelines and not selection.targets and not selection.one_by_one:
        # From the index, which the graph needs anyway; `collect_stages` would parse dvc.yaml a second time.
        path = os.path.abspath(PROJECT_FILE)
        stages = [stage for stage in repo.index.stages if stage.path == path]
    if not selection.all_pipelines and not stages:
        stages = collect_stages(
            repo, selection.targets or (PROJECT_FILE,), recursive=selection.recursive, glob=selection.glob
        )
    if selection.one_by_one:
        return stages
    return list(
        plan_repro(
            get_active_graph(repo.index.graph),
            stages,
            pipeline=selection.pipeline,
            downstream=selection.downstream and not whole,
        )
    )


def graph(repo: Any, selection: Selection) -> Any | None:
    """The project's graph, with an edge from each stage to those it depends on.

    Returns:
        None if DVC rejects the graph but does not need it, as with ``dvc repro --single-item``.

    Raises:
        DvcException: DVC rejects the graph: it has a cycle, or two stages have the same out.
    """
    from dvc.exceptions import DvcException

    try:
        return repo.index.graph
    except DvcException:
        if selection.one_by_one:
            return None
        raise


def with_nearest(repo: Any, error: ProjectError, targets: Sequence[str]) -> ProjectError:
    """Add, to the error about an unknown target, the names of stages that the user may have meant."""
    from dvc.exceptions import NoOutputOrStageError, StageNotFoundError
    from dvc.stage.exceptions import StageFileDoesNotExistError, StageNotFound

    unknown = (NoOutputOrStageError, StageNotFoundError, StageFileDoesNotExistError, StageNotFound)
    if not isinstance(error.__cause__, unknown):
        return error
    with translate_errors():
        names = [stage.addressing for stage in repo.index.stages]
    near = [name for target in targets for name in nearest(target, names, most=3)]
    meant = f"Did you mean {', '.join(repr(name) for name in dict.fromkeys(near))}? " if near else ""
    return ProjectError(error.what, f"{meant}{error.hint or 'See the stages with `dvc stage list --all`.'}")


def share_files(stages: Sequence[Any]) -> None:
    """Let stages of one dvc.yaml share one ``ProjectFile``: else each would parse dvc.yaml and dvc.lock again."""
    files: dict[str, Any] = {}
    for stage in stages:
        stage.dvcfile = files.setdefault(stage.path, stage.dvcfile)


def spec(stage: Any, graph: Any | None, selection: Selection, order: Mapping[str, int]) -> StageSpec:
    """Describe a stage for the plan.

    Args:
        stage: The ``dvc.stage.Stage``.
        graph: See `graph`.
        selection: The selection of the run.
        order: Place of each selected stage in the plan, by address.

    Raises:
        ConfigError: The stage's ``meta.ray`` is wrong.
    """
    upstream, after = _before(stage, graph, selection, order)
    return StageSpec(
        address=stage.addressing,
        kind=kind_of(stage),
        cmd=tasks.commands(stage),
        upstream=upstream,
        after=after,
        settings=_settings(stage),
        group=group_of(stage),
    )


def _settings(stage: Any) -> StageSettings:
    """The settings in a stage's ``meta.ray``, with its paths checked.

    Raises:
        ConfigError: ``meta.ray`` is wrong.
    """
    found = meta_ray.parse(stage.addressing, stage.meta)
    root = snapshot.tree(stage.repo)
    for path in found.include:
        if stage_paths.is_outside(root, os.path.join(stage.wdir, path)):
            raise ConfigError(
                f"stage '{stage.addressing}': {path!r} of 'meta.ray.include' leads out of the project ('{root}')",
                "A workspace mirrors the project. On this machine a command reaches other files by an absolute path;"
                " for other machines, move them into the project, or get them there by `dvc import-url`.",
            )
    return found


def _before(
    stage: Any, graph: Any | None, selection: Selection, order: Mapping[str, int]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The stages that a stage depends on, and those that only have their turn before it."""
    if graph is None:
        return (), tuple(order)[: order[stage.addressing]]
    above, below = list(graph.successors(stage)), list(graph.predecessors(stage))
    near: list[Any]
    if selection.one_by_one:  # they run one after another as named, even if others fail
        near, turns = [], [*above, *below]
    elif stage.frozen:  # it depends on none, but sees their outs as they are in its turn
        near, turns = [], above
    else:
        near, turns = above, [found for found in below if found.frozen]
    return _earlier(stage, near, order), _earlier(stage, turns, order)


def _earlier(stage: Any, others: Sequence[Any], order: Mapping[str, int]) -> tuple[str, ...]:
    """Those of some other stages that come before a stage, in plan order."""
    place = order[stage.addressing]
    names = (other.addressing for other in others)
    return tuple(sorted((name for name in names if order.get(name, place) < place), key=order.__getitem__))


def kind_of(stage: Any) -> StageKind:
    """What running a stage means, as ``Stage.run`` decides it."""
    if (stage.is_import and not stage.frozen) or stage.is_partial_import:
        return StageKind.IMPORT
    return StageKind.COMMAND if stage.cmd and not stage.frozen else StageKind.DATA


def group_of(stage: Any) -> str:
    """A stage's address without the key of its item; a name itself cannot have an ``@`` (``is_valid_name``)."""
    name = getattr(stage, "name", None) or ""
    address = str(stage.addressing)
    return address.removesuffix(name) + name.partition("@")[0]


def refuse_unsupported(stage: Any, tree: str) -> None:
    """Refuse deps and outs that a stage workspace cannot have.

    Raises:
        UnsupportedError: A dep or an out is not a path of this machine, or a relative one that leads out of the tree.
        ProjectError: No file can have the name of a dep or an out.
    """
    for path in (stage.wdir, *(str(item.def_path) for item in (*stage.deps, *stage.outs))):
        if not _can_be(path):
            raise ProjectError(f"stage '{stage.addressing}': no file can have the name {path!r}", "Fix it in dvc.yaml.")
    for what, items in (("dep", stage.deps), ("out", stage.outs)):
        for item in items:
            scheme, found, _ = str(item.def_path).partition("://")
            if item.protocol != "local" or found:
                raise UnsupportedError(
                    f"stage '{stage.addressing}': its {what} '{item.def_path}' is not a path of this machine"
                    f" ({scheme}); dvc-ray does not run such a stage yet",
                    f"Run it with DVC itself: dvc repro --single-item {stage.addressing}",
                )
            if not os.path.isabs(item.def_path) and stage_paths.is_outside(tree, item.fs_path):
                raise UnsupportedError(
                    f"stage '{stage.addressing}': its {what} '{item.def_path}' leads out of the project; from"
                    " the stage's own workspace it would lead elsewhere",
                    "Give it as an absolute path in dvc.yaml.",
                )


def _can_be(path: str) -> bool:
    """Whether a file can have this path: it has no NUL and no half of a surrogate pair in it."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def refuse_relative_import(stage: Any, tree: str) -> None:
    """Refuse an import from a relative path outside of the tree: from an experiment's copy it would lead elsewhere.

    Raises:
        UnsupportedError: The stage has such an import.
    """
    for dep in stage.deps:
        url = (getattr(dep, "def_repo", None) or {}).get("url") or str(dep.def_path)
        outside = dep.protocol != "local" or stage_paths.is_outside(tree, os.path.join(stage.wdir, url))
        if url.startswith(os.pardir) and outside:
            raise UnsupportedError(
                f"stage '{stage.addressing}' imports from '{url}', a relative path that leads out of the project: an"
                " experiment runs in a copy of it, from where that leads elsewhere",
                f"Bring it first with `dvc update {stage.addressing}`, or import it from an absolute path or URL.",
            )
