"""A stage's own workers on other nodes: copies the stage's data to them, and their files back to the stage.

The stage's node has its workspace; other nodes get a copy of the parts that are requested there. Data that is in a
remote comes from the remote, through the node's cache; all else comes from the stage's node, through Ray.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from dvc_ray import env
from dvc_ray.errors import LiveError
from dvc_ray.files import replacing
from dvc_ray.live import credentials, session
from dvc_ray.paths import IN_USE, is_under, node_folder
from dvc_ray.ray_api import kv
from dvc_ray.ray_api.names import NODE_ID

LARGEST: Final = 2 << 30
"""Most bytes that Ray copies from one node of a stage to another, in memory."""
_PREFIX: Final = "dvc-ray/attempts/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What other nodes must know of a running stage; kept in the cluster for as long as it runs.

    It may hold secrets, so it is not in a runtime_env, which Ray's dashboard shows.
    """

    node: str
    """Ray's id of the stage's node."""
    run_id: str
    name: str
    """Name of the attempt, unique in its run."""
    project: str
    """The DVC project, relative to the tree."""
    fetcher: str
    """Name of the module that fetches deps from a remote when it is run as a program.

    A process of its own keeps DVC and an S3 client out of the training. By name, as this room must not import it.
    """
    deps: tuple[tuple[str, str, str], ...] = ()
    """Path relative to the tree, MD5 and remote of each dep that is in a remote."""
    remotes: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    """Name, URL and options of each remote."""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables for the environment of the stage's workers."""
    keys: str = field(default="", repr=False)
    """Keys of the remote, as the text of a credentials file."""

    def write(self) -> str:
        """Store the attempt in the cluster; return the key for `read`."""
        key = key_of(self.run_id, self.name)
        kv.put(key, json.dumps(dataclasses.asdict(self), default=str))
        return key

    @classmethod
    def read(cls, key: str) -> Self | None:
        """Read an attempt from the cluster; None: the stage has ended, or this is another cluster."""
        found = kv.get(key)
        if found is None:
            return None
        fields = json.loads(found)
        return cls(**{**fields, "deps": tuple(map(tuple, fields["deps"])), "remotes": tuple(fields["remotes"])})


def key_of(run_id: str, name: str) -> str:
    """Return the key of an attempt in the cluster."""
    return f"{_PREFIX}{run_id}/{name}"


def forget(key: str) -> None:
    """Remove an attempt from the cluster."""
    kv.delete(key)


def take_variables() -> None:
    """Set variables of the stage that no dashboard may show; Ray calls this first in each of the stage's workers."""
    key = os.environ.get(env.ATTEMPT)
    if key and (attempt := Attempt.read(key)) is not None:
        for name, text in attempt.variables.items():
            os.environ.setdefault(name, text)
        if attempt.keys:
            path = Place.here("keys").root / str(os.getpid())
            os.environ.update(credentials.give(attempt.keys, path, os.environ))


def is_away() -> bool:
    """Whether this is a worker on another node than its stage."""
    return bool(os.environ.get(env.ATTEMPT)) and not session.stage_dir().is_dir() and session.in_ray_worker()


