"""Tasks and results: the values that go to workers and come back."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import Any

from dvc_ray.redact import public
from dvc_ray.values.git import GitTemplates
from dvc_ray.values.report import Output
from dvc_ray.values.stage import StageState
from dvc_ray.values.surroundings import Surroundings


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A DVC remote, with all that a machine needs to use it."""

    name: str
    url: str = field(repr=False)
    """May hold a password."""
    options: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    """DVC's options of the remote; may hold secrets."""
    mark: str = ""
    """For a folder: mark by which a machine tells that it sees the same one as the head; empty: no check needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A file or directory whose data is in a remote."""

    path: str
    """Relative to the tree."""
    oid: str
    """Its MD5, with ``.dir`` for a directory."""
    remote: str
    """Name of the remote."""
    size: int = 0
    """Bytes, as far as known."""
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledFile:
    """A file, link or empty folder."""

    path: str
    """Relative to the tree."""
    mode: int
    mtime_ns: int
    data: bytes = field(repr=False)
    """Content; for a link, its target."""
    key: str = ""
    """Key of the object in the default remote that holds the content instead, because the file is large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBundle:
    """Files that travel as a value."""

    id: str
    """Digest of all its files."""
    files: tuple[BundledFile, ...] = field(repr=False)
    lasting: bool = False
    """Whether many attempts of a run need it, so that a node fetches it once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedData:
    """The data part of a task whose worker shares the head's disk: no data travels."""

    state_dir: str = ""
    """Where DVC keeps the hashes it has computed for the user's tree."""

    @property
    def deps(self) -> tuple[Stored, ...]:
        """Deps that a node may have to fetch: none."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteData:
    """The data part of a task whose worker shares no disk with the head."""

    remotes: tuple[Remote, ...]
    """Remotes that deps come from and outs go to; the first is the default remote."""
    deps: tuple[Stored, ...]
    ships: tuple[str, ...] = ()
    """Files that the head sends with the task, because they are in no remote; relative to the tree."""
    pushes: tuple[tuple[str, str], ...] = ()
    """Outs that go to a remote other than the default: path relative to the tree, name of the remote."""
    bring: tuple[str, ...] = ()
    """Outs that return to the head with the result; relative to the tree."""
    pull: bool = False
    """Whether the head pulls cached outs from the remote."""
    cache_size: int | None = None
    """Limit of the node's cache in bytes; None: no limit."""
    store_env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Variables with which other S3 clients than ours find the default remote, unless the node sets its own."""
    store_credentials: str = field(default="", repr=False)
    """Keys for the default remote, as a credentials file."""
    signing_key: str = field(default="", repr=False)
    """The run's key, which signs what is kept in the remote for the run."""


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
    """Root of the tree (Git's, or DVC's if there is no Git) that code and data come from and results are brought to."""
    home: str
    """Root of the user's own tree; differs from `tree` only for an experiment, which runs in a copy."""
    temporary: bool = False
    """Whether the stage belongs to an experiment that sees nothing of the user's tree except its copy (``--temp``)."""
    project: str
    """The DVC project, relative to the tree; usually ``.``."""
    cwd: str
    """Directory the user called from, relative to the tree: DVC's addresses are relative to it."""
    code: tuple[str, ...]
    """Files of the snapshot, relative to the tree."""
    links: tuple[str, ...]
    """Deps and includes, files or directories, relative to the tree; linked, not copied."""
    deps: tuple[str, ...]
    """Those of `links` that are deps: files or directories of the tree."""
    copies: tuple[str, ...]
    """Outs with ``persist``, which the command may change in place; relative to the tree."""
    ignored: tuple[str, ...] = ()
    """Git-ignored files and folders of the user's own tree that the workspace has as links; relative to that tree."""
    folders: tuple[str, ...] = ()
    """Git-ignored folders that the workspace has as real folders with links in them; relative to the tree."""
    outs: tuple[str, ...]
    """All outs of the stage, relative to the tree."""
    config: dict[str, dict[str, Any]]
    """DVC configuration of the stage workspace."""
    git: GitTemplates = field(default_factory=GitTemplates)
    """Templates for the workspace's ``.git``; empty: it has none."""
    env: tuple[tuple[str, str], ...] = field(repr=False)
    """The environment of the command, before DVC adds its own."""
    secrets: tuple[str, ...] = ()
    """Names of variables in `env` whose values must appear nowhere: they are masked in the command's output."""
    env_from_ray: tuple[str, ...] = ()
    """Variables taken from the worker's environment, because Ray sets them by what the stage declared."""
    workspace: str
    """The stage workspace to make; absolute."""
    log: str
    """File for the command's output; absolute."""
    kept: str
    """Where to put what the attempt wrote to paths at which the user has something else; absolute."""
    prefix: str
    """``sys.prefix`` of the driver: a worker with a different one runs in the stage's own environment."""
    timeout: float | None = None
    grace: float
    """Seconds between SIGTERM and SIGKILL when the command is stopped."""
    commit: bool = True
    """Whether outs and a run-cache entry go into the cache."""
    allow_missing: bool = False
    """Whether deps and outs may be missing."""
    legacy: dict[str, Any] = field(default_factory=dict)
    """The stage's entry of dvc.lock if DVC 2 wrote hashes in it; hashes that still hold stay as they are."""
    data: SharedData | RemoteData
    """Where its data is, and how the worker gets at it."""
    surroundings: Surroundings | None = None
    """The caller's; None: those of the machine that the command runs on."""

    @property
    def wdir(self) -> str:
        """The stage's ``wdir``, which paths in its entry are relative to: a normal path relative to the tree."""
        inside = str(self.definition.get("wdir") or ".")
        return posixpath.normpath(posixpath.join(self.project, posixpath.dirname(self.dvcfile), inside))


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A file of the snapshot that a command rewrote."""

    path: str
    """Relative to the tree."""
    base: tuple[int, int]
    """Modification time (ns) and size of the version that the stage started from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """The outcome of one attempt."""

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
    """Exit code of the command; negative: the signal that ended it."""
    error: str = ""
    changed: tuple[Changed, ...] = ()
    """Files of the snapshot that the command rewrote."""
    deleted: tuple[str, ...] = ()
    """Files of the snapshot that the command deleted, relative to the tree."""
    hashes: tuple[tuple[str, str], ...] = ()
    """DVC's notes of the hashes it has computed of outs and deps, by path relative to the tree; on the head's disk."""
    created: tuple[str, ...] = ()
    """New files that no out declares."""
    replaced: tuple[str, ...] = ()
    """Git-ignored files and folders that the command has replaced or removed."""
    moved: tuple[tuple[str, str], ...] = ()
    """Git-ignored folders of the user that the command has moved, each with its new path; empty: out of the project."""
    copied: tuple[str, ...] = ()
    """Git-ignored folders whose link the command has copied, and to which it has written since."""
    stale: tuple[str, ...] = ()
    """Outs that the command has not made; the user's tree may have those of the last run. Relative to that tree."""
    timed_out: bool = False
    unreachable: bool = False
    """Whether its node could not reach a remote before the command ran."""
    own_ray: bool = False
    """Whether its command has started a Ray, beside what the run counts CPUs by."""
    git_added: tuple[str, ...] = ()
    """Files that the command of an experiment has added to Git; relative to the tree."""
    git_written: tuple[str, ...] = ()
    """What the command wrote to Git in its workspace; it is lost."""
    note: str = ""
    """Another problem of its machine, to append to `error`; begins with its own separator."""
    returned_files: FileBundle | None = None
    """Files returned by a worker that shares no disk with the head."""
    command_failed: bool = False
    """Whether the attempt failed because its command did not exit with 0; ``error`` then holds the whole command."""

    def __post_init__(self) -> None:
        """Remove passwords from URLs, because the result is kept on a disk or in a remote."""
        object.__setattr__(self, "error", public(self.error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A worker has begun an attempt."""

    address: str
    attempt: int
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """An attempt ended without a result: its worker died or could not be started."""

    address: str
    attempt: int
    why: str
    out_of_memory: bool = False
    """Whether Ray's memory monitor ended the worker."""
    no_environment: bool = False
    """Whether Ray could not set up the ``runtime_env``, so that no worker was started."""

    def __post_init__(self) -> None:
        """Remove passwords from URLs: Ray names a ``runtime_env`` by its URL."""
        object.__setattr__(self, "why", public(self.why))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What an attempt that has not started waits for."""

    what: str
    never: bool = False
    """Whether it can never start."""


WorkerEvent = Started | Output | StageResult | Lost
