"""DVC's remotes as object stores."""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from collections.abc import Iterator
from typing import Any, Final

from dvc_ray.errors import DeniedError, ObjectMissingError, StorageError, UnreachableError, UnsupportedError
from dvc_ray.redact import Mask, named, public
from dvc_ray.repo.dvc.failures import message, translate_errors
from dvc_ray.storage import Objects, fsspec_errors
from dvc_ray.storage.messages import TRUST, Cause, short
from dvc_ray.storage.s3 import S3, can
from dvc_ray.storage.shared_folder import make_folder, sees
from dvc_ray.storage.timeouts import PATIENT, Patience
from dvc_ray.values.task import Remote

_CHUNK: Final = 8 << 20
_VERSIONED: Final = ("version_aware", "worktree")


def find(repo: Any, name: str | None = None) -> Remote | None:
    """A remote of a project.

    Args:
        repo: The ``dvc.repo.Repo``.
        name: Name of the remote; None for the default remote.

    Returns:
        None if there is no default remote.

    Raises:
        ProjectError: DVC's configuration has no such remote.
        UnsupportedError: The remote keeps files by version, not by hash.
    """
    name = name or repo.config["core"].get("remote")
    if not name:
        return None
    with translate_errors():
        from dvc.fs import get_fs_config

        options = dict(get_fs_config(repo.config, name=name))
    if versioned := [option for option in _VERSIONED if options.get(option)]:
        raise UnsupportedError(
            f"remote '{name}' is '{versioned[0]}': it keeps files by version, not by hash, so that others do not find"
            " the data of a stage in it",
            "Add a remote without that option, and make it the default: dvc remote add -d NAME URL",
        )
    url = str(options.pop("url"))
    return Remote(name=name, url=url, options=tuple(sorted(options.items())))


def folder_of(remote: Remote) -> str | None:
    """The folder of a remote that is a path; None for any other remote."""
    return None if "://" in remote.url else remote.url


def open_remote(remote: Remote, patience: Patience = PATIENT) -> Objects:
    """Open a remote: S3 the fast way if all its options allow that, any other by DVC's own file system.

    Raises:
        StorageError: The remote cannot be used; a folder on a file system that hangs is noticed within seconds.
    """
    folder = folder_of(remote)
    if remote.mark and folder and not sees(folder, remote.mark):
        raise StorageError(
            f"remote '{remote.name}' is a path, and node {socket.gethostname()} does not see there what the other"
            f" machines see: {folder}",
            "Mount it there as on the others (in a container, too), keep stages off that node by a label_selector, or"
            " make the default a remote that is not a path.",
        )
    return S3(remote, patience) if can(remote) else DvcObjects(remote)


