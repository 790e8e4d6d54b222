"""Git in a stage workspace: it answers as in the user's tree, but changes to it stay in the workspace.

``.git`` is a folder with a few small files: HEAD, refs, the index, settings. It reads the user's objects; on another
machine, a pack of the objects that answers need. Writing is refused: locks that nobody will release are there from the
start, and hooks say why. What gets past them (a setting, an object, a commit made by a library) is in the workspace and
lost with it; `written` finds it.
"""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from dvc_ray.paths import is_under
from dvc_ray.repo.git import tree_files
from dvc_ray.values.git import GitTemplates

NO_GIT: Final = "gitdir: /nonexistent/a-stage-workspace-has-no-git\n"
"""A .git file that leads nowhere: a search for a Git repository ends here, not at the user's."""
_EXCLUDE: Final = os.path.join("info", "exclude")
_LINKED: Final = "objects/"
_INDEX: Final = "index"
_STATE: Final = ("HEAD", _INDEX, "packed-refs")
_ALWAYS: Final = "**/.dvc/tmp\n**/.dvc/config.local\n"
"""Patterns for what a workspace has of its own."""


def place(templates: GitTemplates, workspace: str, hidden: Iterable[str]) -> None:
    """Give a workspace its ``.git``, and one to each repository within.

    Args:
        templates: From `dvc_ray.repo.git.state_copy`, on this machine.
        workspace: The workspace, which has none yet.
        hidden: Paths that Git must ignore in it, relative to it: those that are links there but not in the user's tree.

    Raises:
        OSError: A file cannot be written.
    """
    ignored: dict[str, list[str]] = {path: [] for path, _ in templates.places}
    for name in hidden:
        within = [path for path in ignored if not path or is_under(name, {path})]
        if within:
            ignored[max(within, key=len)].append(name)
    for path, template in templates.places:
        root = os.path.join(workspace, path)
        os.makedirs(root, exist_ok=True)
        if template:
            _put(template, os.path.join(root, ".git"), "")
            _refuse(template, os.path.join(root, ".git"))
            _exclude(template, os.path.join(root, ".git"), (name.removeprefix(f"{path}/") for name in ignored[path]))
        else:
            Path(root, ".git").write_text(NO_GIT, encoding="ascii")


def written(templates: GitTemplates, workspace: str) -> tuple[str, ...]:
    """What commands have written to Git in a workspace despite all obstacles: it is lost, and they were not told.

    Libraries that do not use the git program ignore hooks.

    Args:
        templates: As for `place`.
        workspace: The workspace.

    Returns:
        Refs and files of ``.git``, with the path of their repository.
    """
    found = []
    for path, template in templates.places:
        here = os.path.join(workspace, path, ".git")
        if template and os.path.isdir(here):
            packed = Path(template, "packed-refs").read_bytes().splitlines()
            state = {*_STATE} - ({_INDEX} if templates.adding else set())
            names = sorted({*state, *_files(template, "refs"), *_files(here, "refs")})
            found += [os.path.join(path, name) for name in names if not _is_same(template, here, packed, name)]
    return tuple(found)


def added(templates: GitTemplates, workspace: str) -> tuple[str, ...]:
    """Files that commands have added to the index of the workspace, where they may; relative to it.

    Args:
        templates: As for `place`.
        workspace: The workspace.
    """
    template, here = dict(templates.places).get("", ""), os.path.join(workspace, ".git")
    if not (templates.adding and template and os.path.isdir(here)) or _is_same(template, here, (), _INDEX):
        return ()
    return tuple(sorted(tree_files.in_index(here) - tree_files.in_index(template)))


def _files(folder: str, part: str) -> Iterator[str]:
    for inner, _, names in os.walk(os.path.join(folder, part)):  # not `walk_files`: a link to a folder is not a ref
        yield from (os.path.relpath(os.path.join(inner, name), folder) for name in names)


def _is_same(template: str, here: str, packed: Sequence[bytes], name: str) -> bool:
    """Whether a file of the state is unchanged; a ref may also be as it is in ``packed-refs``."""
    before, now = os.path.join(template, name), os.path.join(here, name)
    if os.path.lexists(before) and os.path.lexists(now):
        return filecmp.cmp(before, now, shallow=name == _INDEX)  # the index may be large; its copy has the same time
    if not os.path.lexists(now):
        return not os.path.lexists(before)
    return name.endswith(".lock") or Path(now).read_bytes().strip() + b" " + os.fsencode(name) in packed


def _put(source: str, target: str, part: str) -> None:
    """Put a folder of a template into a workspace: as links the files that nobody writes into, as copies the rest.

    Git replaces a file by a new one, but a command may write into it.
    """
    os.mkdir(target)
    with os.scandir(source) as entries:
        for entry in entries:
            path, name = os.path.join(target, entry.name), os.path.join(part, entry.name)
            if name in {"hooks", _EXCLUDE}:  # hooks stay in the template
                continue
            if entry.is_dir():
                _put(entry.path, path, name)
            elif not (name.startswith(_LINKED) or name.endswith(".lock")) or not _linked(entry.path, path):
                copy = shutil.copy2 if _INDEX in entry.name else shutil.copyfile  # the time of an index matters
                copy(entry.path, path)


def _refuse(template: str, target: str) -> None:
    """Make Git run the template's hooks: by an absolute path, as a command may call Git from anywhere."""
    hooks = os.fsencode(os.path.join(template, "hooks")).replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    with open(os.path.join(target, "config"), "ab") as file:
        file.write(b'[core]\n\thookspath = "%b"\n' % hooks)


def _linked(source: str, target: str) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def _exclude(template: str, target: str, paths: Iterable[str]) -> None:
    text = Path(template, _EXCLUDE).read_bytes()
    lines = b"".join(_pattern(path) + b"\n" for path in paths)
    Path(target, _EXCLUDE).write_bytes(text + (b"\n" if text else b"") + _ALWAYS.encode() + lines)


def _pattern(path: str) -> bytes:
    """A line of a .gitignore that matches one path."""
    signs = (bytes((sign,)) for sign in os.fsencode(path))
    return b"/" + b"".join(b"?" if sign in b"\r\n" else b"\\" * (sign in b"\\*?[ ") + sign for sign in signs)
