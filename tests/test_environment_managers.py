"""Environments of the project, by the real managers: found, used and left as under stock."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dvc_ray import api
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.values.run import Experiment
from tests import stock
from tests.conftest import Locally, Repro
from tests.test_run import Make

PYTHON = Path(sys.base_prefix, "bin/python3")
BACKEND = """
import base64, hashlib, os, zipfile
ABOUT = "pack-1.0.dist-info"

def _wheel(folder, files):
    files = {**files, f"{ABOUT}/METADATA": "Metadata-Version: 2.1\\nName: pack\\nVersion: 1.0\\n",
        f"{ABOUT}/WHEEL": "Wheel-Version: 1.0\\nGenerator: be\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{ABOUT}/entry_points.txt": "[console_scripts]\\nwhere = pack:main\\n"}
    digest = lambda text: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    record = [f"{name},sha256={digest(text)},{len(text)}" for name, text in files.items()] + [f"{ABOUT}/RECORD,,"]
    with zipfile.ZipFile(os.path.join(folder, "pack-1.0-py3-none-any.whl"), "w") as made:
        for name, text in {**files, f"{ABOUT}/RECORD": "\\n".join(record) + "\\n"}.items():
            made.writestr(name, text)
    return "pack-1.0-py3-none-any.whl"

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return _wheel(wheel_directory, {"pack.pth": os.path.abspath("src") + "\\n"})

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return _wheel(wheel_directory, {"pack.py": open("src/pack.py").read()})
"""
"""A build backend that needs nothing from a registry."""
PROJECT = {
    "pyproject.toml": '[project]\nname = "pack"\nversion = "1.0"\nrequires-python = ">=3.11"\n'
    '[build-system]\nrequires = []\nbuild-backend = "be"\nbackend-path = ["."]\n',
    "be.py": BACKEND,
    "src/pack.py": "import os, sys\n"
    "def main(out=None):\n"
    "    text = f'{WHAT} {os.path.relpath(__file__)} {os.path.realpath(sys.prefix)}\\n'\n"
    "    open(out or sys.argv[1], 'w').write(text)\n"
    "WHAT = 'code'\n",
    "use.py": "import pack, sys; pack.main(sys.argv[1])\n",
    ".gitignore": "/.venv\n/node_modules\n/env.log\nuv.lock\npoetry.lock\nPipfile.lock\npdm.lock\n.pdm-python\n",
}


def stages(**commands: str) -> str:
    lines = (f"  {name}: {{cmd: '{cmd}', deps: [use.py], outs: [{name}.txt]}}\n" for name, cmd in commands.items())
    return "stages:\n" + "".join(lines)


@pytest.fixture(autouse=True)
def _quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No environment is active, and caches are the test's own."""
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    for name in ("UV_CACHE_DIR", "POETRY_CACHE_DIR", "WORKON_HOME", "PIPENV_CACHE_DIR", "HATCH_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "caches" / name))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_PYTHON", str(PYTHON))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def need(tool: str) -> None:
    """Skip where a tool is missing; those of the extra `test` must be there in CI."""
    if shutil.which(tool) is None:
        if os.environ.get("CI") and tool in {"uv", "poetry"}:
            pytest.fail(f"no {tool}: pip install 'dvc-ray[test]'")
        pytest.skip(f"no {tool}")


Twins = Callable[..., tuple[Path, Path]]


@pytest.fixture
def twins(project: Make) -> Twins:
    """The same project twice: for stock, and for ours."""

    def make(dvc_yaml: str, set_up: str = "", files: dict[str, str] | None = None) -> tuple[Path, Path]:
        ours = project({**PROJECT, **(files or {}), "dvc.yaml": dvc_yaml})
        theirs = ours.with_name("theirs")
        subprocess.run(["cp", "-a", str(ours), str(theirs)], check=True)
        for root in (ours, theirs):
            stock.sh(root, set_up)
        return theirs, ours

    return make


def outs(root: Path) -> dict[str, str]:
    return {path.name: path.read_text().replace(str(root), "<root>") for path in sorted(root.glob("*.txt"))}


def state(environment: Path) -> dict[str, tuple[int, str]]:
    """An environment byte for byte, and when it was written; but for what Python compiles."""
    return {
        str(path.relative_to(environment)): (path.lstat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(environment.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def naming(folder: Path, text: str = "/.dvc/tmp/ray") -> list[str]:
    """Files that name a workspace."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and path.suffix != ".pyc")
    return [str(path.relative_to(folder)) for path in found if text.encode() in path.read_bytes()]


def bad_records(environment: Path) -> Iterator[str]:
    """Files that are not what the RECORD of their distribution says."""
    for record in environment.glob("lib/python3*/site-packages/*.dist-info/RECORD"):
        for name, digest, _ in csv.reader(record.read_text().splitlines()):
            data = (record.parents[1] / name).read_bytes() if digest else b""
            text = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            if digest and digest != f"sha256={text}":
                yield name


def in_src(root: Path, environment: Path) -> str:
    return f"code src/pack.py {os.path.realpath(environment)}\n".replace(str(root), "<root>")


# uv


def test_uv_run(twins: Twins, locally: Locally) -> None:
    """Its sync of the project, installed editable, finds nothing to do; the code is the workspace's."""
    need("uv")
    cmd = "uv run python use.py"
    theirs, ours = twins(
        stages(a=f"{cmd} a.txt", b=f"uv run where b.txt", c=f"cd src && uv run python ../use.py ../c.txt"), "uv sync -q"
    )
    before = state(ours / ".venv")
    assert stock.dvc(theirs, "repro") == 0
    assert not locally(ours).failed
    assert outs(ours) == outs(theirs)
    assert outs(ours)["a.txt"] == in_src(ours, ours / ".venv")
    assert state(ours / ".venv") == before
    assert stock.differences(stock.snapshot(theirs), stock.snapshot(ours)) == []


def test_uv_in_a_fresh_clone(twins: Twins, locally: Locally) -> None:
    """The environment is made where it stays."""
    need("uv")
    cmds = {"a": "uv run python use.py a.txt", "b": "uv sync && .venv/bin/where b.txt"}
    for cmd in cmds.items():
        pass
    theirs, ours = twins(stages(**cmds))
    assert stock.dvc(theirs, "repro") == 0
    result = locally(ours)
    assert not result.failed
    assert outs(ours) == outs(theirs)
    assert naming(ours / ".venv") == []
    assert (ours / "uv.lock").exists()
    before = state(ours / ".venv")
    stock.sh(ours, "uv run where again.txt")
    assert (ours / "again.txt").read_text() == (ours / "a.txt").read_text()
    assert state(ours / ".venv") == before
