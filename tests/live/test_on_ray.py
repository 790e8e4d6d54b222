"""A stage's own driver, run as DVC runs it, with real workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dvc_ray import env

PROBE = """
    import importlib, json, os, sys
    import dvc_ray

    def probe(modules):
        {body}

    def main(modules, **options):
        import ray
        for _ in range(2):
            dvc_ray.init(**options)
        seen = ray.get(ray.remote(num_cpus=1)(probe).remote(modules))
        print(json.dumps({{"worker": seen, "storage": dvc_ray.storage_path("x")}}))
""".format(
    body="""walked = [os.path.join(d, f)[2:] for d, _, names in os.walk(".") for f in names]
        files = sorted(name for name in walked if "pyc" not in name)
        dvc_ray.init()
        return {
            "names": [importlib.import_module(name).NAME for name in modules],
            "files": files,
            "data": open(dvc_ray.data_path("data.bin")).read(),
            "storage": dvc_ray.storage_path("x"),
            "variables": {k: v for k, v in os.environ.items() if k.startswith(("DVC", "MINE"))},
        }"""
)


def test_run_by_dvc_ray_with_a_wdir(write, drive, cluster, tmp_path):
    """Situation a: a bare workspace, the script in the stage's wdir with a module beside it."""
    root = write(
        {
            "steps/probe.py": PROBE,
            "steps/helper.py": "NAME = 'helper'",
            "pkg/mod.py": "NAME = 'mod'",
            "steps/run.py": """
                import probe
                probe.main(["helper", "pkg.mod"], num_cpus=1, runtime_env={"env_vars": {"MINE": "1"}})
            """,
            "steps/data.bin": "data",
            ".dvc/config": "",
        }
    )
    code = ["steps/probe.py", "steps/helper.py", "pkg/mod.py", "steps/run.py"]
    (tmp_path / "list").write_text("\n".join(code))
    variables = {
        env.DVC_ROOT: str(root),
        env.DVC_STAGE: "train",
        env.STAGE_DIR: str(root / "steps"),
        env.STORAGE: str(tmp_path / "storage"),
        env.CODE_LIST: str(tmp_path / "list"),
        "DVC_STUDIO_TOKEN": "not for the dashboard",
    }
    seen = drive(root / "steps", "run.py", **cluster, **variables)
    worker = seen["worker"]
    assert worker["names"] == ["helper", "mod"]
    assert worker["files"] == sorted(code)
    assert worker["data"] == "data"
    assert worker["storage"] == seen["storage"] == f"{tmp_path}/storage/x"
    handed_on = {name: value for name, value in variables.items() if "TOKEN" not in name}
    assert worker["variables"] == {**handed_on, "MINE": "1"}


def test_run_by_stock_dvc_in_a_temporary_copy(write, drive, cluster, git, tmp_path):
    """Situation b: Git tells what is code, DVC_ROOT names another directory; `python src/run.py`."""
    root = write(
        {
            "src/probe.py": PROBE,
            "src/model.py": "NAME = 'model'",
            "src/run.py": "import probe, model; probe.main(['model'])",
            "data.bin": "data",
            ".gitignore": "data.bin",
            ".dvc/config": "",
        }
    )
    git(root, "init", "-q")
    seen = drive(root, "src/run.py", **cluster, DVC_ROOT=str(tmp_path / "main"), DVC_STAGE="train")
    worker = seen["worker"]
    assert worker["names"] == ["model"]
    assert worker["files"] == ["src/model.py", "src/probe.py", "src/run.py"]
    assert worker["data"] == "data"
    assert worker["storage"] == seen["storage"]
    assert worker["storage"].startswith(f"{root}/.dvc/tmp/ray/storage/")
    assert worker["variables"][env.DVC_ROOT] == str(tmp_path / "main")
    assert worker["variables"][env.STAGE_DIR] == str(root)


BY_HAND = {
    "probe.py": PROBE,
    "model.py": "NAME = 'model'",
    "data.bin": "data",
}


def test_run_by_hand_without_git_or_dvc(write, drive, cluster):
    """Situation c: DVCLive on a worker must not be told that DVC runs it."""
    root = write({**BY_HAND, "run.py": "import probe; probe.main(['model'])"})
    (root / "big.bin").write_bytes(b"0" * 2_000_000)
    seen = drive(root, "run.py", **cluster, TMPDIR=str(root.parent))
    worker = seen["worker"]
    assert worker["names"] == ["model"]
    assert worker["files"] == ["data.bin", "model.py", "probe.py", "run.py"]
    assert set(worker["variables"]) == {env.STAGE_DIR, env.STORAGE}
    assert worker["storage"] == seen["storage"]
    assert Path(worker["storage"]).is_relative_to(root.parent)
    assert not list(root.parent.glob("dvc-ray-code-*"))


