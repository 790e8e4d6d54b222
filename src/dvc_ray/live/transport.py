"""``init`` hands code and variables to Ray's workers, ``fetch`` copies a file of a result to an out of the stage."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from dvc_ray import env, redact
from dvc_ray.errors import ClusterError, LiveError
from dvc_ray.live import code, remote, session
from dvc_ray.ray_api import tokens, workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow.fs
    import ray.train

ONLY_WHEN_STARTING: Final = (
    "num_cpus",
    "num_gpus",
    "resources",
    "labels",
    "object_store_memory",
    "_system_config",
)
"""Arguments that ray.init refuses when it joins a cluster."""


def init(**ray_init_kwargs: Any) -> Any:
    """Start or join Ray, with the stage's variables and the project's code handed to every worker.

    Joins the cluster of ``RAY_ADDRESS`` (set by dvc-ray). Without it, does as ``ray.init``: joins a cluster
    that ``ray start`` started on this machine, or starts Ray in this process, without a dashboard. On workers,
    ``import src.train`` works as it does here, ``dvc_ray.data_path`` finds the stage's data, and
    ``dvc_ray.Live`` and ``dvc_ray.storage_path`` write where the stage expects it. A second call does nothing,
    nor does a call on a worker. Variables named like secrets (``DVC_STUDIO_TOKEN``) are not handed over this way,
    as Ray's dashboard would show them. On a cluster, those that dvc-ray's setting ``secrets`` names reach the workers
    through the cluster's own memory, by a ``worker_process_setup_hook``, if the caller has set none.

    Args:
        **ray_init_kwargs: As for ``ray.init``. A ``runtime_env`` is merged, and the caller's entries win; if it
            has a ``working_dir``, no code is added. Sizes of a local Ray (``num_cpus``, …) are left out when
            ``RAY_ADDRESS`` is joined.

    Returns:
        What ``ray.init`` returns.

    Raises:
        LiveError: The project's code is too large for Ray.
        ClusterError: The cluster does not answer.
    """
    import ray

    if ray.is_initialized():
        return ray.init(ignore_reinit_error=True, logging_level=logging.WARNING)
    tokens.be_quiet()
    options = {"include_dashboard": False, "logging_level": logging.WARNING, **ray_init_kwargs}
    if os.environ.get(env.RAY_ADDRESS, "local") != "local" and "address" not in options:
        options = {name: value for name, value in options.items() if name not in ONLY_WHEN_STARTING}
    with _runtime_env(options.pop("runtime_env", None) or {}) as runtime_env:
        try:
            return ray.init(**options, runtime_env=runtime_env)
        except ConnectionError as error:
            address = options.get("address") or os.environ.get(env.RAY_ADDRESS) or "the local one"
            raise ClusterError(
                f"Ray does not answer at {address}: {error}", "Check that it runs: ray status"
            ) from error


@contextmanager
def _runtime_env(given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Merge the caller's runtime_env with ours; the staged code is kept until Ray has uploaded it."""
    merged = {**given, "env_vars": {**_crossing_variables(), **given.get("env_vars", {})}}
    if env.ATTEMPT in os.environ:
        # Other nodes may lack dvc-ray; and what they need beyond these variables, the dashboard must not show.
        merged["py_modules"] = [*given.get("py_modules", []), str(Path(__file__).parents[1])]
        merged.setdefault("worker_process_setup_hook", f"{remote.__name__}.{remote.take_variables.__name__}")
    root = session.project_root() or session.stage_dir()
    files = [] if "working_dir" in given else code.code_files(root)
    if not files:
        yield merged
        return
    code.check_size(root, files, workers.package_limit())
    # Relative paths: Python makes them absolute when a worker starts in the unpacked code.
    paths = [given.get("env_vars", {}).get("PYTHONPATH", ""), *code.import_dirs(root, files)]
    merged["env_vars"]["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    with tempfile.TemporaryDirectory(prefix="dvc-ray-code-") as folder:
        code.stage_code(root, files, Path(folder))
        merged["working_dir"] = folder
        yield merged


def _crossing_variables() -> dict[str, str]:
    crossing = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(env.CROSSING_PREFIXES)
        and not redact.named(name)  # Ray's dashboard and its state API show it
    }
    return {**crossing, env.STAGE_DIR: str(session.stage_dir()), env.STORAGE: session.storage_path()}


