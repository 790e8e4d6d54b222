"""Words for values, the same in all renderings."""

from __future__ import annotations

from dvc_ray.values import RunResult, StageReport, StageSettings, StageState

SYMBOLS = {
    StageState.WAITING: "·",
    StageState.QUEUED: "·",
    StageState.RUNNING: "▸",
    StageState.DONE: "✓",
    StageState.CACHED: "✓",
    StageState.UNCHANGED: "=",
    StageState.FAILED: "✗",
    StageState.STOPPED: "■",
    StageState.BLOCKED: "-",
}


def duration(seconds: float) -> str:
    """``3.2 s``, ``4 min 05 s``, ``2 h 03 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def resources(settings: StageSettings) -> str:
    """What a stage asks of Ray: ``1 CPU``, ``4 CPU, 1 GPU, 2.0 GiB``."""
    parts = [f"{settings.num_cpus:g} CPU"]
    if settings.num_gpus:
        parts.append(f"{settings.num_gpus:g} GPU")
    if settings.memory:
        parts.append(f"{settings.memory / 2**30:.1f} GiB")
    return ", ".join([*parts, *(f"{amount:g} {name}" for name, amount in settings.resources)])


def line(report: StageReport) -> str:
    """A state of a stage as one line."""
    words = {
        StageState.RUNNING: f"running on {report.node}" if report.node else "running",
        StageState.DONE: f"done in {duration(report.seconds)}",
        StageState.CACHED: "restored from the run cache",
        StageState.BLOCKED: "not run",
    }
    text = f"{report.address}: {words.get(report.state, report.state.value)}"
    if report.state is StageState.FAILED:
        return f"{text}: {report.error}"
    why = report.state in {StageState.QUEUED, StageState.CACHED, StageState.BLOCKED}
    return f"{text} ({report.reason})" if why and report.reason else text


def failure(report: StageReport) -> list[str]:
    """A failed stage: what, its last lines, where the rest is."""
    lines = [f"ERROR: stage '{report.address}' failed: {report.error}"]
    if report.tail:
        lines += ["  last lines of its output:", *(f"    {text}" for text in report.tail)]
    if report.log:
        lines.append(f"  full log: {report.log}")
    return lines


def summary(result: RunResult) -> list[str]:
    """A run at its end."""
    ran = result.count(StageState.DONE)
    cached = result.count(StageState.CACHED)
    unchanged = result.count(StageState.UNCHANGED)
    failed = result.count(StageState.FAILED)
    blocked = result.count(StageState.BLOCKED)
    if not (ran or cached or failed or blocked):
        return ["Data and pipelines are up to date."]
    counts = [
        f"{number} {word}"
        for number, word in (
            (ran, "run"),
            (cached, "from the run cache"),
            (unchanged, "unchanged"),
            (failed, "failed"),
            (blocked, "not run"),
        )
        if number
    ]
    stages = "stage" if len(result.reports) == 1 else "stages"
    lines = [f"{len(result.reports)} {stages} in {duration(result.seconds)}: {', '.join(counts)}."]
    if not failed:
        lines.append("Use `dvc push` to send your updates to remote storage.")
    return lines
