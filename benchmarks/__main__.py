"""Command line of the benchmarks."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks import cluster, experiment, folder, ignored, overhead, parallel, scale, transfers
from benchmarks import help as help_page
from benchmarks.cpu import adopt_orphans
from benchmarks.harness import Workbench, load, machine

_CLAIMS: Final[dict[str, Callable[[Workbench], Iterator[str]]]] = {
    "plan": scale.plan,
    "no-op": scale.noop,
    "run": scale.run,
    "overhead": overhead.run,
    "parallel": parallel.run,
    "help": help_page.run,
    "folder": folder.run,
    "ignored": ignored.run,
    "experiment": experiment.run,
    "transfers": transfers.run,
    "cluster": cluster.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"claims to measure: {', '.join(_CLAIMS)}; all if none"
    )
    parser.add_argument("--quick", action="store_true", help="once each and small: to see that the benchmarks work")
    parser.add_argument("--up-to", type=int, metavar="N", help="stages at most, of the claims that grow with them")
    arguments = parser.parse_args()
    names: list[str] = arguments.names or list(_CLAIMS)
    if unknown := sorted(set(names) - set(_CLAIMS)):
        parser.error(f"no such claim: {', '.join(unknown)}; there are {', '.join(_CLAIMS)}")
    adopt_orphans()
    _show(machine())
    for name in names:
        with tempfile.TemporaryDirectory(prefix="dvc-ray-bench-", ignore_cleanup_errors=True) as root:
            _show(f"## {name}")
            for block in _CLAIMS[name](Workbench(Path(root).resolve(), quick=arguments.quick, most=arguments.up_to)):
                _show(block)
            _show(f"Load average at its end: {load()}.")


def _show(block: str) -> None:
    print(f"{block}\n", flush=True)


if __name__ == "__main__":
    main()
