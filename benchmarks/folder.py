"""A stage that writes a directory of many files, and one that reads it."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.harness import COMPARED, Stage, Workbench, comparison, goal, table, wall_ratio


def run(bench: Workbench) -> Iterator[str]:
    """Compare stock DVC and dvc-ray on both stages, from a clean project."""
    files = 200 if bench.quick else 5000
    write = f"mkdir -p out/data && for i in $(seq {files}); do echo $i > out/data/$i.txt; done"
    stages = (
        Stage(name="write", cmd=write, deps=("in/start.txt",), outs=("out/data",)),
        Stage(name="read", cmd="cat out/data/* | wc -l > out/count.txt", deps=("out/data",), outs=("out/count.txt",)),
    )
    project = bench.make("folder", stages)
    stock, ours = bench.compare(project, ["repro"], ["repro"], 1 if bench.quick else 5)
    yield table(COMPARED, [comparison(f"write and read {files} files", stock, ours)])
    yield goal("ours / stock (wall)", wall_ratio(stock, ours), 1, "x")