def fetch(
    source: ray.train.Result | ray.train.Checkpoint | str | os.PathLike[str],
    path: str | os.PathLike[str],
    dest: str | os.PathLike[str] | None = None,
) -> str:
    """Copy a file or directory of a result to an output of the stage.

    Args:
        source: A result of Ray Train or Ray Tune (its checkpoint is used), a checkpoint, or a directory or
            URL in storage.
        path: What to copy, relative to the checkpoint.
        dest: Target of the copy, relative to the stage's directory; by default the same relative path.

    Returns:
        The absolute path of the copy, which appears complete and in one step.

    Raises:
        LiveError: The result has no checkpoint, or the checkpoint no such file.
    """
    from pyarrow.fs import FileType

    if os.environ.get(env.ATTEMPT) and remote.is_away():
        raise LiveError(
            f"fetch: this worker is on {os.uname().nodename}, the stage's directory on another node",
            "Call it in the stage's program, with what trainer.fit() has returned.",
        )
    filesystem, top = _place(source)
    name = PurePosixPath(os.fspath(path))
    if name.is_absolute() or ".." in name.parts:
        raise LiveError(f"fetch: {str(name)!r} leads out of the checkpoint", "Give a path relative to it.")
    wanted = str(PurePosixPath(top, name))
    kind = filesystem.get_file_info(wanted).type
    if kind == FileType.NotFound:
        raise LiveError(
            f"no {str(name)!r} in {top}, which has: {', '.join(_contents(filesystem, top)) or 'nothing'}",
            "Fetch one of these, or save the file before ray.train.report(…, checkpoint=…).",
        )
    target = session.stage_dir() / (dest if dest is not None else name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        _download(filesystem, wanted, Path(folder, "new"), is_dir=kind == FileType.Directory)
        _replace(Path(folder, "new"), target, Path(folder, "old"))
    return str(target)


def _place(source: Any) -> tuple[pyarrow.fs.FileSystem, str]:
    """Return where a checkpoint lies; a result is known by its attribute, as Train and Tune have several classes."""
    if isinstance(source, str | os.PathLike):
        from pyarrow.fs import FileSystem, LocalFileSystem

        text = os.fspath(source)
        if "://" in text:
            filesystem, top = FileSystem.from_uri(text)
            return filesystem, top
        return LocalFileSystem(), str(session.stage_dir() / text)
    checkpoint = getattr(source, "checkpoint", source)
    if checkpoint is None:
        raise LiveError(
            "fetch: this result has no checkpoint",
            "Report one in the training function: ray.train.report(metrics, checkpoint=…).",
        )
    return checkpoint.filesystem, checkpoint.path


def _contents(filesystem: pyarrow.fs.FileSystem, top: str, most: int = 20) -> list[str]:
    from pyarrow.fs import FileSelector

    selector = FileSelector(top, recursive=True, allow_not_found=True)
    names = sorted(str(PurePosixPath(info.path).relative_to(top)) for info in filesystem.get_file_info(selector))
    return names if len(names) <= most else [*names[:most], f"and {len(names) - most} more"]


def _download(filesystem: pyarrow.fs.FileSystem, path: str, copy: Path, *, is_dir: bool) -> None:
    if is_dir:
        from pyarrow.fs import LocalFileSystem, copy_files

        copy.mkdir()
        copy_files(path, str(copy), source_filesystem=filesystem, destination_filesystem=LocalFileSystem())
        return
    with filesystem.open_input_stream(path) as stream, copy.open("wb") as file:
        shutil.copyfileobj(stream, file)


def _replace(new: Path, target: Path, old: Path) -> None:
    """Put the copy in place. A file is replaced in one step, a directory must first be moved away."""
    if target.is_dir() and not target.is_symlink():
        target.replace(old)
    new.replace(target)
