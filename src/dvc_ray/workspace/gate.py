"""What of a result may be installed: one gate for workspaces on this disk, returned files, and results in a remote."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import replace

from dvc_ray.paths import is_under
from dvc_ray.values.task import FileBundle, StageResult, StageTask


class LeadsOutError(PermissionError):
    """A path leads out of its tree, or into Git's or DVC's own folders."""


def is_inside(path: str) -> bool:
    """Whether a relative path stays within its base, and out of Git's and DVC's own folders."""
    parts = path.split("/")
    allowed = bool(path) and not os.path.isabs(path) and "\0" not in path
    return allowed and not {"", ".", "..", ".git", ".dvc"} & set(parts)


def passed(task: StageTask, result: StageResult) -> tuple[StageResult, tuple[str, ...]]:
    """Remove from a result what no stage may write.

    Args:
        task: The attempt.
        result: The result as its worker reports it.

    Returns:
        The result, and the paths that were removed.
    """
    named = {
        "created": result.created,
        "deleted": result.deleted,
        "replaced": result.replaced,
        "stale": result.stale,
        "git_added": result.git_added,
    }
    changed = tuple(each for each in result.changed if is_inside(each.path))
    moved = tuple(pair for pair in result.moved if is_inside(pair[0]) and (not pair[1] or is_inside(pair[1])))
    kept = {name: tuple(filter(is_inside, paths)) for name, paths in named.items()}
    listed = {*kept["created"], *(each.path for each in changed)}
    returned = result.returned_files and _of_returned(result.returned_files, {*task.outs, *listed})
    before = [*(path for paths in named.values() for path in paths), *(each.path for each in result.changed)]
    refused = [path for path in before if not is_inside(path)]
    refused += [" to ".join(pair) for pair in result.moved if pair not in moved]
    if result.returned_files and returned:
        taken = {id(file) for file in returned.files}
        refused += [file.path for file in result.returned_files.files if id(file) not in taken]
    tops = {*task.outs, *task.links}
    hashes = tuple((path, note) for path, note in result.hashes if is_inside(path) and is_under(path, tops))
    left = replace(result, hashes=hashes, **kept, changed=changed, moved=moved, returned_files=returned)  # type: ignore[arg-type]
    return left, tuple(dict.fromkeys(refused))


def _of_returned(bundle: FileBundle, tops: set[str]) -> FileBundle:
    """Returned files that are outs, or listed as new or changed; each once, and none below a file or a link."""
    files = {file.path: file for file in reversed(bundle.files) if is_inside(file.path) and is_under(file.path, tops)}
    ends = {path for path, file in files.items() if not stat.S_ISDIR(file.mode)}
    found = [file for path, file in reversed(files.items()) if not is_under(os.path.dirname(path), ends)]
    return replace(bundle, files=tuple(found))


@contextlib.contextmanager
def beneath(root: str, path: str, *, make: bool = False) -> Iterator[str]:
    """Give a path in a tree that cannot lead elsewhere, whatever happens meanwhile: by an open handle of its folder.

    Links on the way that lead to folders of the tree are followed.

    Args:
        root: The tree.
        path: Relative to it.
        make: Make the folder if it is not there.

    Yields:
        The path, by the handle.

    Raises:
        LeadsOutError: The path leads out of the tree, or into Git's or DVC's own folders.
        OSError: The folder is not there, or cannot be opened.
    """
    top = os.path.realpath(root)
    part = os.path.relpath(os.path.realpath(os.path.join(top, os.path.dirname(path))), top)
    parts = [] if part == os.curdir else part.split(os.sep)
    if {os.pardir, ".git", ".dvc"} & {*parts} or not is_inside(path):
        raise LeadsOutError(f"'{path}' leads out of '{root}', or to what is Git's or DVC's")
    handle = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in parts:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=handle)
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
            os.close(handle)
            handle = inner
        yield f"/proc/self/fd/{handle}/{os.path.basename(path)}"
    except OSError as error:
        for name in ("filename", "filename2"):  # show the path that the user knows
            told = getattr(error, name)
            if isinstance(told, str) and told.startswith(f"/proc/self/fd/{handle}/"):
                setattr(error, name, os.path.join(top, part, told.split("/", 5)[-1]))
        raise
    finally:
        os.close(handle)
