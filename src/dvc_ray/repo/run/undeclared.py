"""The content of workspaces that stages do not declare: code, ignored files, Git's state."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from dvc_ray.paths import is_under
from dvc_ray.redact import named_file
from dvc_ray.repo.inputs import snapshot
from dvc_ray.repo.inputs.ignored import Ignored, notable, split
from dvc_ray.repo.run.tasks import Undeclared
from dvc_ray.values.git import GitTemplates
from dvc_ray.values.stage import Unseen

if TYPE_CHECKING:
    from dvc_ray.repo.run import environment_managers

_MANY: Final = 1000
"""A folder with more files than this is linked, even if a stage reads the folder."""
_LARGE: Final = 32 << 20
"""The same for the bytes of all files in a folder."""
_DVC_WRITES: Final = frozenset({"dvc.lock", "dvc.yaml", ".gitignore"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The parts of a project that `UndeclaredFiles` needs."""

    tree: str
    """Root of the tree that workspaces mirror."""
    home: str
    """Root of the user's own tree: the same, except in an experiment."""
    relist: Callable[[], snapshot.Listing]
    """Lists the tree."""
    shown: Callable[[], snapshot.Listing] | None
    """Lists the user's own tree; None if commands do not see files that Git ignores there (``--temp``)."""
    outs: Callable[[], Sequence[str]]
    """Outs of all stages, relative to the tree."""
    inputs: Callable[[], Sequence[str]]
    """Outs, deps and includes of all stages, relative to the tree."""
    is_dep: Callable[[str], bool]
    """Whether a stage depends on a path, or on a folder that the path is in."""


