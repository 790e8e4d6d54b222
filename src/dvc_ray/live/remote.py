"""A stage's own workers on other nodes than the stage: its data brought to them, their files brought to it.

The node of the stage has its workspace; other nodes have a copy of the parts that are asked for there. What is in a
remote comes from there, through the node's cache; what only the stage has, from its node, through Ray.
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
"""Bytes that go from the stage's node to another by Ray, in memory."""
_PREFIX: Final = "dvc-ray/attempts/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What other nodes must know of a stage that runs; kept in the cluster for as long as it does.

    It may hold secrets, so it is no part of a runtime_env, which Ray's dashboard shows.
    """

    node: str
    """Ray's id of the stage's node."""
    run_id: str
    name: str
    """Of the attempt; new in its run."""
    project: str
    """The DVC project, relative to the tree."""
    fetcher: str
    """Name of the module that brings what is in a remote, when it is run as a program.

    A process of its own, so that DVC and a client of S3 stay out of the training; and a name, as it is above this room.
    """
    deps: tuple[tuple[str, str, str], ...] = ()
    """Path relative to the tree, MD5 and remote of each dep that is in a remote."""
    remotes: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    """Name, URL and options of each."""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """For the environment of its workers."""
    keys: str = field(default="", repr=False)
    """Of the remote, as a file of credentials."""

    def write(self) -> str:
        """Put it into the cluster; its key, for `read`."""
        key = key_of(self.run_id, self.name)
        kv.put(key, json.dumps(dataclasses.asdict(self), default=str))
        return key

    @classmethod
    def read(cls, key: str) -> Self | None:
        """Find it; None: the stage has ended, or the cluster is another one."""
        found = kv.get(key)
        if found is None:
            return None
        fields = json.loads(found)
        return cls(**{**fields, "deps": tuple(map(tuple, fields["deps"])), "remotes": tuple(fields["remotes"])})


def key_of(run_id: str, name: str) -> str:
    """Where the cluster has an attempt."""
    return f"{_PREFIX}{run_id}/{name}"


def forget(key: str) -> None:
    """Take an attempt out of the cluster."""
    kv.delete(key)


def take_variables() -> None:
    """Set what the stage's workers need and no dashboard may show. Ray calls it first in each of its processes."""
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
    """Bring a path of the stage to this node, once; see `dvc_ray.data_path`.

    Raises:
        LiveError: It is nowhere, or cannot be brought.
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
    """Stands for the root of the stage's tree."""

    @classmethod
    def here(cls, name: str) -> Self:
        """The folder for one use; made if it is not there, and kept for as long as this process is.

        Raises:
            LiveError: The stage is not known to the cluster.
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
        """A path of the stage's node relative to its tree.

        Raises:
            LiveError: It is outside of it.
        """
        relative = os.path.relpath(path, self.tree)
        if relative.startswith(".."):
            raise LiveError(f"'{path}' leads out of the project", "Give a path relative to the stage's directory.")
        return relative

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other workers of the node from bringing the same."""
        with self.root.with_name(f"{self.root.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def bring(self, inside: str) -> None:
        """Bring a dep from its remote.

        Raises:
            LiveError: That cannot be done.
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
        """Bring what there is of some paths from the stage's node.

        Raises:
            LiveError: The node is gone, or it is too much.
        """
        data = _on(self.attempt.node, pack, self.tree, list(insides))
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            archive.extractall(self.root, filter="tar")

    def give(self, insides: Sequence[str], deleted: Sequence[str]) -> None:
        """Bring files of this folder to the stage's node, and remove others there.

        Raises:
            LiveError: The node is gone.
        """
        _on(self.attempt.node, unpack, self.tree, pack(str(self.root), insides), list(deleted))


def pack(root: str, insides: Iterable[str]) -> bytes:
    """Take files and folders up, as an archive; what does not exist is left out.

    Not `node.bundles`, which keeps links, leaves secrets out and may put what is large into a remote: this goes
    through Ray from node to node of one stage, and links become what they lead to, as that may be on one of them only.

    Raises:
        LiveError: It is too much for memory.
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
    """Write the files of an archive, each in one step, and remove others."""
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
        LiveError: It raised one, or the node is gone.
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
    """Hold the mark of a run's folder: without it, another run's stage clears the folder away after an hour."""
    mark = (run / IN_USE).open("w")
    fcntl.flock(mark, fcntl.LOCK_SH)
    return mark