@pytest.mark.full
def test_without_a_cluster_ray_is_started(write, drive, short_dir):
    options = f"num_cpus=1, _temp_dir={str(short_dir / 'c')!r}"
    root = write({**BY_HAND, "run.py": f"import probe; probe.main(['model'], {options})"})
    assert drive(root, "run.py")["worker"]["names"] == ["model"]


def test_live_logs_on_rank_0_of_ray_train_and_its_checkpoint_comes_home(write, drive, cluster, tmp_path):
    root = write(
        {
            ".dvc/config": "[core]\n\tno_scm = True\n",
            "run.py": """
                import json, os, tempfile
                import dvc_ray
                from ray.train import Checkpoint, RunConfig, ScalingConfig
                from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

                def train(config):
                    import ray.train
                    rank = ray.train.get_context().get_world_rank()
                    with config["live"] as live, dvc_ray.Live("second", dvcyaml=False) as second:
                        for epoch in range(2):
                            live.log_metric("loss", rank + epoch)
                            second.log_metric("rank", rank)
                            live.next_step()
                        kind = type(live._live()).__name__
                    with tempfile.TemporaryDirectory() as folder:
                        open(os.path.join(folder, "model.txt"), "w").write(f"{rank} {kind}")
                        open(os.path.join(folder, f"rank{rank}"), "w").write(kind)
                        ray.train.report({}, checkpoint=Checkpoint.from_directory(folder))

                dvc_ray.init(runtime_env={"env_vars": {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1"}})
                result = DataParallelTrainer(
                    train,
                    train_loop_config={"live": dvc_ray.Live("results", dvcyaml=False)},
                    scaling_config=ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1}),
                    run_config=RunConfig(storage_path=dvc_ray.storage_path("train")),
                ).fit()
                print(json.dumps([open(dvc_ray.fetch(result, f"rank{rank}")).read() for rank in (0, 1)]))
            """,
        }
    )
    variables = {env.DVC_ROOT: str(root), env.DVC_STAGE: "train", env.STORAGE: str(tmp_path / "storage")}
    kinds = drive(root, "run.py", **cluster, **variables)
    assert kinds == ["StageLive", "NoopLive"]
    assert json.loads((root / "results/metrics.json").read_text()) == {"loss": 1, "step": 1}
    assert (root / "results/plots/metrics/loss.tsv").read_text() == "step\tloss\n0\t0\n1\t1\n"
    assert json.loads((root / "second/metrics.json").read_text()) == {"rank": 0}
    assert (tmp_path / "storage/train").is_dir()


def test_live_logs_in_the_first_trial_of_ray_tune(write, drive, cluster, tmp_path):
    root = write(
        {
            ".dvc/config": "[core]\n\tno_scm = True\n",
            "run.py": """
                import json, os
                os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
                import dvc_ray
                from ray import tune

                def trial(config):
                    with config["live"] as live:
                        live.log_metric("x", config["x"])
                        live.next_step()
                        tune.report({"kind": type(live._live()).__name__, "pid": os.getpid()})

                dvc_ray.init(log_to_driver=False)
                results = tune.Tuner(
                    tune.with_resources(trial, {"cpu": 1}),
                    param_space={
                        "x": tune.grid_search([10, 11, 12]),
                        "live": dvc_ray.Live("results", dvcyaml=False),
                    },
                    tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=1),
                    run_config=tune.RunConfig(storage_path=dvc_ray.storage_path("tune"), verbose=0),
                ).fit()
                print(json.dumps([(r.metrics["kind"], r.metrics["pid"]) for r in results]))
            """,
        }
    )
    variables = {env.DVC_ROOT: str(root), env.DVC_STAGE: "tune", env.STORAGE: str(tmp_path / "storage")}
    seen = drive(root, "run.py", **cluster, **variables)
    assert [kind for kind, _ in seen] == ["StageLive", "NoopLive", "NoopLive"]
    assert len({pid for _, pid in seen}) == 1, "one worker for all trials: the case that could go wrong"
    assert json.loads((root / "results/metrics.json").read_text()) == {"x": 10, "step": 0}
