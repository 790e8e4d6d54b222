"""What a run tells whoever listens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from dvc_ray.redact import public
from dvc_ray.values.stage import Plan, StageState


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A piece of what a command printed."""

    address: str
    attempt: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """Where a stage of a run is, for whoever watches."""

    address: str
    state: StageState
    reason: str = ""
    waiting_for: str = ""
    """What a queued stage waits for, if that takes a while: ``a node with 4 CPUs``."""
    node: str = ""
    seconds: float = 0.0
    exit_code: int | None = None
    error: str = ""
    log: str = ""
    tail: tuple[str, ...] = ()
    """Last lines of the command's output, for a stage that failed."""
    exception: Exception | None = field(default=None, repr=False, compare=False)
    """What kept a stage that failed from being given to a worker; DVC's own exception is its ``__cause__``."""

    def __post_init__(self) -> None:
        """What we say of URLs, we say without their passwords; `tail` is the command's own."""
        object.__setattr__(self, "reason", public(self.reason))
        object.__setattr__(self, "error", public(self.error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The plan of a run is made."""

    run_id: str
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something the user should know; not bound to a stage's state."""

    text: str
    level: str = "info"
    """info or warning."""

    def __post_init__(self) -> None:
        """As `StageReport`."""
        object.__setattr__(self, "text", public(self.text))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What became of a run."""

    run_id: str
    reports: tuple[StageReport, ...]
    seconds: float
    in_remote: bool = False
    """Whether data is in the remote already."""
    pulled: bool = False
    """Whether outs were brought here from there."""
    ignores_errors: bool = False
    """Whether stages may fail in a run that goes well (``--ignore-errors``)."""

    @property
    def ok(self) -> bool:
        """Whether the run went well: what its exit code says, and what DVC would say."""
        return self.ignores_errors or not self.failed

    @property
    def failed(self) -> tuple[StageReport, ...]:
        """Reports of the stages that failed."""
        return tuple(report for report in self.reports if report.state is StageState.FAILED)

    def count(self, *states: StageState) -> int:
        """How many stages ended in one of ``states``."""
        return sum(report.state in states for report in self.reports)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """An experiment is saved as a commit of its own."""

    name: str
    rev: str
    """The commit."""
    applied: bool
    """Whether its results are in the workspace."""
    why: str = ""
    """Why they are not."""
    temporary: bool = False
    """Whether they were not to be (``--temp``)."""


class ExperimentResult(NamedTuple):
    """What became of an experiment."""

    run: RunResult
    saved: Saved | None
    """None: a stage failed, so there is nothing to save."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunError:
    """What has ended a run, or the command that made it."""

    kind: str
    """Name of its class, one of `dvc_ray.errors`."""
    what: str
    hint: str = ""
    """What to run next."""
    exit_code: int


RunEvent = Planned | StageReport | Output | Notice | RunResult | Saved | RunError


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An event in its place in the stream of a run."""

    seq: int
    """Its number, from 0."""
    time: float
    """When it happened, in seconds since the epoch."""
    event: RunEvent
