"""Runs one attempt of a stage: a plain function, no Ray in it."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from dvc_ray import command, env
from dvc_ray.errors import ProjectError, StorageError, UnreachableError
from dvc_ray.files import atomic_write
from dvc_ray.paths import RESULT
from dvc_ray.redact import Mask
from dvc_ray.repo import bare, damage
from dvc_ray.values.report import Output
from dvc_ray.values.stage import StageState
from dvc_ray.values.task import Pack, StageResult, StageTask, Started
from dvc_ray.workspace import (
    CODE_LIST,
    Changes,
    Content,
    Environments,
    Followed,
    Materialised,
    Site,
    added_to_git,
    at_work,
    detach,
    discard,
    find_changes,
    kept_result,
    lay_aside,
    look,
    materialise,
    misplaced_outs,
    own,
    stale_outs,
    written_in_place,
    written_to_git,
)


def run_stage(
    task: StageTask,
    *,
    emit: Callable[[Started | Output], None],
    stopped: Callable[[], bool],
    nested: Mapping[str, str] | None = None,
    packs: Sequence[Pack] = (),
) -> StageResult:
    """Run a stage in a workspace of its own and leave the workspace for the head to empty.

    On a node that shares no disk with the head, all that is to come home is in the result, and nothing is left.

    Changes the working directory and SHELL of the process while it runs: one stage at a time in a process.

    Args:
        task: What to run.
        emit: Told when it starts and what it prints.
        stopped: Asked several times a second whether to end the command.
        nested: Variables with which the command's own Ray driver joins the cluster.
        packs: Files of the head's tree, for a node that does not see it.

    Returns:
        What became of it; a failed command is a result, not an exception.
    """
    emit(Started(address=task.address, attempt=task.attempt, node=socket.gethostname()))
    begun = time.monotonic()
    if task.elsewhere is not None:
        return _run_elsewhere(
            task, begun, packs, lambda site: _Attempt(site.task, emit, stopped, dict(nested or {}), site)
        )
    attempt = _Attempt(task, emit, stopped, dict(nested or {}))
    result = _result(task, attempt, begun)
    _write_down(task, result)
    return result


def _result(task: StageTask, attempt: _Attempt, begun: float) -> StageResult:
    with contextlib.closing(attempt.followed):
        state, entry, error = attempt.run()
        try:
            found = attempt.changes()
        except OSError as wrong:
            found = Changes(changed=(), deleted=(), created=())
            state, entry, error = StageState.FAILED, None, error or f"what it left cannot be read: {wrong}"
    if attempt.has_lost_its_workspace():
        state, entry = StageState.FAILED, None
        error = f"its workspace was removed while it ran: {task.workspace}. Nothing of yours was touched."
    return StageResult(
        address=task.address,
        attempt=task.attempt,
        state=state,
        node=socket.gethostname(),
        seconds=time.monotonic() - begun,
        workspace=task.workspace,
        entry=entry,
        exit_code=attempt.code,
        error=attempt.mask.text(error),
        changed=found.changed,
        deleted=found.deleted,
        created=found.created,
        replaced=found.replaced,
        moved=found.moved,
        copied=found.copied,
        git_added=attempt.git_added,
        git_written=attempt.git_written,
        stale=attempt.stale(),
        timed_out=attempt.why is command.End.TIMEOUT,
    )


def _run_elsewhere(
    task: StageTask, begun: float, packs: Sequence[Pack], make: Callable[[Site], _Attempt]
) -> StageResult:
    """Run it where the head's disk is not; what is to survive the node is in the remote when this returns."""
    try:
        site = Site.of(task, packs)
    except (StorageError, OSError) as error:
        return StageResult(
            address=task.address,
            attempt=task.attempt,
            state=StageState.FAILED,
            node=socket.gethostname(),
            seconds=time.monotonic() - begun,
            workspace=task.workspace,
            error=f"cannot be prepared on this node: {error}",
            unreachable=isinstance(error, UnreachableError),
        )
    with contextlib.closing(site), at_work(Path(site.task.workspace).parent):
        result = _result(task, make(site), begun)
        if result.state is StageState.FAILED:
            result = replace(result, note=site.full_disk())
        try:
            parcel = site.parcel(result)
            packed = {file.path for file in parcel.files}
            result = replace(result, parcel=parcel, created=tuple(path for path in result.created if path in packed))
        except (StorageError, OSError) as error:
            text = f"what it made cannot be brought home: {error}"
            return replace(result, state=StageState.FAILED, entry=None, error=result.error or text)
        with contextlib.suppress(StorageError, OSError):  # the driver mostly hears of it, and has the log's lines
            site.write_down(result)
            site.store_log()
        return result


