"""An experiment in its own directory, by the machinery of ``dvc exp run --temp`` (dvc.repo.experiments, 3.67.1).

DVC stashes the workspace with the new params, checks or makes the name, sets up the directory, and commits and
collects the result; only the stages are run by dvc-ray. So the experiment is one of DVC's own, and ``dvc exp show``
lists the experiment while it runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dvc_ray.errors import UnsupportedError
from dvc_ray.files import Version
from dvc_ray.repo.dvc import hashes
from dvc_ray.repo.dvc.failures import translate_errors
from dvc_ray.repo.experiments.queued import announce, executor_of, keep_remotes, told_as_saved
from dvc_ray.repo.experiments.stale import reap
from dvc_ray.repo.experiments.submodules import submodules, submodules_kept
from dvc_ray.repo.git import filters, worktree
from dvc_ray.repo.inputs import snapshot
from dvc_ray.repo.project import Project
from dvc_ray.repo.run.tasks import Copy
from dvc_ray.values.run import Experiment, Selection


@dataclass(slots=True)
class ExperimentDir:
    """The directory in which one experiment runs; what `open_experiment` yields."""

    home: Project
    project: Project
    """The experiment's copy of the project."""
    name: str
    environ: Mapping[str, str] = field(repr=False)
    """Variables that DVC gives to the commands of an experiment."""
    _executor: Any
    _info: Any
    _force: bool
    _message: str | None
    _checkout: Mapping[str, Any]
    _given: dict[str, Version]
    """Files that were given the user's bytes because a filter of Git changes them; their versions at that time."""
    _metrics: dict[str, Any]
    """The dict of `told_as_saved`."""

    @property
    def tree(self) -> str:
        """Root of the experiment's copy of Git's tree."""
        return self.project.tree

    def checkout(self) -> None:
        """Check out data that is in the cache and not in place already."""
        log = logging.getLogger("dvc_data.index.checkout")
        level = log.level
        log.setLevel(logging.ERROR)  # it warns of each out that has never been made
        try:
            with translate_errors():
                self.project._repo.checkout(**self._checkout, force=True, allow_missing=True)
        finally:
            log.setLevel(level)

    def save(self, stages: Sequence[str], ran: Sequence[str], trailer: str = "") -> str:
        """Commit the experiment and collect it (``BaseExecutor.reproduce``, ``TempDirQueue.collect_executor``).

        Args:
            stages: Addresses of all stages of the run that did not fail.
            ran: Addresses of those of them that have run, or were restored.
            trailer: A line for the end of the commit message.

        Returns:
            The commit.

        Raises:
            ProjectError: There is such an experiment already, with other content; or Git refuses the commit.
        """
        from dvc.repo.experiments.executor.base import ExecutorResult
        from dvc.repo.metrics.show import _gather_metrics as _gather
        from dvc.stage.utils import _get_stage_files

        inner, info = self.project._repo, self._info
        with translate_errors():
            for address in stages:
                inner.scm_context.add(_get_stage_files(self.project._stages[address]))
            # As DVCLive does in the stage of an experiment (``Live.end``).
            added = (os.path.join(self.tree, path) for path in sorted(self.project.git_added))
            if there := [path for path in added if os.path.lexists(path)]:
                inner.scm_context.add(there)
            inner._reset()  # stages may have written to dvc.yaml
            if paths := self._executor._get_top_level_paths(inner):
                inner.scm_context.add(paths)  # DVC leaves out those in submodules since 3.63
            filters.notice(self.tree, self._given)
            exp_hash = self._executor.hash_exp([self.project._stages[address] for address in ran])
            message = self._message
            if trailer:  # below DVC's own message (``BaseExecutor.commit``)
                message = f"{message or f'dvc: commit experiment {exp_hash}'}\n\n{trailer}"
            with submodules_kept(self.home.tree, inner.scm):
                ref, exp_ref, force = self._executor._repro_commit(inner, info, exp_hash, self._force, message=message)
            info.result_hash, info.result_ref, info.result_force = exp_hash, ref, force
            self._metrics.update(gathered=_gather(inner))
            exps = self.home._repo.experiments
            found = exps.tempdir_queue.collect_executor(exps, self._executor, ExecutorResult(exp_hash, exp_ref, force))
            if not found:  # DVC's fetch fails without an error, as it does from and to a shallow clone
                worktree.ask(self.home.tree, "fetch", "-q", "--no-tags", "--update-shallow", self.tree, f"+{ref}:{ref}")
                return worktree.ask(self.home.tree, "rev-parse", str(ref)).decode().strip()
        return str(next(iter(found)))

    def push_to(self) -> str:
        """The Git remote that experiments are to be pushed to; empty without ``exp.auto_push``."""
        from dvc.env import DVC_EXP_AUTO_PUSH, DVC_EXP_GIT_REMOTE
        from dvc.utils import env2bool

        wanted = self.home._repo.config.get("exp", {})
        if not env2bool(DVC_EXP_AUTO_PUSH, wanted.get("auto_push", False)):
            return ""
        return str(os.environ.get(DVC_EXP_GIT_REMOTE) or wanted.get("git_remote", "origin"))

    def push(self, remote: str) -> None:
        """Push the experiment and its data, as ``BaseExecutor.auto_push`` does.

        Raises:
            ProjectError: The experiment cannot be pushed.
        """
        repo = self.home._repo
        with contextlib.chdir(repo.root_dir), translate_errors():  # a remote may be a relative path
            self._executor._validate_remotes(repo, remote)
            repo.experiments.push(remote, self._info.result_ref, push_cache=True, run_cache=True)

    def rewritten(self) -> tuple[str, ...]:
        """Files that may differ between the experiment's commit and the workspace; relative to the trees."""
        here = worktree.paths(
            self.tree, "diff", "--name-only", "--no-renames", "-z", "refs/exps/exec/EXEC_HEAD", "HEAD"
        )
        there = worktree.paths(self.home.tree, "diff", "--name-only", "--no-renames", "-z", "HEAD")
        return tuple(sorted({*here, *there}))

    def leftovers(self) -> tuple[str, ...]:
        """Files in the experiment's tree that its commit does not have, and all files of submodules; relative paths."""
        inside = (path for _, folder in submodules(self.home.tree) for path in self._files_in(folder))
        return tuple(dict.fromkeys([*worktree.paths(self.tree, "ls-files", "-z", "--others"), *inside]))

    def _files_in(self, folder: str) -> Iterator[str]:
        """Files of a submodule, which is a plain folder in the experiment's directory."""
        for at, _, names in os.walk(os.path.join(self.tree, folder)):
            yield from (os.path.relpath(os.path.join(at, name), self.tree) for name in names)

    def untracked(self) -> tuple[str, ...]:
        """Untracked files in the experiment's directory that Git does not ignore; relative to the tree."""
        return tuple(worktree.paths(self.tree, "ls-files", "-z", "--others", "--exclude-standard"))

    def hand_over(self, paths: Sequence[str]) -> None:
        """Give DVC in the workspace the known hashes of files that were moved there from here; relative paths."""
        inner, repo = self.project._repo, self.home._repo
        pairs = [(os.path.join(self.tree, path), os.path.join(self.home.tree, path)) for path in paths]
        hashes.carry(inner.site_cache_dir, repo.state, pairs)
        hashes.links(repo, (new for _, new in pairs if os.path.exists(new)))
        repo.scm.reset()  # as `Git.detach_head` leaves the index when DVC runs an experiment in the workspace
        filters.refresh(self.home.tree, tuple(self._given))

    def take_over(self, paths: Sequence[str]) -> None:
        """Give DVC here the known hashes of files that were linked from the workspace; relative paths."""
        inner, repo = self.project._repo, self.home._repo
        pairs = [(os.path.join(self.home.tree, path), os.path.join(self.tree, path)) for path in paths]
        hashes.carry(repo.site_cache_dir, inner.state, pairs)


