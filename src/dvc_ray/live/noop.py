"""DVCLive for the processes that do not log: the same names, nothing written."""

from __future__ import annotations

import os
from typing import Any


def _nothing(*_args: Any, **_kwargs: Any) -> None:
    return None


class NoopLive:
    """Keeps step and summary as DVCLive does, so that code which reads them decides the same in all processes."""

    def __init__(self, dir: str | os.PathLike[str] = "dvclive", **_kwargs: Any) -> None:  # noqa: A002
        self.dir = os.fspath(dir)
        self.step = 0
        self.summary: dict[str, Any] = {}
        self.params_file = f"{self.dir}/params.yaml"
        self.metrics_file = f"{self.dir}/metrics.json"
        self.plots_dir = f"{self.dir}/plots"
        self.artifacts_dir = f"{self.dir}/artifacts"
        self.dvc_file = "dvc.yaml"
        self.report_file: str | None = None

    def log_metric(self, name: str, val: Any, *_args: Any, **_kwargs: Any) -> None:
        """Remember the value in the summary; ``a/b`` is nested as DVCLive nests it."""
        *groups, last = os.path.normpath(name).split(os.path.sep)
        place = self.summary
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = val

    def next_step(self) -> None:
        """Count."""
        self.step += 1

    def read_step(self) -> int:
        """Nothing was written before: step 0."""
        return 0

    def read_latest(self) -> dict[str, Any]:
        """Nothing was written before."""
        return {}

    def __enter__(self) -> NoopLive:  # noqa: PYI034
        """Do nothing, as the context manager of DVCLive."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Save nothing."""

    def __getattr__(self, name: str) -> Any:
        """Every other method of DVCLive, of this version or a later one, does nothing."""
        if name.startswith("_"):
            raise AttributeError(name)
        return _nothing
