"""``dvc-ray demo``."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from dvc_ray import demo
from dvc_ray.cli.options import Arguments
from dvc_ray.cli.output import texts
from dvc_ray.cli.output.choose import choose
from dvc_ray.errors import StageFailedError
from dvc_ray.values.report import RunResult


def run(arguments: Arguments) -> int:
    """Run the command; return its exit code.

    Raises:
        StageFailedError: A stage of the example failed.
        DvcRayError: The example cannot be made or run here.
    """
    demo.check_installed()
    root = demo.make(arguments.directory)
    print(f"The example project is in {root}", flush=True)
    with choose(as_json=False) as sinks:
        result = demo.run(root, sinks)
    if not result.ok:
        raise StageFailedError(
            "the example did not run to its end", f"Look at what it left: cd {shlex.quote(str(root))}"
        )
    _show(root, result)
    return 0


def _show(root: Path, result: RunResult) -> None:
    print("\nStages")
    for report in result.reports:
        print(f"  {report.address:<10}{report.state.value:<11}{texts.duration(report.seconds)}")
    print("\nMetrics")
    for name, value in demo.metrics(root).items():
        print(f"  {name:<44}{value:.4g}")
    print(
        f"""
Where things are
  {root}
    dvc.yaml, params.yaml   the pipeline and its parameters
    git log                 the first run is committed
    model.pth               the trained model, in DVC's cache too
    results/                metrics, curves, all trials, the confusion matrix
    .dvc/tmp/ray/runs/      full logs and checkpoints of this run

Try next
  cd {shlex.quote(str(root))}{_activation()}
  sed -i 's/num_epochs: 12/num_epochs: 6/' params.yaml && dvc-ray repro   # only train and evaluate run again
  dvc metrics diff                                                        # what that has changed
  dvc plots show                                                          # curves and trials, as a page"""
    )


def _activation() -> str:
    """Say how to get ``dvc-ray`` and ``python`` on the PATH, if they are not there."""
    tools = Path(sys.executable).parent
    found = shutil.which("dvc-ray", path=_path_before(tools))
    return "" if found else f" && source {shlex.quote(str(tools / 'activate'))}"


def _path_before(tools: Path) -> str:
    """Return the user's PATH, in front of which `demo.run` has put our own tools."""
    first, _, rest = os.environ.get("PATH", "").partition(os.pathsep)
    return rest if first == str(tools) else os.pathsep.join([first, rest])
