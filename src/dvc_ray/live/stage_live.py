"""DVCLive that writes to the stage's directory although the process runs in another, as Ray's workers do.

Ordinary writes use absolute paths. The process changes to the stage's directory only where DVCLive looks for
the repository or hands paths to Git: briefly, at its start and at its end.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvclive import Live as DvcLive

if TYPE_CHECKING:
    from collections.abc import Iterator


class StageLive(DvcLive):  # type: ignore[misc]
    """DVCLive for a stage.

    Args:
        stage_dir: What relative paths are relative to.
        *args: As for DVCLive.
        **kwargs: As for DVCLive.
    """

    _inside_dvc_exp: bool

    def __init__(self, stage_dir: str, *args: Any, **kwargs: Any) -> None:
        self._stage_dir = stage_dir
        # In the stage's own directory, everything is plain DVCLive.
        self._away = Path.cwd().resolve() != Path(stage_dir).resolve()
        with self._at_home():
            super().__init__(*args, **kwargs)

    @contextlib.contextmanager
    def _at_home(self) -> Iterator[None]:
        if not self._away:
            yield
            return
        self._away = False
        try:
            with contextlib.chdir(self._stage_dir):
                yield
        finally:
            self._away = True

    def _absolute(self, path: str | os.PathLike[str]) -> str:
        return os.path.join(self._stage_dir, path) if self._away else os.fspath(path)

    @property
    def dir(self) -> str:
        """Location of the directory to store outputs."""
        return self._absolute(super().dir)

    @property
    def dvc_file(self) -> str:
        """Path for dvc.yaml file."""
        return self._absolute(super().dvc_file)

    def log_artifact(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Track a file; a relative path is looked up in the working directory first, then in the stage's directory."""
        super().log_artifact(path if os.path.lexists(path) else self._absolute(path), *args, **kwargs)

    def cache(self, path: str | os.PathLike[str]) -> None:
        """Let DVC track a path."""
        absolute = Path(path).absolute()
        with self._at_home():
            super().cache(os.path.relpath(absolute) if absolute.is_relative_to(Path.cwd()) else absolute)

    def end(self) -> None:
        """Write the last files and register them with Git and DVC."""
        if self._inside_with:
            return
        if self._inside_dvc_exp and not _has_git(self._dvc_repo):
            # In dvc-ray's workspace, DVCLive has no Git; the driver brings the files into the experiment.
            self._inside_dvc_exp = False
        with self._at_home():
            super().end()


def _has_git(repo: Any) -> bool:
    return repo is not None and not repo.config["core"].get("no_scm", False)
