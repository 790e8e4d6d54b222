"""The events of a run."""

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
    """The state of a stage in a run."""

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
    """For a stage that failed before it reached a worker: why; DVC's own exception is its ``__cause__``."""

    def __post_init__(self) -> None:
        """Remove passwords from URLs in our own texts; `tail` is the command's and stays as it is."""
        object.__setattr__(self, "reason", public(self.reason))
        object.__setattr__(self, "error", public(self.error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The plan of a run has been made."""

    run_id: str
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something the user should know that is not bound to a stage's state."""

    text: str
    level: str = "info"
    """info or warning."""

    def __post_init__(self) -> None:
        """Remove passwords from URLs."""
        object.__setattr__(self, "text", public(self.text))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The outcome of a run."""

    run_id: str
    reports: tuple[StageReport, ...]
    seconds: float
    in_remote: bool = False
    """Whether data is in the remote already."""
    pulled: bool = False
    """Whether outs were pulled from the remote."""
    ignores_errors: bool = False
    """Whether a run succeeds even if stages fail (``--ignore-errors``)."""

    @property
    def ok(self) -> bool:
        """Whether the run succeeded, by its exit code and as DVC would say."""
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
    """An experiment has been saved as a commit of its own."""

    name: str
    rev: str
    """The commit."""
    applied: bool
    """Whether its results are in the workspace."""
    why: str = ""
    """Why its results are not in the workspace."""
    temporary: bool = False
    """Whether its results were to stay out of the workspace (``--temp``)."""


class ExperimentResult(NamedTuple):
    """The outcome of an experiment."""

    run: RunResult
    saved: Saved | None
    """None: a stage failed, so there is nothing to save."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunError:
    """The error that ended a run, or the command that started it."""

    kind: str
    """Name of the error's class, one of `dvc_ray.errors`."""
    what: str
    hint: str = ""
    """What to run next."""
    exit_code: int


RunEvent = Planned | StageReport | Output | Notice | RunResult | Saved | RunError


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An event and its position in the stream of a run."""

    seq: int
    """Its number, from 0."""
    time: float
    """When it happened, in seconds since the epoch."""
    event: RunEvent