def data_path(path: str | os.PathLike[str]) -> str:
    """Copy a path of the stage to this node, once; see `dvc_ray.data_path`.

    Raises:
        LiveError: The path does not exist, or cannot be copied.
    """
    place = Place.here("data")
    inside = place.inside(os.path.normpath(session.stage_dir() / path))
    target = place.root / inside
    with place.locked():
        if not target.exists():
            if is_under(inside, {dep[0] for dep in place.attempt.deps}):
                place.bring(inside)
            else:
                place.take([inside])
    if not target.exists():
        raise LiveError(
            f"no data at {os.fspath(path)!r} on this node ({os.uname().nodename}), nor in the stage's workspace on its"
            " own",
            f"Declare it under deps of the stage in dvc.yaml: `deps: [{os.fspath(path)}]`.",
        )
    return str(target)


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of this node with copies of parts of a stage's workspace."""

    attempt: Attempt
    root: Path
    """Corresponds to the root of the stage's tree."""

    @classmethod
    def here(cls, name: str) -> Self:
        """Return the folder for one purpose, which is made if it is missing, and kept while this process lives.

        Raises:
            LiveError: The cluster does not know the stage.
        """
        key = os.environ[env.ATTEMPT]
        attempt = Attempt.read(key)
        if attempt is None:
            raise LiveError(
                "the cluster does not know the stage of this worker any more: it has ended",
                "Wait for your workers before the stage's program ends.",
            )
        run = node_folder(os.environ) / "work" / attempt.run_id
        root = run / f"nested-{hashlib.sha256(key.encode()).hexdigest()[:8]}" / name
        root.mkdir(parents=True, exist_ok=True)
        _keep(run)
        return cls(attempt, root)

    @property
    def tree(self) -> str:
        """Root of the tree on the stage's node."""
        root = os.environ[env.DVC_ROOT]
        return os.path.normpath(os.path.join(root, os.path.relpath(".", self.attempt.project)))

    def inside(self, path: str) -> str:
        """Make a path of the stage's node relative to the stage's tree.

        Raises:
            LiveError: The path is outside of the tree.
        """
        relative = os.path.relpath(path, self.tree)
        if relative.startswith(".."):
            raise LiveError(f"'{path}' leads out of the project", "Give a path relative to the stage's directory.")
        return relative

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other workers of this node from copying the same files meanwhile."""
        with self.root.with_name(f"{self.root.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def bring(self, inside: str) -> None:
        """Fetch a dep from its remote.

        Raises:
            LiveError: The dep cannot be fetched.
        """
        wanted = [dep for dep in self.attempt.deps if is_under(inside, {dep[0]})]
        asked = {"root": str(self.root), "deps": wanted, "remotes": self.attempt.remotes}
        package = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), package]))
        done = subprocess.run(
            [sys.executable, "-m", self.attempt.fetcher],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            check=False,
        )
        if done.returncode:
            said = (done.stderr.strip() or f"its helper ended with {done.returncode}").splitlines()
            raise LiveError(
                f"cannot bring '{inside}' to node {os.uname().nodename}: {said[-1]}",
                "Check that it is in the remote: dvc status --cloud",
            )

    def take(self, insides: Sequence[str]) -> None:
        """Copy paths from the stage's node, as far as they exist there.

        Raises:
            LiveError: The node is gone, or the files are too large.
        """
        data = _on(self.attempt.node, pack, self.tree, list(insides))
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            archive.extractall(self.root, filter="tar")

    def give(self, insides: Sequence[str], deleted: Sequence[str]) -> None:
        """Copy files of this folder to the stage's node, and remove deleted ones there.

        Raises:
            LiveError: The node is gone.
        """
        _on(self.attempt.node, unpack, self.tree, pack(str(self.root), insides), list(deleted))


def pack(root: str, insides: Iterable[str]) -> bytes:
    """Pack files and folders into an archive; what does not exist is left out.

    Not by `node.bundles`, which keeps links, leaves secrets out and may put large files into a remote. This archive
    goes through Ray between the nodes of one stage, and has the targets of links, which may exist on one node only.

    Raises:
        LiveError: The files are too large for memory.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", dereference=True) as archive:
        for inside in insides:
            with contextlib.suppress(FileNotFoundError):
                archive.add(os.path.join(root, inside), inside)
            if packed.tell() > LARGEST:
                raise LiveError(
                    f"'{inside}' is larger than {LARGEST >> 30} GiB, which is too large to travel between nodes in"
                    " memory",
                    "Make it an out of a stage of its own: then it travels through the remote.",
                )
    return packed.getvalue()


def unpack(root: str, data: bytes, deleted: Iterable[str]) -> None:
    """Write the files of an archive, each in one step, and remove deleted ones."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive.getmembers():
            target = Path(root, member.name)
            content = archive.extractfile(member)
            if content is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(str(target)) as temporary, open(temporary, "xb") as file:
                shutil.copyfileobj(content, file)
    for inside in deleted:
        Path(root, inside).unlink(missing_ok=True)


def _on(node: str, function: Any, *arguments: Any) -> Any:
    """Call a function on a node.

    Raises:
        LiveError: The function raised one, or the node is gone.
    """
    import ray

    remote = ray.remote(num_cpus=0, max_retries=0)(function).options(label_selector={NODE_ID: node})
    try:
        return ray.get(remote.remote(*arguments))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, LiveError):
            raise error.cause from None
        raise LiveError(f"the stage's node failed: {error.cause}", "Check its disk.") from error
    except ray.exceptions.RayError as error:
        raise LiveError(f"the stage's node does not answer: {error}", "Run the stage again.") from error


@functools.cache
def _keep(run: Path) -> Any:
    """Lock the mark of a run's folder: otherwise a stage of another run removes the folder after an hour."""
    mark = (run / IN_USE).open("w")
    fcntl.flock(mark, fcntl.LOCK_SH)
    return mark
