"""Stages, and what a plan says about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from dvc_ray.redact import public


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """When and how a failed command is tried again."""

    max: int = 0
    """Maximum number of retries."""
    exit_codes: tuple[int, ...] | None = None
    """Retry only after these; None: after any. A signal counts as its negative number, or as 128 plus its number."""
    timeout: bool = False
    """Whether to retry after a timeout, too."""
    delay: float = 0.0
    """Seconds to wait before a retry."""
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
    """Which of these three are multiplied by the number of the attempt; their values are for the first attempt."""
    resources: tuple[tuple[str, float], ...] = ()
    accelerator_type: str | None = None
    label_selector: tuple[tuple[str, str], ...] = ()
    """Labels a node must have, in Ray's syntax."""
    max_parallel: int | None = None
    """Maximum number of attempts of the stage's group at the same time."""
    mutex: tuple[str, ...] = ()
    """Names, each of which only one stage holds at a time."""
    pull: bool | None = None
    """Whether outs are brought to the workspace; on one machine they always are."""
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Added to the environment of the command."""
    include: tuple[str, ...] = ()
    """Files and folders the command reads but does not declare; relative to the stage's working directory."""
    bare_workspace: bool | None = None
    """Whether the command sees nothing but code and what the stage declares; None: as set for the run."""
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
    """Addresses of stages that must end first, however they end; with ``--single-item`` they replace `upstream`."""
    untracked: tuple[str, ...] = ()
    """Deps that no stage makes and neither Git nor DVC tracks. An earlier stage of the plan may write them without
    declaring them, so this stage waits for all earlier ones; also empty if none of those can run."""
    settings: StageSettings = field(default_factory=StageSettings)
    group: str = ""
    """The address without the part that ``matrix`` or ``foreach`` has added: all items of a stage share it."""


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
    """False: the workspace as it is allows no decision; ``reasons`` say why, in the words of an error."""

    def __post_init__(self) -> None:
        """Remove passwords from URLs: a reason may name an import by its URL."""
        object.__setattr__(self, "reasons", tuple(map(public, self.reasons)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A stage in a plan."""

    spec: StageSpec
    action: Action
    reasons: tuple[str, ...]
    wave: int
    """Number of its wave: steps of one wave do not depend on each other. SKIP steps count as done before the first."""
    judged: bool = True
    """False: whether it runs is decided only when its turn comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """A Git-ignored file or folder of the user's tree, or a secret, that machines without a shared disk do not have."""

    path: str
    """Relative to the tree."""
    is_environment: bool = False
    """Whether it is an environment of Python, conda or Node."""
    is_secret: bool = False
    """Whether Git would track it, but its name looks like that of a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The stages of a run in DVC's order, each with its reason."""

    steps: tuple[Step, ...]
    unseen: tuple[Unseen, ...] = ()
    """What commands may miss on machines that share no disk with the head; otherwise empty."""
    untracked: tuple[str, ...] = ()
    """Code that is sent to such machines although Git does not track it."""

    @property
    def nothing_to_do(self) -> bool:
        """Whether no stage can run."""
        return all(step.action is Action.SKIP for step in self.steps)


class StageState(Enum):
    """The state of a stage in a run."""

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
        """Whether the stage has ended."""
        return self not in {StageState.WAITING, StageState.QUEUED, StageState.RUNNING}

    @property
    def is_success(self) -> bool:
        """Whether stages that depend on it may go on."""
        return self in {StageState.DONE, StageState.CACHED, StageState.UNCHANGED}
