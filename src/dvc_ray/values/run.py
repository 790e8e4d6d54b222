"""What a user asks of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class OnError(Enum):
    """What happens to the rest of a run when a stage fails (``dvc repro``'s ``on_error``)."""

    FAIL = "fail"
    """Start nothing that comes later in the plan, let what runs finish."""
    KEEP_GOING = "keep-going"
    """Go on with the stages that do not depend on the failed one."""
    IGNORE = "ignore"
    """Go on with all stages, including those that depend on the failed one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which stages a run is about: the flags of ``dvc repro`` that choose."""

    targets: Sequence[str] = ()
    """Names of stages, paths to a dvc.yaml or .dvc file, or ``path/dvc.yaml:name``; empty: the stages of ./dvc.yaml."""
    single_item: bool = False
    """Only the targets themselves, without what they depend on."""
    pipeline: bool = False
    """The whole pipelines that the targets belong to."""
    all_pipelines: bool = False
    """All pipelines of the project."""
    downstream: bool = False
    """The targets and what depends on them."""
    recursive: bool = False
    """All stages in the directories that the targets name."""
    glob: bool = False
    """Whether targets may hold shell-style wildcards."""

    @property
    def one_by_one(self) -> bool:
        """Whether stages run one by one, without a graph (``dvc.repo.reproduce.reproduce``, 3.67.1)."""
        return self.single_item and not (self.all_pipelines or self.pipeline)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFlags(Selection):
    """How a run treats the stages: the other flags of ``dvc repro``, with DVC's defaults.

    They are chosen run by run, so no settings file has them.
    """

    force: bool = False
    """Also run stages that have not changed."""
    force_downstream: bool = False
    """Run all that depends on a stage that has run, changed or not."""
    run_cache: bool = True
    """Restore outs from the run cache where it has them."""
    on_error: OnError = OnError.FAIL
    """What happens to the rest of the run when a stage fails."""
    pull: bool = False
    """Bring missing data from the remote."""
    allow_missing: bool = False
    """Treat a stage as unchanged if only its data is missing."""
    commit: bool = True
    """Put outs into the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest(RunFlags):
    """What a user asks of a run, on the command line or in Python.

    A setting that is None is taken from environment variables or settings files; if none has it, from its default
    (`dvc_ray.settings.schema`).
    """

    jobs: int | None = None
    """Maximum number of stages at the same time."""
    address: str | None = None
    """Ray cluster to run on; ``local``: a local Ray, whatever variables and files say."""
    local: str | None = None
    """Where stages run without a cluster: ``auto`` or ``ray``."""
    grace: float | str | None = None
    """Time between SIGTERM and SIGKILL when a command is stopped: seconds, or a text such as ``1m30s``."""
    node_cache_size: int | str | None = None
    """Limit for the cache of a node that shares no disk with the head: bytes, or a text such as ``100GiB``."""
    secrets: Sequence[str] | None = None
    """Names of variables that stages on other machines get from the caller's environment."""
    bare_workspace: bool | None = None
    """Whether stages see nothing but code and what they declare: no ignored files, no Git."""
    owner: str | None = None
    """Owner of the run; a part of its id."""
    runtime_env: Mapping[str, Any] | None = field(default=None, repr=False)
    """Ray's ``runtime_env`` for all stages; the settings of a stage take precedence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings(RunFlags):
    """The settings of a run: a `RunRequest` with nothing left open, made by `dvc_ray.settings.sources.resolve`."""

    jobs: int | None
    """Maximum number of stages at the same time; None: as many as the resources allow."""
    address: str | None
    """Ray cluster to join; None: a local Ray that is stopped at the end."""
    local: str
    """Where stages run without a cluster; ``auto``: in processes, but for what only Ray can place; ``ray``: on Ray."""
    grace: float
    """Seconds between SIGTERM and SIGKILL when a command is stopped."""
    node_cache_size: int | None
    """Limit in bytes for the cache of a node that shares no disk with the head; None: no limit."""
    secrets: tuple[str, ...]
    """Names of variables that stages on other machines get from the caller's environment."""
    bare_workspace: bool
    """Whether stages see nothing but code and what they declare: no ignored files, no Git."""
    owner: str
    """Owner of the run; a part of its id."""
    runtime_env: Mapping[str, Any] = field(repr=False)
    """Ray's ``runtime_env`` for all stages; the settings of a stage take precedence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What makes a run an experiment: the flags of ``dvc exp run`` that ``dvc repro`` does not have."""

    params: tuple[str, ...] = ()
    """``[file:]name=value`` in Hydra's override syntax."""
    name: str | None = None
    """None: DVC generates one."""
    message: str | None = None
    """Message of the commit; None: DVC's default."""
    temp: bool = False
    """Leave the workspace as it is."""
    copy_paths: tuple[str, ...] = ()
    """Ignored or untracked paths the experiment gets a copy of."""
    hydra: bool = True
    """Whether Hydra composes params.yaml where the project's configuration says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveRun:
    """A run on a cluster, as others on that cluster see it."""

    run_id: str
    owner: str
    """Owner of the run."""
    host: str
    """Host of its driver."""
    directory: str
    """The project's directory on that host."""
    stages: int
    """How many stages it has to run."""
    begun: float
    """Seconds since the epoch."""
    grace: float
    """Seconds its commands have to end when it is stopped."""
    stopped_by: str = ""
    """Who has asked it to stop; empty: nobody."""
