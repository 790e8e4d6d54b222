"""Executors without Ray that show the driver what it seldom sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dvc_ray import api
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.values.report import Notice, RunEvent, RunResult
from dvc_ray.values.run import RunRequest
from dvc_ray.values.stage import StageSettings
from dvc_ray.values.task import FileBundle, StageTask
from tests.helpers import stock
from tests.helpers.listening import telling


class Together(LocalExecutor):
    """Runs what is queued before it tells of any: as if at the same time."""

    def events(self, timeout: float) -> Sequence[Any]:
        return [event for _ in range(len(self._queue)) for event in super(Together, self).events(timeout)]


class Watched(LocalExecutor):
    """Notes what is in flight whenever the driver waits, and what each attempt asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.together: list[set[str]] = []
        self.asked: list[StageSettings] = []

    def submit(self, task: StageTask, settings: StageSettings, bundles: Sequence[FileBundle] = ()) -> None:
        self.asked.append(settings)
        super().submit(task, settings, bundles)

    def events(self, timeout: float) -> Sequence[Any]:
        self.together.append({task.address for task, _ in self._queue})
        return super().events(timeout)


def run(root: Path, executor: Any, request: RunRequest | None = None) -> tuple[RunResult, list[str]]:
    events: list[RunEvent] = []
    with stock.in_directory(root):
        result = api.repro(request, executor=executor, sinks=telling(events.append))
    return result, [event.text for event in events if isinstance(event, Notice)]
