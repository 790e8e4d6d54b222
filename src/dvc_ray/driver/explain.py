"""Messages that say what went wrong with a stage."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dvc_ray.driver.command_output import Sign, signs
from dvc_ray.settings.resources import amounts
from dvc_ray.values.stage import StageSettings
from dvc_ray.values.task import Lost, StageResult
from dvc_ray.workspace import is_inside

_TAIL: Final = 20
"""Lines of output shown of a failed stage."""
_TAIL_BYTES: Final = 16384
_FULL: Final = 1 << 21
"""Bytes below which a disk is as good as full."""
_KILLER: Final = "often that is the kernel's out-of-memory killer"
_LINE: Final = 1000
"""Characters shown of a line of output."""


def created(result: StageResult) -> str:
    """Name new files that no out declares; empty if there are none."""
    paths = [path for path in result.created if "__pycache__" not in path and is_inside(path)]
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    named = ", ".join(paths[:3])
    return f"stage '{result.address}' wrote {named}{more}, which no out declares; kept." if paths else ""


def short(result: StageResult) -> str:
    """What went wrong, without the whole command, which is in dvc.yaml."""
    if result.exit_code is None or not result.command_failed:
        return result.error
    if result.exit_code < 0:
        killed = f"; {_KILLER}" if result.exit_code == -signal.SIGKILL else ""
        return f"its command was ended by {_signal_name(-result.exit_code)}{killed}"
    killed = f", which is how a shell tells of SIGKILL; {_KILLER}" if result.exit_code == 128 + signal.SIGKILL else ""
    return f"its command exited with {result.exit_code}{killed}"


def trying_again(end: StageResult | Lost, settings: StageSettings, delay: float) -> str:
    """Announce another attempt: why, when, and what it asks for if that grows."""
    why = end.why if isinstance(end, Lost) else short(end)
    grown = ", ".join(amounts(settings)[name] for name in settings.grows)
    return (
        f"stage '{end.address}', attempt {end.attempt}: {why}; trying again"
        f"{f' in {delay:g} s' if delay else ''}{f' with {grown}' if grown else ''}"
    )


def lost(end: Lost) -> str:
    """Say why a stage has failed without a result, and what to do about it where that is known."""
    if not end.no_environment:
        return f"its worker was lost: {end.why}"
    remedy = (
        "Change 'runtime_env' under 'meta: ray:' or in .dvc/ray.toml, or install what it needs on the nodes."
        " An environment of conda, or an image, needs dvc-ray too, and the same Ray and Python as here."
    )
    return f"{end.why}\n{remedy}"


def missed(paths: Sequence[str]) -> str:
    """Name what a command may have missed in its workspace."""
    if not paths:
        return ""
    named = ", ".join(f"'{path}'" for path in paths)
    return (
        f"\nIts output names {named}, in your project but not in the stage's workspace:"
        " ignored by Git, or called like a secret, and not declared."
        "\nDeclare it under 'deps', or name it in 'meta: {ray: {include: [...]}}' of the stage."
    )


def own_ray(address: str) -> str:
    """Say that a stage has started a Ray beside the run."""
    return (
        f"Stage '{address}' has started a Ray of its own, as under dvc repro; the run does not count its CPUs."
        " To have it join the run's Ray, give it 'meta: {ray: {num_cpus: 0}}'."
    )


def about_links(tail: Sequence[str]) -> str:
    """Say that a Git-ignored folder is a link in a workspace, if a command has failed on that; otherwise empty."""
    if Sign.LINKED_FOLDER not in signs(tail):
        return ""
    return (
        "\nA folder that Git ignores is a link to yours in a stage's workspace, which `shutil.rmtree` does not remove;"
        " `rm -r` does. Or name it in 'meta: {ray: {include: [...]}}' of the stage, which gives it a folder."
    )


def full_disk(path: str) -> str:
    """Say that the disk is full, if it is: for lack of space, the command's own message may be lost."""
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(path).free
        if free < _FULL:
            return f"\nNo space left on device: {free / 2**20:.1f} MiB are free at '{path}'."
    return ""


def about_git(address: str, tail: Sequence[str], written: Sequence[str] = (), *, partial: bool = False) -> str:
    """Say what a command cannot do with Git, if it has failed on that; otherwise empty.

    Args:
        address: The stage.
        tail: The last lines of its output.
        written: What it has written to the copy of Git's state in its workspace.
        partial: Whether that copy is for a machine that does not see the repository.
    """
    found = signs(tail)
    itself = f"dvc repro --single-item {address}"
    if written or Sign.WRITES_TO_GIT in found:
        named = f" ({', '.join(written[:3])})" if written else ""
        return (
            f"\nIts command writes to Git{named}. A stage cannot: its workspace has a copy of the state of your"
            " repository, locked and gone afterwards, because stages run at the same time."
            f"\nLeave that to a command after the run, or run the stage with DVC itself: {itself}"
        )
    if Sign.NO_REPOSITORY in found:
        return (
            "\nIts output speaks of a Git repository: a stage's workspace has none, or not all of it."
            "\nGive the stage what it asks Git for, as a param or in 'meta: {ray: {env: {...}}}', or run it with DVC"
            f" itself: {itself}"
        )
    if partial and Sign.NO_OBJECT in found:
        return (
            "\nIts command asks Git for what is not sent to other machines: contents of files that are as they were"
            " committed, and what files once were. All commits are there, and the differences."
            f"\nMake what it needs a dep, or run the stage with DVC itself: {itself}"
        )
    return ""


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def last_lines(log: str) -> tuple[str, ...]:
    """The end of a log, however large it is."""
    with contextlib.suppress(OSError), open(log, "rb") as file:
        file.seek(max(0, os.path.getsize(log) - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
        return tuple(line.rpartition("\r")[2][:_LINE] for line in text.splitlines()[-_TAIL:])
    return ()


def shown(path: Path) -> str:
    """A path relative to the current directory if it lies below that, otherwise as it is."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
