"""Moving a directory between the cache and an S3 remote, with all clients that could do it."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from tests.helpers.seaweed import Server

from benchmarks.harness import STOCK, Workbench, goal, table

_BUCKET: Final = "bench"
_KIB: Final = 1024
_WORKLOADS: Final = {
    "2,000 x 4 KiB": (2000, 4 * _KIB, 3),
    "200 x 1 MiB": (200, 1024 * _KIB, 9),
    "4 x 256 MiB": (4, 256 * 1024 * _KIB, 5),
}
"""Number of files, bytes of each, and how often each client moves them: the shortest transfers vary most."""
_QUICK: Final = {"20 x 4 KiB": (20, 4 * _KIB, 1)}
_MANY: Final = 2000
_OF_DVC: Final = 1 / 2.5
_OF_THE_BEST: Final = 1 / 0.8


@dataclass(frozen=True, slots=True)
class _Client:
    """A client that moves objects, by one command line for each direction.

    Clients in Python print how long the transfer itself took, and that counts, as a worker has loaded the libraries
    already. s5cmd, a program of its own that starts at once, is timed as a whole.
    """

    name: str
    up: Callable[[Path, str], list[str]]
    """Makes the command line, from the cache's directory of objects and a folder of the bucket."""
    down: Callable[[Path, str], list[str]]


def run(bench: Workbench) -> Iterator[str]:
    """Compare the clients on each kind of directory, in turn, and say how dvc-ray compares."""
    with tempfile.TemporaryDirectory(prefix="dvc-ray-bench-s3-", ignore_cleanup_errors=True) as folder:
        server = Server(Path(folder))
        server.bucket(_BUCKET)
        try:
            for label, (number, size, rounds) in (_QUICK if bench.quick else _WORKLOADS).items():
                yield from _compare(bench, server, label, number, size, rounds)
        finally:
            server.stop()


def _compare(bench: Workbench, server: Server, label: str, number: int, size: int, rounds: int) -> Iterator[str]:
    project = _project(bench, server, number, size)
    found: dict[str, tuple[list[float], list[float]]] = {}
    for _ in range(rounds):
        for client in _clients():
            up, down = _measure(project, server, client)
            found.setdefault(client.name, ([], []))[0].append(up)
            found[client.name][1].append(down)
    rows = [[name, *map(_range, sides)] for name, sides in found.items()]
    yield table((f"{label}, s", "up", "down"), rows)
    for side, word in ((0, "up"), (1, "down")):
        ours = median(found["dvc-ray"][side])
        best = min(median(sides[side]) for name, sides in found.items() if name != "dvc-ray")
        yield goal(f"{label} {word}, ours / the best other", ours / best, _OF_THE_BEST, "x")
        if number >= _MANY:
            yield goal(f"{label} {word}, ours / dvc", ours / median(found["dvc"][side]), _OF_DVC, "x")


def _range(seconds: list[float]) -> str:
    return f"{median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})"


def _project(bench: Workbench, server: Server, number: int, size: int) -> Path:
    project = bench.make(f"transfer-{number}", [])
    (project / "data").mkdir()
    for each in range(number):
        (project / "data" / f"{each}.bin").write_bytes(secrets.token_bytes(size))
    bench.time(project, *STOCK, "add", "--quiet", "data")
    bench.time(project, *STOCK, "remote", "add", "--default", "r", f"s3://{_BUCKET}/unset")
    bench.time(project, *STOCK, "remote", "modify", "r", "endpointurl", server.url)
    return project


def _measure(project: Path, server: Server, client: _Client) -> tuple[float, float]:
    """Upload into an empty folder and download into an empty cache, which must end with the same files."""
    folder = secrets.token_hex(8)
    objects = project / ".dvc/cache/files/md5"
    environ = {
        **os.environ,
        **server.variables(),
        "S3_ENDPOINT_URL": server.url,
        "DVC_NO_ANALYTICS": "1",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    subprocess.run([*STOCK, "remote", "modify", "r", "url", f"s3://{_BUCKET}/{folder}"], cwd=project, check=True)
    before = _names(objects)
    up = _timed(client.up(objects, folder), project, environ)
    shutil.rmtree(objects)
    down = _timed(client.down(objects, folder), project, environ)
    if _names(objects) != before:
        raise RuntimeError(f"{client.name} did not bring back what it took")
    return up, down


def _names(objects: Path) -> dict[str, int]:
    return {str(path.relative_to(objects)): path.stat().st_size for path in objects.rglob("*") if path.is_file()}


def _timed(argv: list[str], cwd: Path, environ: dict[str, str]) -> float:
    begun = time.perf_counter()
    done = subprocess.run(argv, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(f"{argv}: {done.stderr}")
    said = done.stdout.strip().splitlines()
    return float(said[-1]) if said and said[-1].replace(".", "").isdigit() else wall


def _clients() -> list[_Client]:
    found = [
        _python("dvc"),
        _python("dvc-ray"),
        _python("s3fs"),
        _python("s3fs-one-by-one"),
    ]
    if s5cmd := shutil.which("s5cmd", path=f"{sys.prefix}/bin:{os.environ['PATH']}"):
        found += [_s5cmd(s5cmd), _s5cmd_checked(s5cmd)]
    return found


def _s5cmd(program: str) -> _Client:
    return _Client(
        "s5cmd",
        lambda objects, folder: [program, "cp", f"{objects}/", f"s3://{_BUCKET}/{folder}/files/md5/"],
        lambda objects, folder: [program, "cp", f"s3://{_BUCKET}/{folder}/files/md5/*", f"{objects}/"],
    )


_BRING_AND_CHECK: Final = """
"$0" cp "$1" "$2" > /dev/null
number=$(find "$2" -type f | wc -l)
find "$2" -type f -print0 | xargs -0 -P "$(nproc)" -n "$(((number + $(nproc) - 1) / $(nproc)))" md5sum > /dev/null
"""
"""The check that DVC's caches need and s5cmd leaves out, on all cores, as fast as possible."""


def _s5cmd_checked(program: str) -> _Client:
    plain = _s5cmd(program)
    return _Client(
        "s5cmd, then md5sum",
        plain.up,
        lambda objects, folder: ["bash", "-ec", _BRING_AND_CHECK, program, *plain.down(objects, folder)[2:]],
    )


def _python(name: str) -> _Client:
    def line(way: str) -> Callable[[Path, str], list[str]]:
        return lambda objects, folder: [
            *(sys.executable, "-m", "benchmarks.movers", name, way, str(objects), f"s3://{_BUCKET}/{folder}")
        ]

    return _Client(name, line("up"), line("down"))
