"""``dvc_ray.Live``: DVCLive in exactly one of the processes that train together."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from dvc_ray.errors import LiveError
from dvc_ray.live import remote, session
from dvc_ray.live.noop import NoopLive


@dataclass(frozen=True)
class _Recipe:
    """Arguments of a real DVCLive, which is made later and perhaps in another process."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    stage_dir: str | None
    silent: bool = False


@dataclass(frozen=True)
class _Role:
    """The role of this process in the training; it changes when Tune reuses a worker for another trial."""

    name: str
    logs: bool
    is_trial: bool = False


class Live:
    """DVCLive in one process, silent in the others; used like ``dvclive.Live``.

    * A worker of Ray Train logs if its world rank is 0.
    * A trial of Ray Tune (a function) logs if it is the first of its search; the others write nothing, as
      all would write the same files. A Live that is made in a trial and handed to Ray Train inside it logs
      if that trial does.
    * Any other process logs: the stage's own program, or a plain Ray task.

    Before the first use, nothing is written and DVCLive is not imported, so a Live may be made in the
    program that starts the training and travel in ``train_loop_config``. In every process, relative paths,
    also ``dir`` and ``dvcyaml``, are relative to the stage's directory.

    Args:
        *args: As for ``dvclive.Live``.
        **kwargs: As for ``dvclive.Live``.

    Raises:
        LiveError: On first use, if the stage's directory is not known or not on this node; on pickling,
            after the first use.
    """

    _recipe: _Recipe
    _opened: tuple[_Role, Any] | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._start(_Recipe(args, kwargs, session.known_stage_dir()))

    def _start(self, recipe: _Recipe) -> None:
        object.__setattr__(self, "_recipe", recipe)
        object.__setattr__(self, "_opened", None)

    def _live(self) -> Any:
        """Return the DVCLive of this process, opened on first use and again when Tune gives it another trial."""
        role = _role()
        if self._opened is None or self._opened[0] != role:
            object.__setattr__(self, "_opened", (role, _open(self._recipe, role)))
        assert self._opened is not None  # noqa: S101
        return self._opened[1]

    def __getattr__(self, name: str) -> Any:
        """Forward all names to DVCLive."""
        if name.startswith("__"):
            raise AttributeError(name)  # methods that copy and pickle look for
        return getattr(self._live(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Forward assignments, to ``step`` and ``summary``, to DVCLive."""
        setattr(self._live(), name, value)

    def __enter__(self) -> Self:
        """Begin to log; the end of the block saves."""
        self._live().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Save as DVCLive does."""
        self._live().__exit__(*error)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the recipe only: the files are opened in the process that unpickles it."""
        role = _role()
        is_writing = self._opened is not None and not isinstance(self._opened[1], NoopLive)
        if is_writing and not role.is_trial:
            raise LiveError(
                "this Live already logs here and cannot move to another process",
                "Use it only in the training function, or make a second one there.",
            )
        # Tune sends a trial's config back with each report; that copy must not write over the files.
        silent = self._recipe.silent or is_writing or not role.logs
        return _restore, (replace(self._recipe, silent=silent),)


def _restore(recipe: _Recipe) -> Live:
    live = Live.__new__(Live)
    live._start(recipe)  # noqa: SLF001
    return live


def _role() -> _Role:
    if "ray" not in sys.modules:
        return _Role("program", logs=True)
    from dvc_ray.live import train, tune

    trial = tune.trial_id()
    if trial is not None:
        return _Role(trial, logs=tune.is_first_trial(trial), is_trial=True)
    rank = train.world_rank()
    return _Role("program" if rank is None else f"rank {rank}", logs=not rank)


def _open(recipe: _Recipe, role: _Role) -> Any:
    if recipe.silent or not role.logs:
        return NoopLive(*recipe.args[:1], **recipe.kwargs)
    stage_dir = recipe.stage_dir or session.known_stage_dir()
    if stage_dir is None:
        raise LiveError(
            "Live does not know the stage's directory on this worker, so its files would be lost",
            "Start Ray with dvc_ray.init() instead of ray.init() in the stage's program.",
        )
    if not Path(stage_dir).is_dir():
        if remote.is_away():
            from dvc_ray.live.remote_live import AwayLive

            return AwayLive(*recipe.args, **recipe.kwargs)
        raise LiveError(
            f"Live writes to the stage's directory, which is not on this node: {stage_dir}",
            "Run the worker that logs on the stage's node, or run on one machine.",
        )
    from dvc_ray.live.stage_live import StageLive

    return StageLive(stage_dir, *recipe.args, **recipe.kwargs)