def written_result(task: StageTask) -> StageResult | None:
    """Read what a worker wrote down before it was lost or its answer was. On the head."""
    if task.elsewhere is not None:
        return kept_result(task)
    found = _read(Path(_result_path(task)))
    return found[1] if found else None


def written_down(work: Path) -> tuple[tuple[StageTask, StageResult], ...]:
    """Read all that workers wrote down in a directory of workspaces."""
    found = (_read(path) for path in sorted(work.glob(f"*{RESULT}")))
    return tuple(pair for pair in found if pair is not None)


def _read(path: Path) -> tuple[StageTask, StageResult] | None:
    with contextlib.suppress(Exception):  # half of a file, or one of another version: as if there was none
        task, result = pickle.loads(path.read_bytes())  # noqa: S301  written by ourselves
        if isinstance(task, StageTask) and isinstance(result, StageResult):
            return task, result
    return None


def forget(task: StageTask, *, reuse: bool = False) -> None:
    """Remove what an attempt leaves once it is at home.

    Args:
        task: What was run.
        reuse: Keep the workspace for another attempt of the run.
    """
    if reuse:
        lay_aside(task.workspace)
    else:
        discard(task.workspace)
    Path(_result_path(task)).unlink(missing_ok=True)


def _result_path(task: StageTask) -> str:
    return f"{task.workspace}{RESULT}"


def _write_down(task: StageTask, result: StageResult) -> None:
    """Keep a result where the driver finds it if it never hears of it: the worker may be stopped or die now.

    Without what nobody needs any more: the environment, which may hold secrets, and thousands of paths.
    """
    with contextlib.suppress(OSError):
        atomic_write(_result_path(task), pickle.dumps((replace(task, env=(), code=(), ignored=()), result)))


