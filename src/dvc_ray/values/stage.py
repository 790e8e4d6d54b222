"""Stages, and what a plan says of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from dvc_ray.redact import public


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """When and how a failed command is tried again."""

    max: int = 0
    """How often."""
    exit_codes: tuple[int, ...] | None = None
    """Only after these; None: after any. A signal is its negative number or 128 more than it."""
    timeout: bool = False
    """Whether after a time-out, too."""
    delay: float = 0.0
    """Seconds to wait before."""
    delay_grows: bool = False
    """Whether the delay is multiplied by the number of the attempt that has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSettings:
    """``meta: {ray: {…}}`` of a stage."""

    num_cpus: float = 1
    num_gpus: float = 0
    memory: int | None = None
    """Bytes Ray sets aside for the stage."""
    grows: tuple[str, ...] = ()
    """Which of these three are multiplied by the number of the attempt; the values are those of the first."""
    resources: tuple[tuple[str, float], ...] = ()
    accelerator_type: str | None = None
    label_selector: tuple[tuple[str, str], ...] = ()
    """Labels a node must have, in Ray's syntax."""
    max_parallel: int | None = None
    """Attempts of the stage's group at the same time."""
    mutex: tuple[str, ...] = ()
    """Names of which each is held by one stage at a time."""
    pull: bool | None = None
    """Whether outs come home; on one machine they always do."""
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Added to the environment of the command."""
    include: tuple[str, ...] = ()
    """Files and folders the command reads but does not declare; relative to the stage's working directory."""
    bare_workspace: bool | None = None
    """Whether the command sees nothing but code and what the stage declares; None: as the run has it."""
    runtime_env: dict[str, Any] | None = field(default=None, repr=False)
    """Handed to Ray as it is."""
    retries: Retries = field(default_factory=Retries)
    timeout: float | None = None
    """Seconds after which the command is stopped and the stage has failed."""


class StageKind(Enum):
    """What running a stage means."""

    COMMAND = "command"
    """It has a command: runs as a Ray task."""
    DATA = "data"
    """A ``.dvc`` file or a frozen stage: DVC only verifies it, on the head."""
    IMPORT = "import"
    """``dvc import``/``import-url``: DVC brings the data itself, on the head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpec:
    """One stage of the graph, resolved."""

    address: str
    """As DVC shows it: ``train@a-1``, ``sub/dvc.yaml:tail``, ``data.csv.dvc``."""
    kind: StageKind
    cmd: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    """Addresses of the stages of this plan whose outs it reads."""
    after: tuple[str, ...] = ()
    """Addresses of stages that only have their turn before: with ``--single-item`` none is for the sake of another."""
    untracked: tuple[str, ...] = ()
    """Deps that no stage makes and neither Git nor DVC tracks. A stage before it in the plan may write them without
    declaring it, so that all of those have their turn before; empty as well where none of them can run."""
    settings: StageSettings = field(default_factory=StageSettings)
    group: str = ""
    """The address without what ``matrix`` or ``foreach`` has added: items of one stage share it."""


class Action(Enum):
    """What a plan intends for a stage."""

    RUN = "run"
    MAYBE = "may run"
    """Unchanged by itself; decided again when its upstream has run."""
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Whether a stage has changed as DVC sees it, and why."""

    changed: bool
    reasons: tuple[str, ...] = ()
    judged: bool = True
    """False: it cannot be said in the workspace as it is; ``reasons`` say why, in the words of an error."""

    def __post_init__(self) -> None:
        """A reason may name an import by its URL, which may have a password."""
        object.__setattr__(self, "reasons", tuple(map(public, self.reasons)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A stage in a plan."""

    spec: StageSpec
    action: Action
    reasons: tuple[str, ...]
    wave: int
    """Steps of one wave do not depend on each other; SKIP steps count as done before the first."""
    judged: bool = True
    """False: whether it runs is decided only when its turn comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """An ignored file or folder of the user's tree, or a secret: machines that share no disk with it do not have it."""

    path: str
    """Relative to the tree."""
    is_environment: bool = False
    """Whether it is one of Python, conda or node."""
    is_secret: bool = False
    """Whether Git would track it, and it is called like a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The stages of a run in DVC's order, each with its reason."""

    steps: tuple[Step, ...]
    unseen: tuple[Unseen, ...] = ()
    """What commands may miss where they run; none if that is here."""
    untracked: tuple[str, ...] = ()
    """Code that goes there though Git does not track it."""

    @property
    def nothing_to_do(self) -> bool:
        """Whether no stage can run."""
        return all(step.action is Action.SKIP for step in self.steps)


class StageState(Enum):
    """Where a stage of a run is."""

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    CACHED = "cached"
    """Restored from the run cache, no command run."""
    UNCHANGED = "unchanged"
    FAILED = "failed"
    STOPPED = "stopped"
    BLOCKED = "blocked"
    """Not run because something upstream failed or the run was stopped."""

    @property
    def is_terminal(self) -> bool:
        """Whether it will not change any more."""
        return self not in {StageState.WAITING, StageState.QUEUED, StageState.RUNNING}

    @property
    def is_success(self) -> bool:
        """Whether what depends on the stage may go on."""
        return self in {StageState.DONE, StageState.CACHED, StageState.UNCHANGED}