@contextlib.contextmanager
def open_experiment(
    home: Project,
    experiment: Experiment,
    selection: Selection,
    *,
    force: bool,
    stashed: Callable[[], None],
    waiting: Callable[[], None],
) -> Iterator[ExperimentDir]:
    """Set up an experiment's directory and work there; the directory is removed afterwards.

    The process changes from its working directory to the same place in the experiment's directory.

    Args:
        home: The user's project; not locked.
        experiment: The experiment to run.
        selection: The stages; their data is committed to the cache first, as stock DVC does.
        force: Replace an experiment of the same name.
        stashed: Called when DVC has the workspace in its stash, before anybody else may touch it.
        waiting: Called once if another DVC process holds the project's lock, before waiting for that process.

    Raises:
        UnsupportedError: The params are a sweep.
        ProjectError: There is no Git or no commit, the name is invalid or taken, or an override is invalid.
    """
    with translate_errors():
        home._repo.experiments  # noqa: B018  raises where no experiment is possible
    reap(home.dvc_dir)
    targets = {"targets": list(selection.targets) or None, "recursive": selection.recursive}
    with contextlib.ExitStack() as stack:
        stack.enter_context(worktree.found_by_place())
        worktree.refuse_under_way(home.tree)
        with home.locked(waiting=waiting), translate_errors():
            entry, filtered = _stash(home, experiment, targets, force=force)
            stashed()
        with translate_errors():
            executor, inner, environ, metrics = _set_up(home._repo, experiment, entry, stack)
        yield ExperimentDir(
            home=home,
            project=Project(inner, _copy(home, inner, experiment)),
            name=entry.name,
            environ=environ,
            _executor=executor,
            _info=executor.info,
            _force=force,
            _message=experiment.message,
            _checkout={**targets, "with_deps": bool(selection.targets)},
            _given=filters.give(home.tree, snapshot.tree(inner), filtered),
            _metrics=metrics,
        )


