from __future__ import annotations

import inspect
import json
import os
import pickle
import sys
from pathlib import Path

import dvclive
import pytest
import yaml

import dvc_ray
from dvc_ray import env
from dvc_ray.errors import LiveError
from dvc_ray.live import live as live_module
from dvc_ray.live import tune
from dvc_ray.live.live import Live, _Role
from dvc_ray.live.noop import NoopLive
from dvc_ray.live.stage_live import StageLive
from dvc_ray.ray_api import kv, sessions


def log(live) -> None:
    with live:
        for step in range(2):
            live.log_metric("loss", 1.0 / (step + 1))
            live.log_metric("train/accuracy", step)
            live.next_step()
        live.log_param("lr", 0.1)
        live.summary["best"] = 3


def tree(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file() and ".dvc" not in path.parts]
    return {path.relative_to(root).as_posix(): path.read_text() for path in files if path.name != ".gitignore"}


@pytest.fixture
def stage(write):
    """A stage's directory as dvc-ray's worker makes it: DVC without Git."""
    return write({".dvc/config": "[core]\n\tno_scm = True\n", "dvc.yaml": "stages: {}\n", "notes.md": ""})


@pytest.fixture
def role(monkeypatch):
    def play(name: str, *, logs: bool) -> None:
        monkeypatch.setattr(live_module, "_role", lambda: _Role(name, logs, is_trial="_" in name))

    return play


def test_in_a_plain_script_it_is_dvclive(stage, monkeypatch, tmp_path):
    monkeypatch.chdir(stage)
    log(dvclive.Live("plain", save_dvc_exp=False, dvcyaml=False))
    log(dvc_ray.Live("ours", save_dvc_exp=False, dvcyaml=False))
    files = tree(stage)
    plain = {name.removeprefix("plain/"): text for name, text in files.items() if name.startswith("plain/")}
    ours = {name.removeprefix("ours/"): text for name, text in files.items() if name.startswith("ours/")}
    assert plain == ours
    assert json.loads(ours["metrics.json"]) == {"loss": 0.5, "train": {"accuracy": 1}, "best": 3, "step": 1}


def test_from_another_directory_the_stage_gets_the_same_files(stage, monkeypatch, tmp_path):
    """Metrics, plots and dvc.yaml as a plain Live in the stage's own directory leaves them."""
    monkeypatch.setenv(env.DVC_ROOT, str(stage))
    monkeypatch.setenv(env.STAGE_DIR, str(stage))
    monkeypatch.chdir(stage)
    log(dvclive.Live("results", save_dvc_exp=False))
    expected = tree(stage)
    (tmp_path / "worker").mkdir()
    (stage / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path / "worker")
    log(dvc_ray.Live("results", save_dvc_exp=False))
    assert tree(stage) == expected
    assert list((tmp_path / "worker").iterdir()) == []
    assert yaml.safe_load(expected["dvc.yaml"])["metrics"] == ["results/metrics.json"]
    assert Path.cwd() == tmp_path / "worker"


def test_inside_an_experiment_without_git_nothing_is_said(stage, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv(env.DVC_ROOT, str(stage))
    monkeypatch.setenv(env.STAGE_DIR, str(stage))
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "0" * 40)
    monkeypatch.setenv("DVC_EXP_NAME", "lucky-cat")
    monkeypatch.chdir(tmp_path)
    log(dvc_ray.Live("results"))
    assert caplog.records == []
    assert (stage / "results/metrics.json").is_file()


def test_an_artifact_of_the_stage_is_found_from_another_directory(stage, monkeypatch, tmp_path):
    monkeypatch.setenv(env.STAGE_DIR, str(stage))
    monkeypatch.chdir(tmp_path)
    (stage / "model.pth").write_text("weights")
    with dvc_ray.Live("results", save_dvc_exp=False) as live:
        live.log_artifact("model.pth", type="model", name="digits", cache=False)
    artifacts = yaml.safe_load((stage / "dvc.yaml").read_text())["artifacts"]
    assert artifacts == {"digits": {"path": "model.pth", "type": "model"}}


def test_nothing_happens_before_the_first_use(stage, monkeypatch):
    monkeypatch.chdir(stage)
    live = dvc_ray.Live("results", save_dvc_exp=False)
    assert not (stage / "results").exists()
    live.step = 5
    assert live.step == 5
    assert isinstance(live._live(), StageLive)
    assert (stage / "results").is_dir()


def test_another_rank_writes_nothing(stage, monkeypatch, role):
    monkeypatch.chdir(stage)
    role("rank 1", logs=False)
    before = tree(stage)
    live = dvc_ray.Live("results", resume=False)
    log(live)
    assert tree(stage) == before
    assert live.step == 2
    assert live.summary == {"loss": 0.5, "train": {"accuracy": 1}, "best": 3}
    assert live.make_report() is None