class _Attempt:
    def __init__(
        self,
        task: StageTask,
        emit: Callable[[Started | Output], None],
        stopped: Callable[[], bool],
        nested: Mapping[str, str],
        site: Site | None = None,
    ) -> None:
        self.task = task
        self.site = site
        self.emit = emit
        self.stopped = stopped
        self.nested = nested
        self.made: Materialised | None = None
        self.followed = Followed(task)
        self.copied: set[str] = set()
        self.code: int | None = None
        self.why = command.End.EXIT
        self.git_written: tuple[str, ...] = ()
        self.git_added: tuple[str, ...] = ()
        self.mask = Mask.of(text for name, text in task.env if name in task.secrets)
        """Of what may be shown nowhere, neither in the command's output nor in an error."""

    def run(self) -> tuple[StageState, dict[str, object] | None, str]:
        """Run the stage: its end, its entry of dvc.lock, an error."""
        task = self.task
        _leave_what_is_gone()
        try:
            Path(task.log).parent.mkdir(parents=True, exist_ok=True)
            with _dvc_variables(dict(task.env)):
                self.made = self._materialise()
                self.followed.follow()
                known = self.site.placed() if self.site else ()
                with _in_directory(os.path.join(task.workspace, task.cwd)):
                    ran = bare.run_stage(task, self.made.given, self.execute, known)
                if self.site is not None and task.commit:
                    self.site.push(ran)
        except ProjectError as error:
            return self._failed(error.what)
        except StorageError as error:
            return StageState.FAILED, None, str(error)
        except Exception as error:  # noqa: BLE001  a full disk or a bug of ours: the stage has failed, not the worker
            if self.made is None:  # half of a workspace: nothing of it may come home
                discard(task.workspace)
            return StageState.FAILED, None, f"cannot run in a workspace of its own: {error or type(error).__name__}"
        return StageState.DONE, ran.entry, ""

    def _materialise(self) -> Materialised:
        if self.site is None:
            return materialise(self.task)
        return materialise(self.task, self.site.fill, self.site.covered())

    def execute(self, argv: Sequence[str], cwd: str, dvc_env: Mapping[str, str]) -> int:
        """Run one command of the stage.

        Raises:
            ProjectError: It has written to an object of DVC's cache.
        """
        before = look(self.task.workspace, self.task.links)
        with self._environments():
            done = command.run(
                command.Command(
                    argv=argv,
                    cwd=cwd,
                    env=self._environment(cwd, dvc_env),
                    log=self.task.log,
                    timeout=self.task.timeout,
                    grace=self.task.grace,
                    surroundings=self.task.surroundings,
                    mask=self.mask,
                ),
                heard=lambda text: self.emit(Output(address=self.task.address, attempt=self.task.attempt, text=text)),
                stopped=self.stopped,
            )
        self.why, self.code = done.why, done.code
        self._check_cache(before)
        self._check_git()
        self._own_outs()
        # A command that ends well on SIGTERM was stopped all the same.
        return done.code if done.why is command.End.EXIT else done.code or 1

    def _environments(self) -> contextlib.AbstractContextManager[object]:
        """Keep environments of the user's in order; on another machine they are the machine's own."""
        return Environments(self.task) if self.site is None else contextlib.nullcontext()

    def has_lost_its_workspace(self) -> bool:
        """Whether somebody has removed the workspace: what is not in it then was not deleted by the command."""
        return self.made is not None and not all(map(os.path.exists, self._marks()))

    def _marks(self) -> tuple[str, str]:
        """Files of ours that a command has no reason to remove."""
        project = os.path.join(self.task.workspace, self.task.project)
        return os.path.join(project, CODE_LIST), os.path.join(project, ".dvc", "config.local")

    def changes(self) -> Changes:
        """What the command did beyond its outs."""
        none = Changes(changed=(), deleted=(), created=())
        found = none if self.made is None else find_changes(self.task, self.made, self.followed, self.copied)
        # Asked last: what is being removed by somebody else meanwhile must not look removed by the command.
        return none if self.has_lost_its_workspace() else found

    def stale(self) -> tuple[str, ...]:
        """Outs of the last run that are to go from the user's tree, as DVC removes them before it runs a command."""
        if self.code is None or self.has_lost_its_workspace():
            return ()  # as long as no command has run, nothing of the user's is touched
        return stale_outs(self.task)

    def _own_outs(self) -> None:
        """Have outs that are links to folders of the user's be copies before DVC hashes and protects them."""
        try:
            self.copied |= own(self.task, self.task.outs)
        except OSError as error:
            raise ProjectError(f"its outs cannot be copied from what Git ignores: {error}") from error

    def _check_git(self) -> None:
        """Refuse the result of a command that has written to Git past all that keeps it from that: it is lost."""
        self.git_added = added_to_git(self.task.git, self.task.workspace)
        self.git_written = written_to_git(self.task.git, self.task.workspace)
        if self.git_written and self.code == 0:
            raise ProjectError("its command wrote to Git, which a stage cannot")

    def _check_cache(self, before: Mapping[str, Content]) -> None:
        """Refuse the result of a command that has damaged the cache, and leave no damaged object in it."""
        written = written_in_place(self.task.workspace, before)
        project = os.path.join(self.task.workspace, self.task.project)
        damaged = damage.find(project, set(written.values())) if written else {}
        if paths := [path for path, file in written.items() if file in damaged]:
            for path in paths:
                detach(self.task.workspace, path)
            for cached in damaged.values():
                os.unlink(cached)
            named = ", ".join(f"'{path}'" for path in paths[:3])
            raise ProjectError(
                f"its command wrote to {named}, a dep that is a link to an object of DVC's cache (cache.type). The"
                " damaged object was taken out of the cache. Get the original again with `dvc pull` or by reproducing"
                " the stage that makes it, and let the command write to a copy."
            )

    def _failed(self, error: str) -> tuple[StageState, None, str]:
        if self.why is command.End.STOP:
            return StageState.STOPPED, None, "stopped"
        if self.why is command.End.TIMEOUT:
            return StageState.FAILED, None, f"timed out after {self.task.timeout:g} s (meta.ray.timeout)"
        if error.endswith("does not exist") and (found := misplaced_outs(self.task)):
            error = (
                f"{error} in the stage's own workspace, but '{found[0]}' was written to your project: by an absolute"
                " path, or by a package that is installed editable in another Python than dvc-ray's. Use a path"
                " relative to the stage's directory, or one that begins with $PWD or $DVC_ROOT; of a package, name the"
                " folder:"
                " 'meta: {ray: {env: {PYTHONPATH: src}}}'."
            )
        if self.site is not None and error.endswith("does not exist"):
            error += (
                f" on {socket.gethostname()}, where the stage ran. If one of its own workers on another node has"
                " written it, bring it home in the stage's program: dvc_ray.fetch(result, PATH)"
            )
        return StageState.FAILED, None, error.replace(self.task.workspace, self.task.home)

    def _environment(self, cwd: str, dvc_env: Mapping[str, str]) -> dict[str, str]:
        """The caller's environment, not the worker's: Ray changes what it finds (OMP_NUM_THREADS, RAY_*)."""
        task = self.task
        project = os.path.normpath(os.path.join(task.workspace, task.project))
        from_ray = {name: os.environ[name] for name in task.env_from_ray if name in os.environ}
        return {
            **dict(task.env),
            **self._own_python(),
            **from_ray,
            **self.nested,
            env.DVC_ROOT: project,
            env.DVC_STAGE: dvc_env[env.DVC_STAGE],
            env.RUN_ID: task.run_id,
            env.STAGE_DIR: cwd,
            env.CODE_LIST: os.path.join(project, CODE_LIST),
        }

    def _own_python(self) -> dict[str, str]:
        """Put the Python of the stage's own environment first, if its runtime_env has made one."""
        if sys.prefix == self.task.prefix:
            return {}
        caller = dict(self.task.env)
        first = {"PATH": os.pathsep.join(filter(None, [f"{sys.prefix}/bin", caller.get("PATH")]))}
        if os.environ.get("CONDA_PREFIX") == sys.prefix:
            return {**_activated(caller), **first}
        return {**first, "VIRTUAL_ENV": sys.prefix} if sys.prefix != sys.base_prefix else first


