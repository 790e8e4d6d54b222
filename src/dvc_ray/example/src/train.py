"""Train on several workers with Ray Train: each gets a share of every batch, one logs with DVCLive."""

import logging
import tempfile
from pathlib import Path
from typing import Any

import yaml
from ray.train import Checkpoint, CheckpointConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

import dvc_ray
from src.params import load_params

RAY_SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.05",  # how often it looks for reports; 2 s would slow it
    # Only our own lines are printed, and once.
    "RAY_LOGGER_LEVEL": "error",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}


def train_worker(config: dict[str, Any]) -> None:
    """Run on each worker."""
    import ray.train.torch
    import torch

    from src.data import load
    from src.model import accuracy, make_model, train_epoch

    logging.getLogger().setLevel(logging.WARNING)  # Ray Train logs each report there
    context = ray.train.get_context()
    torch.set_num_threads(1)
    torch.manual_seed(config["seed"])
    model = ray.train.torch.prepare_model(make_model())
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=config["momentum"])
    loader = torch.utils.data.DataLoader(
        load("train"), config["global_batch_size"] // context.get_world_size(), shuffle=True
    )
    loader = ray.train.torch.prepare_data_loader(loader)
    val = load("val")
    with config["live"] as live:
        for epoch in range(config["num_epochs"]):
            if context.get_world_size() > 1:
                loader.sampler.set_epoch(epoch)
            metrics = {"loss": train_epoch(model, loader, optimizer), "accuracy": accuracy(model, val)}
            for name, value in metrics.items():
                live.log_metric(name, value)
            live.next_step()
            report(model, metrics, is_first=context.get_world_rank() == 0)
            if context.get_world_rank() == 0:
                print(f"epoch {epoch + 1}: " + ", ".join(f"{k} {v:.3f}" for k, v in metrics.items()), flush=True)


def report(model: Any, metrics: dict[str, float], *, is_first: bool) -> None:
    """Hand the metrics to Ray Train, and from one worker a checkpoint."""
    import ray.train
    import torch

    if not is_first:
        ray.train.report(metrics)
        return
    bare = getattr(model, "module", model)  # without the wrapper for distributed training
    with tempfile.TemporaryDirectory() as folder:
        torch.save(bare.state_dict(), Path(folder, "model.pth"))
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))


def main() -> None:
    params = load_params("train")
    if params["global_batch_size"] % params["num_workers"]:
        raise SystemExit("train.global_batch_size must be a multiple of train.num_workers.")
    best = yaml.safe_load(Path("best_params.yaml").read_text())
    dvc_ray.init(runtime_env={"env_vars": RAY_SETTINGS})
    trainer = TorchTrainer(
        train_worker,
        # dvc.yaml declares DVCLive's files itself, and DVC saves the experiment.
        train_loop_config={
            **params,
            **best,
            "live": dvc_ray.Live("results/train", dvcyaml=False, save_dvc_exp=False),
        },
        scaling_config=ScalingConfig(num_workers=params["num_workers"], use_gpu=params["use_gpu"]),
        run_config=RunConfig(
            storage_path=dvc_ray.storage_path("train"),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )
    result = trainer.fit()
    dvc_ray.fetch(result, "model.pth")


if __name__ == "__main__":
    main()