class DvcObjects:
    """An `Objects` on DVC's file system for the remote's URL: ssh, gs, azure, http, a local path and others.

    Args:
        remote: The URL, and DVC's options.

    Raises:
        StorageError: The file system is not installed, or refuses its options.
    """

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._mask = Mask.of(str(value) for name, value in remote.options if named(name))
        with self._explained():
            from dvc.fs import get_cloud_fs

            kind, config, self._root = get_cloud_fs(None, url=remote.url, **dict(remote.options))
            self._fs = kind(**config)

    @property
    def url(self) -> str:
        """The URL by which the user knows the store."""
        return public(self._remote.url)

    def put(self, key: str, path: str, size: int) -> None:  # noqa: ARG002  as in the protocol
        """Store a file."""
        with self._explained(), self._whole(key) as target:
            self._fs.put_file(path, target)

    def write(self, key: str, data: bytes) -> None:
        """Store some bytes."""
        with self._explained(), self._whole(key) as target, self._fs.open(target, "wb") as file:
            file.write(data)

    def chunks(self, key: str) -> Iterator[bytes]:
        """Read an object in order."""
        with self._explained(), self._fs.open(self._path(key), "rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def bring(self, key: str, path: str, size: int | None = None) -> Iterator[bytes]:  # noqa: ARG002  as in the protocol
        """Write an object to a file; yields the bytes that are written, in order."""
        with open(path, "wb") as file:
            for chunk in self.chunks(key):
                file.write(chunk)
                yield chunk

    def size(self, key: str) -> int | None:
        """Size of an object in bytes; None if there is no such object."""
        with self._explained():
            try:
                return int(self._fs.info(self._path(key))["size"])
            except FileNotFoundError:
                return None

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys of the objects in a folder."""
        with self._explained(), contextlib.suppress(FileNotFoundError):
            for path in self._fs.find(self._path(prefix) if prefix else self._root):
                if (key := self._key(path)) != ".":  # some servers list a folder itself as an object
                    yield key

    def folders(self, prefix: str) -> Iterator[str]:
        """Names of the folders in a folder."""
        with self._explained(), contextlib.suppress(FileNotFoundError):
            entries = self._fs.ls(self._path(prefix), detail=True)
            yield from (
                self._key(entry["name"]).rpartition("/")[2] for entry in entries if entry["type"] == "directory"
            )

    def newest(self, prefix: str) -> str | None:
        """Key of the object in a folder that was written last; None if there is none."""
        with self._explained(), contextlib.suppress(FileNotFoundError):
            folder = self._path(prefix)
            paths = [path for path in self._fs.find(folder) if path != folder] if self._fs.exists(folder) else []
            return self._key(max(paths, key=self._modified)) if paths else None
        return None

    def _modified(self, path: str) -> float:
        """When an object was written; the same for all objects where the store does not say (http)."""
        with contextlib.suppress(NotImplementedError):
            return float(self._fs.fs.modified(path).timestamp())
        return float(self._fs.info(path).get("mtime") or 0)

    def delete(self, key: str) -> None:
        """Remove an object."""
        with self._explained(), contextlib.suppress(FileNotFoundError):
            self._fs.remove(self._path(key))

    def _key(self, path: str) -> str:
        return str(self._fs.relpath(path, self._root)).replace(os.sep, "/")

    def _path(self, key: str) -> str:
        return str(self._fs.join(self._root, *key.split("/")))

    @contextlib.contextmanager
    def _whole(self, key: str) -> Iterator[str]:
        """Yield the path to write to: the final one in an object store, elsewhere a temporary one that is renamed."""
        from dvc_objects.fs.base import ObjectFileSystem

        path = self._path(key)
        if isinstance(self._fs, ObjectFileSystem):
            yield path
            return
        if folder_of(self._remote) is None:
            self._fs.makedirs(self._fs.parent(path), exist_ok=True)
        else:
            make_folder(self._fs.parent(path), self._root)
        temporary = f"{path}.{uuid.uuid4().hex}.tmp"
        yield temporary
        self._fs.move(temporary, path)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        from dvc.exceptions import DvcException

        name = self._remote.name
        where = f"remote '{name}' ({self.url}), seen from {socket.gethostname()}"
        hint = f"See whether `dvc push -r {name}` works from that machine."
        try:
            yield
        except FileNotFoundError as error:
            raise ObjectMissingError(
                f"{where}: an object is missing: {error}", "See what is: dvc status --cloud"
            ) from error
        except DvcException as error:
            raise StorageError(f"{where}: {self._mask.text(message(error))}", hint) from error
        except PermissionError as error:
            raise DeniedError(f"{where}: {self._mask.text(short(str(error)))}", hint) from error
        except Exception as error:
            text = str(error) or type(error).__name__
            cause = fsspec_errors.cause(text)
            if cause is Cause.UNTRUSTED:
                raise StorageError(f"{where}: {cause.value}", TRUST) from error
            if cause.may_heal:
                raise UnreachableError(f"{where}: {cause.value}", hint) from error
            raise StorageError(f"{where}: {self._mask.text(short(text))}", hint) from error
