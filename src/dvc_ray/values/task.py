"""What goes to workers and comes back from them."""

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
    """A DVC remote, as any machine needs it to use it."""

    name: str
    url: str = field(repr=False)
    """May hold a password."""
    options: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    """DVC's own; may hold secrets."""
    mark: str = ""
    """By which a machine finds that it sees the folder that this is, as the head does; empty: it need not."""


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
class BundledFile:
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
class FileBundle:
    """Files that travel as a value."""

    id: str
    """A digest of all of it."""
    files: tuple[BundledFile, ...] = field(repr=False)
    lasting: bool = False
    """Whether many attempts of a run need it: a node fetches it once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedData:
    """The data part of a task whose worker shares the head's disk: it is all there."""

    state_dir: str = ""
    """Where DVC keeps the hashes it has computed for the user's tree."""

    @property
    def deps(self) -> tuple[Stored, ...]:
        """Deps that a node has to fetch, and may have: none."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteData:
    """The data part of a task whose worker shares no disk with the head."""

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
    signing_key: str = field(default="", repr=False)
    """Of the run: what is kept in the remote for it is signed with it."""


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
    temporary: bool = False
    """Whether it is of an experiment that sees nothing of the user's tree beside its copy (``--temp``)."""
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
    ignored: tuple[str, ...] = ()
    """Ignored files and folders of the user's own tree that the workspace has as links; relative to it."""
    folders: tuple[str, ...] = ()
    """Folders that Git ignores and the workspace has without all that is in them; relative to the tree."""
    outs: tuple[str, ...]
    """All outs of the stage, relative to the tree."""
    config: dict[str, dict[str, Any]]
    """DVC configuration of the stage workspace."""
    git: GitTemplates = field(default_factory=GitTemplates)
    """What the workspace's ``.git`` is made of; nothing: it has none."""
    env: tuple[tuple[str, str], ...] = field(repr=False)
    """The environment of the command, before DVC adds its own."""
    secrets: tuple[str, ...] = ()
    """Names of variables of it that may be shown nowhere: their values are masked in what the command prints."""
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
    grace: float
    """Seconds between SIGTERM and SIGKILL when the command is stopped."""
    commit: bool = True
    """Whether outs and a run-cache entry go into the cache."""
    allow_missing: bool = False
    """Whether deps and outs may be missing."""
    legacy: dict[str, Any] = field(default_factory=dict)
    """The stage's entry of dvc.lock if DVC 2 wrote hashes of it, which stay as they are where they still hold."""
    data: SharedData | RemoteData
    """Where its data is, and how the worker gets at it."""
    surroundings: Surroundings | None = None
    """The caller's; None: those of the machine that it runs on."""

    @property
    def wdir(self) -> str:
        """The stage's ``wdir``, which paths of its entry are relative to: relative to the tree, in normal form."""
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
    replaced: tuple[str, ...] = ()
    """Ignored files and folders in whose place the command has put something else, or nothing."""
    moved: tuple[tuple[str, str], ...] = ()
    """Ignored folders of the user's that the command has moved, and where to; nothing: out of the project."""
    copied: tuple[str, ...] = ()
    """Ignored folders of which it has copied the link, and to which it has written since."""
    stale: tuple[str, ...] = ()
    """Outs that the command has not made, of which the user's tree may have those of the last run; relative to it."""
    timed_out: bool = False
    unreachable: bool = False
    """Whether its node could not reach a remote, before the command ran."""
    git_added: tuple[str, ...] = ()
    """Files that the command of an experiment has added to Git; relative to the tree."""
    git_written: tuple[str, ...] = ()
    """What the command has written to Git in its workspace, which is lost."""
    note: str = ""
    """What else is wrong with its machine; begins with what separates it from the error."""
    returned_files: FileBundle | None = None
    """What comes home from a worker that shares no disk with the head."""
    command_failed: bool = False
    """Whether it failed because its command ended with another exit code than 0; ``error`` holds all of the command."""

    def __post_init__(self) -> None:
        """It is kept, here or in a remote: no password of a URL in it."""
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
        """Ray names a ``runtime_env`` by its URL."""
        object.__setattr__(self, "why", public(self.why))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What an attempt that has not started waits for."""

    what: str
    never: bool = False
    """Whether it would wait for ever."""


WorkerEvent = Started | Output | StageResult | Lost
