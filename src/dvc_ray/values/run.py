"""What a user asks of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

GRACE: Final = 10.0
"""Seconds between SIGTERM and SIGKILL when a command is stopped, if nobody says otherwise."""


class OnError(Enum):
    """What happens to the rest of a run when a stage fails (``dvc repro``'s ``on_error``)."""

    FAIL = "fail"
    """Start nothing that comes later in the plan, let what runs finish."""
    KEEP_GOING = "keep-going"
    """Go on with the stages that do not depend on the failed one."""
    IGNORE = "ignore"
    """Go on with all, those that depend on the failed one too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which stages a run is about: the flags of ``dvc repro`` that choose."""

    targets: tuple[str, ...] = ()
    single_item: bool = False
    pipeline: bool = False
    all_pipelines: bool = False
    downstream: bool = False
    recursive: bool = False
    glob: bool = False

    @property
    def one_by_one(self) -> bool:
        """Whether it is about stages by themselves, without a graph (``dvc.repo.reproduce.reproduce``, 3.67.1)."""
        return self.single_item and not (self.all_pipelines or self.pipeline)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run goes on."""

    force: bool = False
    run_cache: bool = True
    on_error: OnError = OnError.FAIL
    jobs: int | None = None
    """Stages at the same time; None: as many as the resources allow."""
    address: str | None = None
    """Ray cluster to join; None: a local Ray that is stopped at the end."""
    grace: float | None = None
    """Seconds between SIGTERM and SIGKILL when a command is stopped; None: as the settings say, else `GRACE`."""
    force_downstream: bool = False
    """Run all that depends on a stage that has run, changed or not."""
    pull: bool = False
    """Bring missing data from the remote."""
    allow_missing: bool = False
    """Take a stage whose data is missing, but is unchanged otherwise, as unchanged."""
    commit: bool = True
    """Put outs into the cache."""
    secrets: tuple[str, ...] = ()
    """Names of variables that stages on other machines get from the caller's environment."""
    node_cache_size: int | None = None
    """Bytes that the cache of a node that shares no disk with the head may have; None: no bound."""
    bare_workspace: bool = False
    """Whether stages see nothing but code and what they declare: no ignored files, no Git."""
    owner: str = ""
    """Whose run it is; a part of its id."""
    runtime_env: dict[str, Any] = field(default_factory=dict, repr=False)
    """Ray's, for all stages; what a stage's own says, wins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What makes a run an experiment: the flags of ``dvc exp run`` that ``dvc repro`` has not."""

    params: tuple[str, ...] = ()
    """``[file:]name=value`` in Hydra's override syntax."""
    name: str | None = None
    """None: DVC makes one."""
    message: str | None = None
    """Of the commit; None: DVC's."""
    temp: bool = False
    """Leave the workspace as it is."""
    copy_paths: tuple[str, ...] = ()
    """Ignored or untracked paths the experiment gets a copy of."""
    hydra: bool = True
    """Whether Hydra composes params.yaml where the project's configuration says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveRun:
    """A run on a cluster, as others there see it."""

    run_id: str
    owner: str
    """Whose it is."""
    host: str
    """Where its driver is."""
    directory: str
    """The project's, there."""
    stages: int
    """How many it has to run."""
    begun: float
    """Seconds since the epoch."""
    grace: float = GRACE
    """Seconds its commands have to end when it is stopped."""
    stopped_by: str = ""
    """Who has asked it to stop; empty: nobody."""
