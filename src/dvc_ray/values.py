"""Frozen values that cross rooms; nothing else does."""

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
    owner: str = ""
    """Whose run it is; a part of its id."""
    runtime_env: dict[str, Any] = field(default_factory=dict)
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
    env: tuple[tuple[str, str], ...] = ()
    """Added to the environment of the command."""
    include: tuple[str, ...] = ()
    """Files and folders the command reads but does not declare; relative to the stage's working directory."""
    runtime_env: dict[str, Any] | None = None
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
    settings: StageSettings = field(default_factory=StageSettings)
    group: str = ""
    """The address without what ``matrix`` or ``foreach`` has added: items of one stage share it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A DVC remote, as any machine needs it to use it."""

    name: str
    url: str
    options: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    """DVC's own; may hold secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A file or directory whose data is in a remote."""

    path: str
    """Relative to the tree."""
    oid: str
    """Its MD5, with ``.dir`` for a directory."""
    remote: str
    """Name."""
    size: int = 0
    """Bytes, as far as is known."""
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedFile:
    """A file, link or empty folder."""

    path: str
    """Relative to the tree."""
    mode: int
    mtime_ns: int
    data: bytes = field(repr=False)
    """Content; of a link, where it leads."""
    key: str = ""
    """Of the object in the default remote that has the content instead, because it is large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """Files that travel as a value."""

    id: str
    """A digest of all of it."""
    files: tuple[PackedFile, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """What a worker needs beyond its task if it shares no disk with the head."""

    remotes: tuple[Remote, ...]
    """Those its deps come from and its outs go to; the first is the default one."""
    deps: tuple[Stored, ...]
    ships: tuple[str, ...] = ()
    """Files that the head sends with the task, because they are in no remote; relative to the tree."""
    pushes: tuple[tuple[str, str], ...] = ()
    """Outs, relative to the tree, that go to another remote than the default one, and its name."""
    bring: tuple[str, ...] = ()
    """Outs that come home with the result; relative to the tree."""
    pull: bool = False
    """Whether the head brings cached outs from the remote."""
    cache_size: int | None = None
    """Bytes that the node's cache may have; None: no bound."""
    store_env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Variables with which other clients than ours find the default remote, where the node has none of its own."""
    store_credentials: str = field(default="", repr=False)
    """Keys for it, as a file of credentials."""
    secrets: tuple[str, ...] = ()
    """Names of variables of the task's environment that may be shown nowhere."""


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
    """False: it cannot be said in the workspace as it is; ``reasons`` say why."""


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
class Plan:
    """The stages of a run in DVC's order, each with its reason."""

    steps: tuple[Step, ...]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTask:
    """All a worker needs to run one attempt of a stage."""

    run_id: str
    address: str
    attempt: int
    name: str
    """The stage's name within its dvc.yaml."""
    dvcfile: str
    """Its dvc.yaml, relative to the DVC project."""
    definition: dict[str, Any]
    """The resolved stage as in dvc.yaml, without templating."""
    tree: str
    """Root of the tree (Git's, else DVC's) that code and data are taken from and results are brought to."""
    home: str
    """Root of the user's own tree: the same, but for an experiment, which runs in a copy."""
    project: str
    """The DVC project, relative to the tree; ``.`` mostly."""
    cwd: str
    """Directory the user called from, relative to the tree: DVC's addresses are relative to it."""
    code: tuple[str, ...]
    """Files of the snapshot, relative to the tree."""
    links: tuple[str, ...]
    """Deps and includes, files or directories, relative to the tree; linked, not copied."""
    deps: tuple[str, ...]
    """Of the links, those that are deps: files or directories of the tree."""
    copies: tuple[str, ...]
    """Outs that persist: the command may change them in place; relative to the tree."""
    outs: tuple[str, ...]
    """All outs of the stage, relative to the tree."""
    config: dict[str, dict[str, Any]]
    """DVC configuration of the stage workspace."""
    state_dir: str
    """Where DVC keeps the hashes it has computed for the user's tree."""
    env: tuple[tuple[str, str], ...]
    """The environment of the command, before DVC adds its own."""
    env_from_ray: tuple[str, ...] = ()
    """Variables taken from the worker's environment, where Ray sets what the stage declared."""
    workspace: str
    """The stage workspace to make; absolute."""
    log: str
    """The command's output goes here; absolute."""
    kept: str
    """What the attempt wrote where the user has something else goes here; absolute."""
    prefix: str
    """``sys.prefix`` of the driver: a worker with another one runs in an environment of the stage's own."""
    timeout: float | None = None
    grace: float = GRACE
    commit: bool = True
    """Whether outs and a run-cache entry go into the cache."""
    allow_missing: bool = False
    """Whether deps and outs may be missing."""
    elsewhere: Elsewhere | None = None
    """None: the worker shares the head's disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A file of the snapshot that a command rewrote."""

    path: str
    """Relative to the tree."""
    base: tuple[int, int]
    """Modification time (ns) and size of the version that the stage started from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """What became of one attempt."""

    address: str
    attempt: int
    state: StageState
    """DONE, FAILED or STOPPED."""
    node: str
    seconds: float
    workspace: str
    entry: dict[str, Any] | None = None
    """The stage's entry of dvc.lock."""
    exit_code: int | None = None
    """Of the command; negative: the signal that ended it."""
    error: str = ""
    changed: tuple[Changed, ...] = ()
    """Files of the snapshot that the command rewrote."""
    deleted: tuple[str, ...] = ()
    """Files of the snapshot that the command deleted, relative to the tree."""
    created: tuple[str, ...] = ()
    """New files that no out declares."""
    timed_out: bool = False
    unreachable: bool = False
    """Whether its node could not reach a remote, before the command ran."""
    note: str = ""
    """What else is wrong with its machine; begins with what separates it from the error."""
    parcel: Pack | None = None
    """What comes home from a worker that shares no disk with the head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A worker has begun an attempt."""

    address: str
    attempt: int
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A piece of what a command printed."""

    address: str
    attempt: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """An attempt ended without a result: its worker died or could not be started."""

    address: str
    attempt: int
    why: str
    out_of_memory: bool = False
    """Whether Ray's memory monitor ended the worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What an attempt that has not started waits for."""

    what: str
    never: bool = False
    """Whether it would wait for ever."""


WorkerEvent = Started | Output | StageResult | Lost


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What became of a run."""

    run_id: str
    reports: tuple[StageReport, ...]
    seconds: float
    in_remote: bool = False
    """Whether data is in the remote already, and outs are not all here."""

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


RunEvent = Planned | StageReport | Output | Notice | RunResult | Saved
