"""The example that ships with the package, as `dvc-ray demo` runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import stock
from tests.helpers.runs import Cli


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("demo") / "my demo"
    done = subprocess.run(
        [sys.executable, "-m", "dvc_ray", "demo", str(root)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert done.stderr == ""
    return root, done.stdout


def states(output: str) -> dict[str, str]:
    return {report["stage"]: report["state"] for report in json.loads(output.splitlines()[-1])["stages"]}


def test_runs_to_the_end(demo: tuple[Path, str]) -> None:
    root, said = demo
    assert json.loads((root / "results/evaluate/metrics.json").read_text())["test_accuracy"] >= 0.95
    assert (root / "model.pth").is_file()
    assert stock.status(root) == {}
    assert stock.sh(root, "git status --porcelain") == ""
    assert "train | " in said, "progress is visible"
    assert "epoch 12" in said
    assert "results/evaluate/metrics.json:test_accuracy" in said
    assert f"cd '{root}'" in said
    assert said.count("dvc-ray repro") == 1
    assert not list((root / ".dvc/tmp/ray/runs").glob("*/work"))


@pytest.mark.full
def test_then_nothing_is_to_do_and_a_train_param_runs_train_and_evaluate_only(demo: tuple[Path, str], cli: Cli) -> None:
    root, _ = demo
    assert states(cli(root, "repro", "--json").stdout) == dict.fromkeys(
        ["prepare", "tune", "train", "evaluate"], "unchanged"
    )
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("num_epochs: 12", "num_epochs: 6"))
    assert states(cli(root, "repro", "--json").stdout) == {
        "prepare": "unchanged",
        "tune": "unchanged",
        "train": "done",
        "evaluate": "done",
    }


def test_a_folder_that_is_in_use_is_refused(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = cli(tmp_path, "demo", str(tmp_path))
    assert done.returncode == 254
    assert "is not an empty directory" in done.stderr


def test_without_torch_one_line_says_what_to_install(tmp_path: Path) -> None:
    hide = "import sys; sys.modules['torch'] = None; import importlib.util as u; f = u.find_spec"
    code = (
        f"{hide}; u.find_spec = lambda name, *a: None if name == 'torch' else f(name, *a)\n"
        "from dvc_ray.cli import main; sys.exit(main(['demo']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 255
    assert done.stderr.splitlines() == [
        "ERROR: the example needs torch",
        "Install what it needs: pip install 'dvc-ray[demo]'",
    ]