def test_the_silent_one_has_all_that_dvclive_has():
    names = {name for name, _ in inspect.getmembers(dvclive.Live) if not name.startswith("_")}
    parameters = inspect.signature(dvclive.Live).parameters
    silent = NoopLive("dvclive", **{name: None for name in parameters if name not in {"self", "dir"}})
    real_properties = {n for n in names if isinstance(inspect.getattr_static(dvclive.Live, n), property)}
    for name in names:
        assert callable(getattr(silent, name)) == (name not in real_properties), name
    with pytest.raises(AttributeError):
        _ = silent._step


def test_pickled_it_opens_where_it_arrives(stage, monkeypatch, tmp_path):
    monkeypatch.chdir(stage)
    data = pickle.dumps(dvc_ray.Live("results", save_dvc_exp=False, dvcyaml=False))
    monkeypatch.chdir(tmp_path)
    log(pickle.loads(data))  # noqa: S301
    assert (stage / "results/metrics.json").is_file()


def test_a_live_in_use_stays_where_it_is(stage, monkeypatch):
    monkeypatch.chdir(stage)
    live = dvc_ray.Live("results", save_dvc_exp=False, dvcyaml=False)
    live.log_metric("loss", 1)
    with pytest.raises(LiveError, match="already logs here"):
        pickle.dumps(live)


def test_the_copy_that_tune_sends_back_with_a_report_is_silent(stage, monkeypatch, role):
    monkeypatch.chdir(stage)
    role("ab_00000", logs=True)
    live = dvc_ray.Live("results", save_dvc_exp=False, dvcyaml=False)
    live.log_metric("loss", 1)
    copy = pickle.loads(pickle.dumps(live))  # noqa: S301
    assert isinstance(copy._live(), NoopLive)
    assert isinstance(live._live(), StageLive)


def test_made_in_a_silent_trial_it_is_silent_in_the_trials_own_workers(stage, monkeypatch, role):
    monkeypatch.chdir(stage)
    role("ab_00001", logs=False)
    data = pickle.dumps(dvc_ray.Live("results"))
    role("rank 0", logs=True)
    log(pickle.loads(data))  # noqa: S301
    assert not (stage / "results").exists()


def test_a_worker_used_again_for_another_trial_changes_its_role(stage, monkeypatch, role):
    monkeypatch.chdir(stage)
    live = dvc_ray.Live("results", save_dvc_exp=False, dvcyaml=False)
    role("ab_00000", logs=True)
    live.log_metric("loss", 1)
    live.next_step()
    role("ab_00002", logs=False)
    live.log_metric("loss", 2)
    live.next_step()
    assert json.loads((stage / "results/metrics.json").read_text())["loss"] == 1


def test_a_worker_that_does_not_know_the_stage_says_so(monkeypatch, role):
    monkeypatch.setattr("dvc_ray.live.session.in_ray_worker", lambda: True)
    role("rank 0", logs=True)
    with pytest.raises(LiveError, match="does not know the stage's directory") as caught:
        Live().log_metric("loss", 1)
    assert "dvc_ray.init()" in caught.value.hint


def test_a_node_without_the_stages_directory_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv(env.STAGE_DIR, str(tmp_path / "elsewhere"))
    with pytest.raises(LiveError, match="not on this node"):
        Live().log_metric("loss", 1)


@pytest.mark.parametrize(
    ("trial", "first"),
    [("1a2b3_00000", True), ("1a2b3_00001", False), ("x_100000", False), ("a_b_00000", True)],
)
def test_the_first_trial_of_a_search_logs(trial, first):
    assert tune.is_first_trial(trial) is first


def test_without_ray_nothing_of_ray_is_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    assert live_module._role() == _Role("program", logs=True)
    assert "ray" not in sys.modules
    assert os.environ.get(env.STAGE_DIR) is None


def test_a_trial_without_a_number_asks_the_cluster_once(monkeypatch):
    """Live asks for its role at each use."""
    there: dict[str, str] = {}
    calls = []

    def put(key, value, **_):
        calls.append(key)
        there.setdefault(key, value)

    monkeypatch.setattr(sessions, "session", lambda: sessions.Session(trial="", experiment="search"))
    monkeypatch.setattr(kv, "put", put)
    monkeypatch.setattr(kv, "get", there.get)
    tune._claim_in.cache_clear()
    assert [tune.is_first_trial(trial) for trial in ("abc", "def", "abc", "def")] == [True, False, True, False]
    assert len(calls) == 2
    tune._claim_in.cache_clear()