class UndeclaredFiles:
    """The undeclared content of all workspaces of a run; content that is the same for all stages is found once.

    Args:
        source: The project.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._listing: snapshot.Listing | None = None
        self._added: set[str] = set()
        """Files that stages of this run have made and do not declare."""
        self._made: dict[tuple[bool, bool], Undeclared] = {}
        """Content of workspaces, by whether they are bare, and whether they are on another machine."""
        self._read: frozenset[str] = frozenset()
        """Ignored files that stages read."""
        self._ignored: Ignored | None = None
        self._ask: environment_managers.Ask | None = None
        self._git: GitTemplates | None = None

    def listing(self) -> snapshot.Listing:
        """The content of the tree, as it was at the first call.

        Raises:
            ProjectError: The tree cannot be listed.
        """
        if self._listing is None:
            self._listing = self._source.relist()
        return self._listing

    def add(self, paths: Sequence[str]) -> None:
        """Give files that a stage created to the stages after it, as happens in one workspace."""
        if paths:
            self._added.update(paths)
            self._made = {}
        if snapshot.are_of_environment(paths):  # a new environment is a link like the others
            self._listing = self._ignored = None

    def of_stage(self, *, bare: bool, sent: bool) -> Undeclared:
        """The undeclared content of a stage's workspace, without Git's state.

        Args:
            bare: Whether the workspace is to have code only.
            sent: Whether it is on another machine: untracked files that are called like a secret are left out.
        """
        if (bare, sent) not in self._made:
            ignored = Ignored() if bare else self._here()
            links = set(ignored.links)
            added = {path for path in self._added if not is_under(path, links)} | (set() if bare else self._read)
            code = self.listing().code
            code = tuple(sorted(added.union(code))) if added else code
            if sent and (withheld := self._withheld()):
                code = tuple(path for path in code if path not in withheld)
            self._made[bare, sent] = Undeclared(
                code=code,
                markers=_markers(code),
                ignored=ignored,
                ask=None if bare else self._asker(),
            )
        return self._made[bare, sent]

    def _withheld(self) -> set[str]:
        return set(filter(named_file, (*self.listing().untracked, *self._added)))

    def untracked(self) -> tuple[str, ...]:
        """Code that is sent to other machines though Git does not track it.

        Raises:
            ProjectError: The tree cannot be listed.
        """
        return tuple(path for path in self.listing().untracked if not named_file(path))

    def unseen(self, given: Sequence[str]) -> tuple[Unseen, ...]:
        """List files on the head that stages may want to read on machines that do not have these files.

        Args:
            given: Paths that stages are given in another way; relative to the tree.
        """
        ignored = (
            Unseen(path=path, is_environment=snapshot.is_environment(os.path.join(self._source.home, path)))
            for path in notable(self._here(), given)
        )
        named = set(given)
        withheld = (Unseen(path=path, is_secret=True) for path in sorted(self._withheld()) if not is_under(path, named))
        return (*ignored, *withheld)

    def git(self, directory: str, *, bare: bool, sent: bool, adding: bool) -> GitTemplates:
        """The templates of the ``.git`` of a workspace.

        Args:
            directory: Directory that keeps the templates during the run.
            bare: Whether the workspace is to have no ``.git``.
            sent: Whether the templates go to machines that do not see the repository.
            adding: Whether commands may add files to the index.
        """
        source = self._source
        if bare:  # on another machine, where the user's repository is not further up: a .git that leads nowhere
            found = sent and os.path.lexists(os.path.join(source.tree, ".git"))
            return GitTemplates((("", ""),)) if found else GitTemplates()
        if self._git is None:
            from dvc_ray.repo.git import state_copy

            also = source.home if source.shown and source.home != source.tree else None
            changing = self._changing() if sent else None
            repositories = self.listing().repositories
            self._git = state_copy.prepare(source.tree, repositories, directory, also, changing, adding=adding)
        return self._git

    def _changing(self) -> Callable[[str], bool]:
        """Return a function that says whether the run itself may write a tracked file."""
        outs = set(self._source.outs())
        return lambda path: os.path.basename(path) in _DVC_WRITES or is_under(path, outs)

    def _asker(self) -> environment_managers.Ask:
        if self._ask is None:
            from dvc_ray.repo.run import environment_managers

            self._ask = environment_managers.Asker()
        return self._ask

    def _here(self) -> Ignored:
        source = self._source
        if self._ignored is None:
            self._ignored = Ignored()
            if source.shown is not None:
                found = self.listing() if source.home == source.tree else source.shown()
                apart = split(source.home, found.ignored, source.outs(), source.inputs())
                # Before its turn, no stage may write a file that another stage reads. So each workspace has a copy of
                # the file, which comes home like code.
                read, folders = set(filter(self._is_read, apart.links)), {*apart.folders, *found.empty}
                links = []
                for path in apart.links:
                    small = self._small(path) if source.is_dep(path) else None
                    if small is not None:
                        read |= small.files
                        folders |= small.folders
                    elif path not in read:
                        links.append(path)
                self._read = frozenset(read)
                self._ignored = replace(apart, links=tuple(links), folders=tuple(sorted(folders)))
        return self._ignored

    def _small(self, path: str) -> _Small | None:
        """The content of a folder that is small enough to be copied for each stage; None for any other path."""
        tree, size = self._source.tree, 0
        found = _Small()
        if os.path.islink(os.path.join(tree, path)) or not os.path.isdir(os.path.join(tree, path)):
            return None
        for folder, folders, names in os.walk(os.path.join(tree, path)):
            found.folders.add(os.path.relpath(folder, tree))
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            for file in (os.path.join(folder, name) for name in (*names, *links)):
                with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                    size += os.lstat(file).st_size
                found.files.add(os.path.relpath(file, tree))
                plain = os.path.islink(file) or os.path.isfile(file)
                if not plain or len(found.files) > _MANY or size > _LARGE or {".git", ".dvc"} & {*folders}:
                    return None
        return found

    def _is_read(self, path: str) -> bool:
        return self._source.is_dep(path) and os.path.isfile(os.path.join(self._source.tree, path))


@dataclass(frozen=True, slots=True)
class _Small:
    """The content of a folder; relative to the tree."""

    files: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)


def _markers(code: Sequence[str]) -> tuple[str, ...]:
    from dvc_ray.repo.run import environment_managers

    endings = tuple(environment_managers.MARKERS)
    return tuple(
        path for path in code if path.endswith(endings) and os.path.basename(path) in environment_managers.MARKERS
    )