_OF_CONDA: Final = ("CONDA_", "_CONDA_", "_CE_")
_OF_RAY: Final = ("RAY_", "SPT_NOENV", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "PYTHONBREAKPOINT")


def _activated(caller: Mapping[str, str]) -> dict[str, str]:
    """What conda has set for the worker: its own variables, and those that packages of the environment need.

    Ray begins a worker by ``conda activate`` (``ray._private.runtime_env.conda``, 2.60).
    """
    return {
        name: text
        for name, text in os.environ.items()
        if name.startswith(_OF_CONDA) or (name not in caller and not name.startswith(_OF_RAY))
    }


def _leave_what_is_gone() -> None:
    """A warm worker may have begun in a project that is gone by now: DVC asks for the working directory."""
    try:
        os.getcwd()
    except FileNotFoundError:
        os.chdir(os.path.sep)


@contextlib.contextmanager
def _in_directory(path: str) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _dvc_variables(caller: Mapping[str, str]) -> Iterator[None]:
    """Let DVC in this process find the variables that matter to it as they should be.

    The caller's SHELL decides what interprets a command (``dvc.stage.run.get_executable``); a DVC_SITE_CACHE_DIR would
    take the workspace's hashes out of the workspace (``dvc.dirs.site_cache_dir``).
    """
    wanted = {"SHELL": caller.get("SHELL"), "DVC_SITE_CACHE_DIR": None}
    before = {name: os.environ.pop(name, None) for name in wanted}
    os.environ.update({name: value for name, value in wanted.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
