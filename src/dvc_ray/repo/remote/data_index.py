"""Data that need not be in the workspace: its hashes are known, and a remote has the files.

On machines that share no disk, hashes decide what runs. DVC's ``--allow-missing`` (3.67.1) is not enough for that: it
takes a dep that is a parent of missing outs for "modified", and does not notice a stale dep.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from dvc_ray.errors import ProjectError, UnsupportedError
from dvc_ray.repo.remote import remotes
from dvc_ray.repo.remote.outs import build, is_params, oid_of, outs_of
from dvc_ray.storage import Item, download, object_key
from dvc_ray.storage.shared_folder import Reach
from dvc_ray.values.task import Remote, Stored


class DataIndex:
    """The data of a project, wherever it is.

    Args:
        repo: The ``dvc.repo.Repo``.
        stages: Stages of the run, by address; their outs replace those of the repository's index.
        reach: Finds out which machines see a folder of this machine.
        dry: Nothing may be written to a remote.

    Raises:
        ProjectError: The project has no default remote.
        UnsupportedError: No other machine can use the default remote.
    """

    def __init__(self, repo: Any, stages: Mapping[str, Any], reach: Reach, *, dry: bool) -> None:
        self._repo = repo
        self._reach = reach
        self._dry = dry
        default = remotes.find(repo)
        if default is None:
            raise ProjectError(
                "the stages would run on machines that share no disk, and the project has no remote to carry data"
                " between them",
                "Add one that all of them reach: dvc remote add -d NAME s3://BUCKET/PATH",
            )
        add = "Add one that all of them reach: dvc remote add -d NAME s3://BUCKET/PATH"
        self._remotes: dict[str, Remote] = {default.name: self._reachable(default, "", add)}
        self.default = default.name
        self._outs = {out.fs_path: out for stage in repo.index.stages for out in outs_of(stage)}
        self._outs |= {out.fs_path: out for stage in stages.values() for out in outs_of(stage)}
        self._as_it_is: dict[str, Any] = {}
        """Hashes of data that stages are given as it lies in the workspace, by path."""

    def changed(self, dep: Any) -> str:
        """How a dep that is away has changed since its stage ran, in DVC's terms; empty if it has not changed."""
        found = self.hash_of(dep.fs_path)
        if found is None:
            return "deleted"
        return "" if found == dep.hash_info else "modified"

    def is_away(self, dep: Any) -> bool:
        """Whether some data of a dep is not in the workspace; a remote is expected to have it."""
        return self.is_data(dep) and any(not os.path.lexists(out.fs_path) for out in self.covering(dep.fs_path))

    def is_data(self, dep: Any) -> bool:
        """Whether a dep is a file or a directory."""
        return dep.protocol == "local" and hasattr(dep, "fs_path") and not is_params(dep)

    def pieces(self, path: str) -> Iterator[tuple[str, Any]]:
        """Cached data at, above or under a path: for each, its path, and the out that it is or is a part of."""
        above = self._above(path)
        yield from ((path if above else out.fs_path, out) for out in self.covering(path) if out.use_cache)

    def known(self, out: Any, path: str) -> Any | None:
        """The ``HashInfo`` of an out, or of a path in it, as its stage has made it; None if unknown."""
        return self._inside(out, path)

    def lying(self, out: Any, path: str) -> Any:
        """The ``HashInfo`` of an out, or of a path in it, as it lies in the workspace."""
        return build(out, path).hash_info

    def commit(self, out: Any, path: str) -> Any:
        """Put data from the workspace into the head's cache, as ``Output.commit`` does, but without linking it again.

        Returns:
            The ``HashInfo`` of the data.
        """
        from dvc_data.hashfile.transfer import transfer

        staging, _, found = out._build(out.repo.cache.repo, path, out.fs, "md5", ignore=out.dvcignore)
        transfer(staging, out.repo.cache.repo, {found.hash_info}, shallow=False)
        return found.hash_info

    def as_it_is(self, path: str, hash_info: Any | None) -> None:
        """Give stages a path as it lies in the workspace, with this hash; if None, as its stage has made it."""
        self._as_it_is.pop(path, None)
        if hash_info is not None:
            self._as_it_is[path] = hash_info

    def cached(self, key: str) -> str:
        """The path in the head's cache of the file that a remote has under a key."""
        return os.path.join(str(self._repo.cache.legacy.path), *key.split("/"))

    def is_executable(self, path: str) -> bool:
        """Whether a file has to be executable; DVC knows that of outs, not of files in an out."""
        return bool(path in self._outs and self._outs[path].meta and self._outs[path].meta.isexec)

    def oid(self, out: Any) -> str:
        """An out's hash.

        Raises:
            UnsupportedError: The hash has DVC 2's form, whose data is in another place.
        """
        return oid_of(out)

    def hash_of(self, path: str) -> Any | None:
        """The ``HashInfo`` that DVC would find for a path if all data were there; None if there is no such data."""
        above = self._above(path)
        if above is not None:
            return self._inside(above, path)
        from dvc_data.hashfile.tree import Tree

        tree = Tree()
        for name, hash_info in self._files(path):
            tree.add(tuple(os.path.relpath(name, path).split(os.sep)), None, hash_info)
        if not len(tree):
            return None
        tree.digest()
        return tree.hash_info

    def stored(self, path: str) -> Iterator[Stored]:
        """The objects that a worker fetches for a dep; data that is in no remote is left out."""
        for piece, out in self.pieces(path):
            if out.stage.is_repo_import:
                continue
            if piece in self._as_it_is:
                yield self._lying(piece)
            elif piece != out.fs_path:
                yield from self._part(out, piece)
            elif out.hash_info:
                yield self._stored(out)

    def _part(self, out: Any, path: str) -> Iterator[Stored]:
        """The files of a directory that are at a path, or under it."""
        part = tuple(os.path.relpath(path, out.fs_path).split(os.sep))
        for key, (_, hash_info) in self._tree(out).iteritems():
            if key[: len(part)] == part:
                file = os.path.join(out.fs_path, *key)
                yield Stored(path=file, oid=str(hash_info.value), remote=self.remote_of(out))

    def _lying(self, path: str) -> Stored:
        """The object that a worker fetches for data as it lies in the workspace."""
        executable = os.path.isfile(path) and os.access(path, os.X_OK)
        oid = str(self._as_it_is[path].value)
        return Stored(path=path, oid=oid, remote=self.remote_of(self._above(path)), executable=executable)

    def _stored(self, out: Any) -> Stored:
        meta = out.meta
        return Stored(
            path=out.fs_path,
            oid=oid_of(out),
            remote=self.remote_of(out),
            size=int(meta.size or 0) if meta else 0,
            executable=bool(meta and meta.isexec),
        )

    def covering(self, path: str) -> Iterator[Any]:
        """Outs at, above or under a path."""
        above = self._above(path)
        if above is not None:
            yield above
        else:
            yield from (out for name, out in self._outs.items() if name.startswith(path + os.sep))

    def _above(self, path: str) -> Any | None:
        """The out at a path or above it."""
        while path not in self._outs:
            parent = os.path.dirname(path)
            if parent == path:
                return None
            path = parent
        return self._outs[path]

    def _inside(self, out: Any, path: str) -> Any | None:
        if not out.hash_info:
            return None
        if out.fs_path == path:
            return out.hash_info
        if not out.hash_info.isdir:
            return None
        part = tuple(os.path.relpath(path, out.fs_path).split(os.sep))
        tree = self._tree(out)
        file = tree.get(part)
        if file is not None:
            return file[1]
        found = tree.get_obj(out.cache, part)
        return found.hash_info if found is not None else None

    def _files(self, path: str) -> Iterator[tuple[str, Any]]:
        """Files under a folder with their hashes: files of outs, and other files in the workspace."""
        from dvc_data.hashfile.hash import hash_file

        outs = {out.fs_path: out for out in self.covering(path)}
        for out in outs.values():
            here = os.path.lexists(out.fs_path)
            if not here and not out.hash_info:
                continue
            found = build(out, out.fs_path) if here else None
            hash_info = found.hash_info if found else out.hash_info
            if hash_info.isdir:
                for key, (_, of_file) in (found or self._tree(out)).iteritems():
                    yield os.path.join(out.fs_path, *key), of_file
            else:
                yield out.fs_path, hash_info
        for folder, names, files in self._repo.dvcignore.walk(self._repo.fs, path):
            names[:] = [name for name in names if os.path.join(folder, name) not in outs]
            for name in files:
                full = os.path.join(folder, name)
                if full not in outs:
                    yield full, hash_file(full, self._repo.fs, "md5", state=self._repo.state)[1]

    def _tree(self, out: Any) -> Any:
        """The list of a directory's files, from the local cache or its remote."""
        from dvc_data.hashfile.tree import Tree

        oid = oid_of(out)
        path = str(out.cache.oid_to_path(oid))
        if not os.path.exists(path):
            store = remotes.open_remote(self.remote(out.remote or self.default))
            download(store, [Item(key=object_key(oid), path=path, md5=oid.removesuffix(".dir"))])
        return Tree.load(out.cache, out.hash_info)

    def remote(self, name: str) -> Remote:
        """A remote of the project.

        Raises:
            ProjectError: DVC's configuration has no such remote.
            UnsupportedError: No other machine can use the remote.
        """
        if name not in self._remotes:
            found = remotes.find(self._repo, name)
            assert found is not None  # noqa: S101
            hint = "Give the out a remote that all of them reach, or leave its 'remote' out."
            self._remotes[name] = self._reachable(found, " of an out", hint)
        return self._remotes[name]

    def _reachable(self, remote: Remote, whose: str, hint: str) -> Remote:
        """A remote as other machines may use it.

        Raises:
            UnsupportedError: The remote is a path that other machines do not see.
        """
        if remote.url.startswith("file://"):
            raise UnsupportedError(
                f"remote '{remote.name}'{whose} is a path of this one, {remote.url}, in a form that DVC (3.67.1) takes"
                " for a folder called 'file:'",
                f"Write the path alone: dvc remote modify {remote.name} url {remote.url.removeprefix('file://')}",
            )
        folder = remotes.folder_of(remote)
        if folder is None:
            return remote
        seen = self._reach(folder, not self._dry)
        if seen.lacking:
            who = "; ".join(f"{name} {why}" for name, why in sorted(seen.lacking.items()))
            raise UnsupportedError(
                f"the stages would run on machines that share no disk, and remote '{remote.name}'{whose} is a path of"
                f" this one: {remote.url} ({who})",
                f"{hint}. Or mount that folder on all of them, in the same place.".replace("..", "."),
            )
        return replace(remote, mark=seen.mark)

    def remote_of(self, out: Any) -> str:
        """Name of the remote that an out's data is in."""
        return str(out.remote or self.default)
