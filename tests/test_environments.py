"""Stages with a Python environment of their own, by `runtime_env`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from dvc_ray.values.report import Notice
from dvc_ray.values.stage import StageState
from tests.helpers.projects import Make
from tests.helpers.results import report
from tests.helpers.runs import Cli, Repro


def one(cmd: str, runtime_env: str) -> str:
    return (
        f"stages:\n  one:\n    cmd: {cmd}\n    outs: [out.txt]\n    meta: {{ray: {{runtime_env: {{{runtime_env}}}}}}}\n"
    )


def environment(folder: Path, *, with_dvc_ray: bool) -> Path:
    """Make a virtual environment with the packages of this one; without what is installed editable, if so wanted."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    here = sysconfig.get_path("purelib")
    line = f"import site; site.addsitedir({here!r})" if with_dvc_ray else here
    (folder / f"lib/python{sysconfig.get_python_version()}/site-packages/others.pth").write_text(line)
    return folder


def test_an_image_does_not_see_the_project(project: Make, cli: Cli) -> None:
    done = cli(project({"dvc.yaml": one("echo > out.txt", "image_uri: some/image")}), "repro")
    assert done.returncode == 255
    assert "stage 'one' failed: its runtime_env names an image: Ray gives a container nothing of this" in done.stderr
    assert "container: {image: IMAGE, run_options: [" in done.stderr


def test_an_environment_without_dvc_ray(project: Make, repro: Repro, tmp_path: Path) -> None:
    """To try again would not bring it."""
    python = environment(tmp_path / "other", with_dvc_ray=False) / "bin/python"
    found = report(repro(project({"dvc.yaml": one("echo > out.txt", f"py_executable: {python}")})), "one")
    assert found.state is StageState.FAILED
    assert "its environment lacks a package: ModuleNotFoundError: No module named 'dvc_ray'" in found.error
    assert "needs dvc-ray too" in found.error
    assert not any("trying again" in event.text for event in repro.events if isinstance(event, Notice))


def test_a_python_of_its_own(project: Make, cli: Cli, tmp_path: Path, on_shared_ray: dict[str, str]) -> None:
    other = environment(tmp_path / "other", with_dvc_ray=True)
    cmd = "command -v python > out.txt; echo $VIRTUAL_ENV >> out.txt"
    root = project({"dvc.yaml": one(cmd, f"py_executable: {other}/bin/python")})
    done = cli(root, "repro", env=on_shared_ray)
    assert done.returncode == 0, done.stderr
    assert (root / "out.txt").read_text().splitlines() == [f"{other}/bin/python", str(other)]


@pytest.mark.full
@pytest.mark.parametrize("kind", ["pip", "uv"])
def test_packages_on_top(project: Make, cli: Cli, tmp_path: Path, kind: str) -> None:
    """It takes Ray a while, which is said."""
    wheel = a_wheel(tmp_path)
    cmd = "python -c 'import thing; print(thing.NAME)' > out.txt"
    root = project({"dvc.yaml": one(cmd, f"{kind}: [{wheel}]")})
    done = cli(root, "repro")
    assert done.returncode == 0, done.stderr
    assert "one: waiting for Ray to set up its runtime_env" in done.stdout
    assert (root / "out.txt").read_text() == "a thing\n"


def a_wheel(folder: Path) -> Path:
    made = folder / "thing-1.0-py3-none-any.whl"
    about = "thing-1.0.dist-info"
    files = {
        "thing.py": "NAME = 'a thing'\n",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(made, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return made


@pytest.mark.full
def test_an_environment_of_conda(project: Make, cli: Cli, tmp_path: Path) -> None:
    """The command finds it activated: what conda sets, and what its packages set."""
    home = os.environ.get("RAY_CONDA_HOME")
    conda = f"{home}/bin/conda" if home else shutil.which("conda")
    if conda is None:
        pytest.skip("no conda: install Miniforge, or name its folder in RAY_CONDA_HOME")
    envs = {"CONDA_ENVS_DIRS": str(tmp_path)}
    made = tmp_path / "made"
    create = ("create", "--offline", "--yes", "--quiet", "--name", made.name)
    subprocess.run([conda, *create], env={**os.environ, **envs}, check=True)
    environment(made, with_dvc_ray=True)  # for want of a channel with Python in it
    (made / "etc/conda/activate.d").mkdir(parents=True)
    (made / "etc/conda/activate.d/package.sh").write_text("export OF_A_PACKAGE=yes\n")
    cmd = "command -v python > out.txt; echo $CONDA_PREFIX $OF_A_PACKAGE >> out.txt"
    root = project({"dvc.yaml": one(cmd, f"conda: {made.name}")})
    done = cli(root, "repro", env=envs)
    assert done.returncode == 0, done.stderr
    assert (root / "out.txt").read_text().splitlines() == [f"{made}/bin/python", f"{made} yes"]