def _stash(home: Project, experiment: Experiment, targets: Mapping[str, Any], *, force: bool) -> tuple[Any, Any]:
    """Put the workspace, with the params of an experiment, into DVC's stash.

    Returns:
        The ``QueueEntry``, and the files that Git's filters change.
    """
    exps = home._repo.experiments
    params, filtered = _overrides(home._repo, experiment), filters.filtered(home.tree)
    with filters.kept(home.tree, filtered, home._repo.tmp_dir):
        entry = exps.new(
            exps.tempdir_queue,
            params=params,
            name=experiment.name,
            force=force,
            no_hydra=not experiment.hydra,
            **targets,
        )
    return entry, filtered


def _set_up(
    repo: Any, experiment: Experiment, entry: Any, stack: contextlib.ExitStack
) -> tuple[Any, Any, dict[str, str], dict[str, Any]]:
    """Set up the directory of a stashed experiment, and change to that directory.

    Returns:
        DVC's ``TempDirExecutor``, the directory's ``Repo``, variables for commands, and the dict of `told_as_saved`.
    """
    exps = repo.experiments
    executor = executor_of(exps, entry, stack)
    shutil.rmtree(os.path.dirname(exps.celery_queue.get_infofile_path(entry.stash_rev)), ignore_errors=True)
    infofile, own = announce(exps.tempdir_queue, entry.stash_rev, executor, stack)
    repro = executor._repro_dvc(
        executor.info, infofile, log_errors=False, copy_paths=list(experiment.copy_paths), message=experiment.message
    )
    metrics = stack.enter_context(told_as_saved())
    inner = stack.enter_context(repro)
    own({"root": executor.root_dir, "site": inner.site_cache_dir})
    stack.callback(shutil.rmtree, inner.site_cache_dir, ignore_errors=True)
    keep_remotes(repo.config, inner.config)
    _, given = executor._repro_args(inner)
    return executor, inner, {key: str(value) for key, value in given["run_env"].items()}, metrics


def _copy(home: Project, repo: Any, experiment: Experiment) -> Copy:
    """Let commands see the workspace's ignored files, as under ``dvc exp run``; not with ``--temp``."""
    paths = _copied(repo, experiment)
    return Copy(of=home.tree, paths=paths) if experiment.temp else Copy(of=home.tree, paths=paths, listing=home.listing)


def _copied(repo: Any, experiment: Experiment) -> tuple[str, ...]:
    """Where DVC has put the files that ``--copy-paths`` names (``BaseExecutor._copy_path``)."""
    found = (os.path.normpath(os.path.join(repo.root_dir, path)) for path in experiment.copy_paths)
    return tuple(path for path in found if os.path.lexists(path))


def _overrides(repo: Any, experiment: Experiment) -> dict[str, list[str]]:
    """Params by file, as ``dvc.repo.experiments.run`` reads them."""
    from dvc.dependency.param import ParamsDependency
    from dvc.utils.cli_parse import to_path_overrides
    from dvc.utils.hydra import to_hydra_overrides

    found: dict[str, list[str]] = to_path_overrides(experiment.params) if experiment.params else {}
    for path, overrides in found.items():
        for override in to_hydra_overrides(overrides):
            if override.is_sweep_override():
                raise UnsupportedError(
                    f"'{override.input_line}' gives several values, a sweep: not in this version of dvc-ray",
                    "Run one experiment for each value, or queue them with DVC: dvc exp run --queue -S …",
                )
        if path in repo.scm.untracked_files():
            repo.scm.add([path])
    hydra = repo.config.get("hydra", {}).get("enabled", False) and experiment.hydra
    if hydra:
        found.setdefault(ParamsDependency.DEFAULT_PARAMS_FILE, [])
    return found
