"""Checks what must hold before a release is uploaded: ``make release-check``.

The source archive and the wheel are built and checked, the wheel is installed in an empty virtual environment, and a
project of two stages is run there by ``dvc-ray repro`` and by ``dvc repro``. The example of ``dvc-ray demo`` is not
run: it needs torch, which the wheel does not require, and ``make test`` runs it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
DIST: Final = ROOT / "dist"
_PIPELINE: Final = """
stages:
  double:
    cmd: python -c "print(2 * int(open('number.txt').read()))" > double.txt
    deps: [number.txt]
    outs: [double.txt]
  report:
    cmd: echo "twice the number is $(cat double.txt)" > report.txt
    deps: [double.txt]
    outs: [report.txt]
"""


def version() -> str:
    """Return the version, from the one file that defines it."""
    found = re.search(r'^__version__ = "(.+)"$', (ROOT / "src/dvc_ray/_version.py").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def fragments() -> list[str]:
    """Return the names of the changelog's fragments."""
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]
    others = {Path(configured["template"]).name}
    return sorted(path.name for path in (ROOT / configured["directory"]).iterdir() if path.name not in others)


def tag_problems(version: str, tags: Sequence[str], changelog: str, fragments: Sequence[str]) -> list[str]:
    """Say what does not fit the release tags of a commit; nothing is wrong with a commit that has none.

    Args:
        version: the version of the package.
        tags: the tags of the commit that begin with ``v``.
        changelog: the text of the changelog.
        fragments: the names of fragments that are not in the changelog yet.
    """
    if not tags:
        return []
    problems = [f"the tag is {tag}, the version {version}" for tag in tags if tag != f"v{version}"]
    if not re.search(rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE):
        problems.append(f"CHANGELOG.md has no section for {version}: make changelog")
    if fragments:
        problems.append(f"changelog.d has {len(fragments)} fragments that are in no section: make changelog")
    return problems


def content_problems(wheel: Sequence[str], tracked: Sequence[str]) -> list[str]:
    """Say what differs between the package in the wheel and in Git.

    Args:
        wheel: paths in the wheel.
        tracked: paths in Git, from ``src/``.
    """
    package = {path for path in wheel if ".dist-info/" not in path}
    return [
        *(f"{path} is in the wheel, not in Git" for path in sorted(package - set(tracked))),
        *(f"{path} is in Git, not in the wheel" for path in sorted(set(tracked) - package)),
    ]


def _run(command: Sequence[str], cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """Run a command and return what it prints; if it fails, print that and end the check."""
    print("$", *command, flush=True)
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}exit code {done.returncode}")
    return done.stdout


def _stop_at(problems: Sequence[str]) -> None:
    if problems:
        sys.exit("\n".join(problems))


def _build() -> Path:
    """Build and check both archives; return the wheel."""
    shutil.rmtree(DIST, ignore_errors=True)
    _run([sys.executable, "-m", "build", "--outdir", str(DIST)])
    _run([sys.executable, "-m", "twine", "check", "--strict", *map(str, sorted(DIST.iterdir()))])
    (wheel,) = DIST.glob("*.whl")
    tracked = _run(["git", "ls-files", "src/dvc_ray"]).splitlines()
    with zipfile.ZipFile(wheel) as archive:
        _stop_at(content_problems(archive.namelist(), [path.removeprefix("src/") for path in tracked]))
    return wheel


def _install(wheel: Path, scratch: Path) -> dict[str, str]:
    """Install only the wheel; return an environment with its commands, and nothing of the caller's except PATH."""
    venv.create(scratch / "venv", with_pip=True)
    binaries = scratch / "venv" / "bin"
    _run([str(binaries / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)])
    home = scratch / "home"
    home.mkdir()
    return {
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(scratch / "site"),
    }


def _compare(scratch: Path, env: dict[str, str]) -> None:
    """Run the same two stages by dvc-ray and by DVC: the lock must be the same, and DVC must find nothing to do."""
    for name in ("dvc-ray", "dvc"):
        project = scratch / "projects" / name
        project.mkdir(parents=True)
        (project / "dvc.yaml").write_text(_PIPELINE)
        (project / "number.txt").write_text("21\n")
        for command in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"], [name, "repro"]):
            _run(command, project, env)
    ours, stock = ((scratch / "projects" / name) for name in ("dvc-ray", "dvc"))
    for path in ("dvc.lock", "report.txt", ".gitignore"):
        if (ours / path).read_bytes() != (stock / path).read_bytes():
            sys.exit(f"{path} is not what `dvc repro` makes:\n{(ours / path).read_text()}")
    said = _run(["dvc", "status"], ours, env)
    if "up to date" not in said:
        sys.exit(f"`dvc status` after `dvc-ray repro`:\n{said}")


def main() -> None:
    """Check this commit; ends with exit code 1 and the reason if something does not hold."""
    tags = _run(["git", "tag", "--points-at", "HEAD", "--list", "v*"]).split()
    _stop_at(tag_problems(version(), tags, (ROOT / "CHANGELOG.md").read_text(), fragments()))
    wheel = _build()
    with tempfile.TemporaryDirectory(prefix="dvc-ray-release-") as name:
        scratch = Path(name)
        env = _install(wheel, scratch)
        if (said := _run(["dvc-ray", "--version"], scratch, env).split()[-1]) != version():
            sys.exit(f"`dvc-ray --version` says {said}, the version is {version()}")
        _run(["dvc-ray", "--help"], scratch, env)
        _compare(scratch, env)
    print(f"dvc-ray {version()} can be released: {', '.join(path.name for path in sorted(DIST.iterdir()))}")
    if not tags:
        print(f"no tag here; the release is tagged v{version()}")


if __name__ == "__main__":
    main()
