"""One attempt: its workspace, DVC's real ``Stage.run`` in it, and what the command did beyond its outs."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from dvc_ray import command, env, environment
from dvc_ray.command.attached import run as run_attached
from dvc_ray.environment import Python, Sources
from dvc_ray.errors import ProjectError, StorageError
from dvc_ray.paths import is_under
from dvc_ray.redact import Mask
from dvc_ray.repo.dvc import failures
from dvc_ray.repo.run import cache_damage, worker_run
from dvc_ray.values.report import Output
from dvc_ray.values.stage import StageState
from dvc_ray.values.surroundings import Surroundings
from dvc_ray.values.task import StageTask, Started
from dvc_ray.worker.data_access import DataAccess
from dvc_ray.worker.diagnose import about_missing_out, damaged
from dvc_ray.workspace import (
    CODE_LIST,
    Changes,
    Content,
    Followed,
    Materialised,
    added_to_git,
    detach,
    discard,
    find_changes,
    look,
    materialise,
    own,
    stale_outs,
    written_in_place,
    written_to_git,
)


class Attempt:
    """An attempt of a stage in this process.

    Args:
        access: Its data, and its task on this machine.
        emit: Receives its start and its output.
        stopped: Asked several times a second whether to end the command.
        cluster: Variables with which the command's own Ray driver joins the cluster.
        surroundings: Process attributes for the command, used if the task has none.
        attached: Whether the command gets the terminal of this process.
    """

    def __init__(
        self,
        access: DataAccess,
        emit: Callable[[Started | Output], None],
        stopped: Callable[[], bool],
        *,
        cluster: Mapping[str, str],
        surroundings: Surroundings | None,
        attached: bool,
    ) -> None:
        task = self.task = access.task
        self.access = access
        self.surroundings = task.surroundings or surroundings
        self.emit = emit
        self.stopped = stopped
        self.cluster = cluster
        self.attached = attached
        self.made: Materialised | None = None
        self.followed = Followed(task)
        self.copied: set[str] = set()
        self.hashes: tuple[tuple[str, str], ...] = ()
        """What DVC has computed, of what the head may use."""
        self.code: int | None = None
        self.own_ray = False
        self.why = command.End.EXIT
        self.command_failed = False
        self.git_written: tuple[str, ...] = ()
        self.git_added: tuple[str, ...] = ()
        self.mask = Mask.of(text for name, text in access.environ.items() if name in task.secrets)
        """Masks the values of secrets, in the command's output and in errors."""

    def run(self) -> tuple[StageState, dict[str, object] | None, str]:
        """Run the stage; returns its state, its entry of dvc.lock and an error."""
        task = self.task
        _leave_what_is_gone()
        try:
            Path(task.log).parent.mkdir(parents=True, exist_ok=True)
            with _dvc_variables(self.access.environ):
                self.made = materialise(task, self.access.fill, self.access.covered())
                self.followed.follow()
                with _in_directory(os.path.join(task.workspace, task.cwd)):
                    ran = worker_run.run_stage(task, self.access.hashes(self.made.given), self.execute)
                if task.commit:
                    self.access.push(ran)
        except ProjectError as error:
            return self._failed(error)
        except StorageError as error:
            return StageState.FAILED, None, str(error)
        except Exception as error:  # noqa: BLE001  a full disk or a bug of ours: the stage has failed, not the worker
            if self.made is None:  # an incomplete workspace: nothing of it may be installed
                discard(task.workspace)
            return StageState.FAILED, None, f"cannot run in a workspace of its own: {error or type(error).__name__}"
        self.hashes = _of_inputs_and_outs(task, ran.hashes)
        return StageState.DONE, ran.entry, ""

    def execute(self, argv: Sequence[str], cwd: str, dvc_env: Mapping[str, str]) -> int:
        """Run one command of the stage.

        Raises:
            ProjectError: It has written to an object of DVC's cache.
        """
        before = look(self.task.workspace, self.task.links)
        with self.access.environments():
            done = self._run(
                command.Command(
                    argv=argv,
                    cwd=cwd,
                    env=self._environment(cwd, dvc_env),
                    log=self.task.log,
                    timeout=self.task.timeout,
                    grace=self.task.grace,
                    surroundings=self.surroundings,
                    mask=self.mask,
                )
            )
        self.why, self.code = done.why, done.code
        self.own_ray |= done.started_ray and env.RAY_ADDRESS not in self.cluster
        self._check_cache(before)
        self._check_git()
        self._own_outs()
        # A command that ends well on SIGTERM was stopped all the same.
        return done.code if done.why is command.End.EXIT else done.code or 1

    def _run(self, wanted: command.Command) -> command.Ended:
        if self.attached:
            return run_attached(wanted)
        task = self.task
        return command.run(
            wanted,
            heard=lambda text: self.emit(Output(address=task.address, attempt=task.attempt, text=text)),
            stopped=self.stopped,
        )

    def has_lost_its_workspace(self) -> bool:
        """Whether somebody has removed the workspace; missing files were then not deleted by the command."""
        return self.made is not None and not all(map(os.path.exists, self._marks()))

    def _marks(self) -> tuple[str, str]:
        """Files of ours that a command has no reason to remove."""
        project = os.path.join(self.task.workspace, self.task.project)
        return os.path.join(project, CODE_LIST), os.path.join(project, ".dvc", "config.local")

    def changes(self) -> Changes:
        """What the command did beyond its outs."""
        none = Changes(changed=(), deleted=(), created=())
        found = none if self.made is None else find_changes(self.task, self.made, self.followed, self.copied)
        # Checked last: what somebody else is removing meanwhile must not look removed by the command.
        return none if self.has_lost_its_workspace() else found

    def stale(self) -> tuple[str, ...]:
        """Outs of the last run to remove from the user's tree, as DVC removes them before it runs a command."""
        if self.code is None or self.has_lost_its_workspace():
            return ()  # as long as no command has run, nothing of the user's is touched
        return stale_outs(self.task)

    def _own_outs(self) -> None:
        """Replace outs that are links to the user's folders by copies, before DVC hashes and protects them."""
        try:
            self.copied |= own(self.task, self.task.outs)
        except OSError as error:
            raise ProjectError(f"its outs cannot be copied from what Git ignores: {error}") from error

    def _check_git(self) -> None:
        """Refuse the result of a command that has written to Git despite all obstacles: what it wrote is lost."""
        self.git_added = added_to_git(self.task.git, self.task.workspace)
        self.git_written = written_to_git(self.task.git, self.task.workspace)
        if self.git_written and self.code == 0:
            raise ProjectError("its command wrote to Git, which a stage cannot")

    def _check_cache(self, before: Mapping[str, Content]) -> None:
        """Refuse the result of a command that has damaged the cache, and leave no damaged object in it."""
        written = written_in_place(self.task.workspace, before)
        project = os.path.join(self.task.workspace, self.task.project)
        damaged_objects = cache_damage.find(project, set(written.values())) if written else {}
        if paths := [path for path, file in written.items() if file in damaged_objects]:
            for path in paths:
                detach(self.task.workspace, path)
            for cached in damaged_objects.values():
                os.unlink(cached)
            raise ProjectError(damaged(paths))

    def _failed(self, rejected: ProjectError) -> tuple[StageState, None, str]:
        if self.why is command.End.STOP:
            return StageState.STOPPED, None, "stopped"
        if self.why is command.End.TIMEOUT:
            return StageState.FAILED, None, f"timed out after {self.task.timeout:g} s (meta.ray.timeout)"
        self.command_failed = failures.is_of_command(rejected)
        error = rejected.what
        if failures.is_of_missing(rejected):
            error += about_missing_out(self.task) or self.access.about_missing()
        return StageState.FAILED, None, error.replace(self.task.workspace, self.task.home)

    def _environment(self, cwd: str, dvc_env: Mapping[str, str]) -> dict[str, str]:
        """The caller's environment, not the worker's: Ray changes what it finds (OMP_NUM_THREADS, RAY_*)."""
        task, so_far = self.task, self.access.environ
        python = Python(prefix=sys.prefix, base_prefix=sys.base_prefix, environ=os.environ)
        project = os.path.normpath(os.path.join(task.workspace, task.project))
        return environment.merge(
            Sources(
                head=so_far,
                python=environment.of_python(python, task.prefix, so_far),
                ray={name: os.environ[name] for name in task.env_from_ray if name in os.environ},
                cluster=self.cluster,
                stage={
                    env.DVC_ROOT: project,
                    env.DVC_STAGE: dvc_env[env.DVC_STAGE],
                    env.RUN_ID: task.run_id,
                    env.STAGE_DIR: cwd,
                    env.CODE_LIST: os.path.join(project, CODE_LIST),
                },
            )
        )


def _of_inputs_and_outs(task: StageTask, hashes: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    tops = {*task.outs, *task.links}
    return tuple((path, note) for path, note in hashes.items() if is_under(path, tops))


def _leave_what_is_gone() -> None:
    """Leave a working directory that is gone, as a warm worker's may be: DVC asks for the working directory."""
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
    """Set the variables that matter to DVC in this process.

    The caller's SHELL decides what interprets a command (``dvc.stage.run.get_executable``); a DVC_SITE_CACHE_DIR would
    put the workspace's hashes outside of it (``dvc.dirs.site_cache_dir``).
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
