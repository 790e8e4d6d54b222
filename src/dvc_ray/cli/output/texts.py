"""Texts for values, the same in all renderings."""

from __future__ import annotations

from collections.abc import Sequence

from dvc_ray.cli.output import plain
from dvc_ray.settings.resources import amounts, others
from dvc_ray.values.report import RunResult, StageReport
from dvc_ray.values.stage import Action, Plan, StageSettings, StageSpec, StageState

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
    """What a stage asks of Ray: ``1 CPU``, ``4 CPU, 1 GPU, 2.0 GiB * attempt``."""
    asked = {"num_cpus": True, "num_gpus": settings.num_gpus, "memory": settings.memory}
    parts = [
        f"{text} * attempt" if name in settings.grows else text
        for name, text in amounts(settings).items()
        if asked[name]
    ]
    return ", ".join([*parts, *others(settings)])


def turns(spec: StageSpec) -> str:
    """What a stage waits for beside its resources: ``; at most 2 of train@*; not beside others with mutex db``."""
    settings = spec.settings
    limit = f"; at most {settings.max_parallel} of {spec.group}@*" if settings.max_parallel else ""
    return limit + (f"; not beside others with mutex {', '.join(settings.mutex)}" if settings.mutex else "")


def untracked(plan: Plan) -> list[str]:
    """Say which stages wait for all before them, because of which deps, and what to do about it; each dep once."""
    waiting: dict[str, list[str]] = {}
    for step in plan.steps:
        for dep in step.spec.untracked if step.action is not Action.SKIP else ():
            waiting.setdefault(dep, []).append(step.spec.address)
    deps: dict[tuple[str, ...], list[str]] = {}
    for dep, addresses in waiting.items():
        deps.setdefault(tuple(addresses), []).append(dep)
    return [_untracked(addresses, names) for addresses, names in deps.items()]


def _untracked(addresses: Sequence[str], deps: Sequence[str]) -> str:
    verb, it = ("waits", "it") if len(addresses) == 1 else ("wait", "each of them")
    which = ", ".join(f"'{dep}'" for dep in deps)
    return (
        f"{some(addresses)} {verb} for all stages before {it}: no stage makes {which}, and neither Git nor DVC tracks"
        f" {'it' if len(deps) == 1 else 'them'}, so that one of those may write {'it' if len(deps) == 1 else 'them'}."
        "\n  Declare what a stage writes as its out; for anything else: git add, or dvc add."
    )


def some(names: Sequence[str]) -> str:
    """The first few of many names."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def line(report: StageReport) -> str:
    """A state of a stage as one line."""
    words = {
        StageState.RUNNING: f"running on {report.node}" if report.node else "running",
        StageState.DONE: f"done in {duration(report.seconds)}",
        StageState.CACHED: "restored from the run cache",
        StageState.BLOCKED: "not run",
    }
    if report.waiting_for:
        return f"{report.address}: waiting for {report.waiting_for}"
    text = f"{report.address}: {words.get(report.state, report.state.value)}"
    if report.state is StageState.FAILED:
        return f"{text}: {report.error}"
    why = report.state in {StageState.QUEUED, StageState.CACHED, StageState.BLOCKED}
    return f"{text} ({report.reason})" if why and report.reason else text


def failure(report: StageReport) -> list[str]:
    """Describe a failed stage, ready to print: the error, the last lines of its output, the path of its log."""
    lines = [plain.lines(f"ERROR: stage '{report.address}' failed: {report.error}")]
    if report.tail:
        lines += ["  last lines of its output:", *(f"    {plain.output(text)}" for text in report.tail)]
    if report.log:
        lines.append(plain.one_line(f"  full log: {report.log}"))
    return lines


def summary(result: RunResult) -> list[str]:
    """Summarize a run that has ended."""
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
    if result.ok:
        lines.append(_where(result))
    return lines


def _where(result: RunResult) -> str:
    if not result.in_remote:
        return "Use `dvc push` to send your updates to remote storage."
    return (
        "Their data is in the remote, too."
        if result.pulled
        else "Their data is in the remote: `dvc pull` brings it here."
    )
