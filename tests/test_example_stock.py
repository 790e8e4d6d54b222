"""The example, run by DVC alone: what dvc-ray's own runs of it are compared with."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

import dvc_ray

SOURCE = Path(dvc_ray.__file__).parent
EXAMPLE = SOURCE / "example"
PARAMS = yaml.safe_load((EXAMPLE / "params.yaml").read_text())
PIPELINE = yaml.safe_load((EXAMPLE / "dvc.yaml").read_text())


@pytest.mark.parametrize("stage", PARAMS)
def test_every_parameter_is_declared_and_read_by_its_stage(stage):
    """None of them is decoration: each key is taken out of the stage's parameters by its program."""
    program = (EXAMPLE / f"src/{stage}.py").read_text()
    assert f'load_params("{stage}")' in program
    assert stage in PIPELINE["stages"][stage]["params"]
    for key in PARAMS[stage]:
        assert re.search(rf'(params|config)\["{key}"\]', program), key
    for key in set(re.findall(r'params\["(\w+)"\]', program)):
        assert key in PARAMS[stage], key


def test_the_python_parameter_is_declared_and_read():
    assert {"src/config.py": ["EVAL_BATCH_SIZE"]} in PIPELINE["stages"]["evaluate"]["params"]
    assert "predict(model, test, EVAL_BATCH_SIZE)" in (EXAMPLE / "src/evaluate.py").read_text()


def test_each_stage_depends_on_the_modules_it_imports():
    for name, stage in PIPELINE["stages"].items():
        program = (EXAMPLE / f"src/{name}.py").read_text()
        modules = {f"src/{module}.py" for module in re.findall(r"from src\.(\w+) import", program)}
        missing = modules - set(stage["deps"]) - {"src/config.py"}
        assert not missing, f"{name}: {missing}"
        assert f"src/{name}.py" in stage["deps"]


@pytest.fixture
def project(tmp_path):
    """The example as a Git and DVC project."""
    root = tmp_path / "project"
    shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns("__pycache__"))
    run(root, "git", "init", "-q")
    run(root, "git", "config", "user.email", "a@example.org")
    run(root, "git", "config", "user.name", "a")
    run(root, "dvc", "init", "-q")
    run(root, "git", "add", "-A")
    run(root, "git", "commit", "-qm", "start")
    return root


def run(root: Path, *command: str) -> str:
    """Run a program of this environment, with a short directory for Ray's sockets."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC", "RAY_", "GIT_"))}
    variables = {
        **kept,
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        "PYTHONPATH": str(SOURCE.parent),
        "DVC_NO_ANALYTICS": "1",
    }
    with tempfile.TemporaryDirectory(prefix="dr") as short:
        done = subprocess.run(
            command, cwd=root, env={**variables, "RAY_TMPDIR": short}, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.full
def test_stock_dvc_runs_it_to_the_end(project):
    said = run(project, "dvc", "repro")
    assert json.loads((project / "results/evaluate/metrics.json").read_text())["test_accuracy"] >= 0.95

    trials = rows(project / "results/tune/trial_results.csv")
    assert [int(row["trial"]) for row in trials] == list(range(PARAMS["tune"]["num_samples"]))
    low, high = PARAMS["tune"]["lr"]
    assert all(low <= float(row["lr"]) <= high for row in trials)
    best = max(trials, key=lambda row: float(row["accuracy"]))
    assert yaml.safe_load((project / "best_params.yaml").read_text())["lr"] == float(best["lr"])
    epochs = rows(project / "results/tune/trial_epochs.csv")
    assert len(epochs) == sum(int(row["epoch"]) for row in trials)
    assert min(int(row["epoch"]) for row in trials) < PARAMS["tune"]["num_epochs"], "ASHA stopped none"

    curve = (project / "results/train/plots/metrics/accuracy.tsv").read_text().splitlines()
    assert len(curve) == 1 + PARAMS["train"]["num_epochs"]
    assert said.count("epoch 1:") == 1, "one worker prints, once"
    assert len(rows(project / "results/evaluate/predictions.csv")) == 450
    assert "WARNING" not in said
    assert run(project, "dvc", "status").strip() == "Data and pipelines are up to date."

    plots = json.loads(run(project, "dvc", "plots", "show", "--json"))
    assert {"tune-accuracy-by-epoch", "tune-accuracy-by-lr", "confusion"} <= set(plots["data"])
    assert not plots.get("errors")


@pytest.mark.full
def test_stock_experiments_of_it(project):
    """In the workspace and in a temporary copy, keeping the best parameters."""
    (project / "best_params.yaml").write_text("lr: 0.1\nmomentum: 0.9\n")
    run(project, "git", "add", "-A")
    run(project, "git", "commit", "-qm", "best parameters")
    few = ["-S", "tune.run_tune=false", "-S", "train.num_epochs=2", "-S", "train.num_workers=1"]
    run(project, "dvc", "exp", "run", "-n", "here", *few)
    assert len((project / "results/train/plots/metrics/loss.tsv").read_text().splitlines()) == 3
    run(project, "dvc", "exp", "run", "-n", "aside", "--temp", *few, "-S", "train.global_batch_size=32")
    shown = json.loads(run(project, "dvc", "exp", "show", "--json"))
    experiments = {revision["revs"][0]["name"]: revision["revs"][0]["data"] for revision in shown[1]["experiments"]}
    assert set(experiments) == {"here", "aside"}
    for data in experiments.values():
        assert data["metrics"]["results/evaluate/metrics.json"]["data"]["test_accuracy"] > 0.8
