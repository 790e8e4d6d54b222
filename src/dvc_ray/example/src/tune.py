"""Search learning rate and momentum with Ray Tune: bad trials are stopped early by ASHA."""

import csv
import os
import sys
from pathlib import Path
from typing import Any

# Before Ray is imported: `Progress` prints what a reader wants to know, not Ray's own table of trials.
os.environ["RAY_AIR_NEW_OUTPUT"] = "0"

import yaml
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import BasicVariantGenerator

import dvc_ray
from src.params import load_params

BEST = Path("best_params.yaml")
RESULTS = Path("results/tune")


def trial(config: dict[str, Any]) -> None:
    """Train one network and report after each epoch. Runs on a worker of Ray."""
    import torch

    from src.data import load
    from src.model import accuracy, make_model, train_epoch

    torch.set_num_threads(1)
    torch.manual_seed(config["seed"])
    model = make_model().to("cuda" if config["use_gpu"] else "cpu")
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=config["momentum"])
    train, val = load("train"), load("val")
    loader = torch.utils.data.DataLoader(train, config["batch_size"], shuffle=True)
    for epoch in range(config["num_epochs"]):
        loss = train_epoch(model, loader, optimizer)
        tune.report({"epoch": epoch + 1, "loss": loss, "accuracy": accuracy(model, val)})


def number_of(trial: Any) -> int:
    """Tune's ids are a random part and a number: 1a2b3_00004."""
    return int(trial.trial_id.rpartition("_")[2])


class Progress(tune.Callback):
    """Keep every epoch of every trial, and print a line when a trial ends."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []

    def rows(self, number: int) -> list[dict[str, Any]]:
        """Give the epochs of one trial."""
        return [row for row in self.epochs if row["trial"] == number]

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **_: Any) -> None:
        """Take down one epoch."""
        chosen = {name: trial.config[name] for name in ("lr", "momentum")}
        measured = {name: result[name] for name in ("epoch", "loss", "accuracy")}
        self.epochs.append({"trial": number_of(trial), **chosen, **measured})

    def on_trial_complete(self, *, trial: Any, **_: Any) -> None:
        """Tell how it went."""
        last = self.rows(number_of(trial))[-1]
        print(
            f"trial {last['trial']}: lr {last['lr']:.4f}, momentum {last['momentum']:.2f}: "
            f"accuracy {last['accuracy']:.3f} after {last['epoch']} epochs",
            flush=True,
        )


def search(params: dict[str, Any]) -> Progress:
    low, high = params["lr"]
    space = {
        **{name: params[name] for name in ("batch_size", "num_epochs", "seed", "use_gpu")},
        "lr": tune.loguniform(low, high),
        "momentum": tune.uniform(*params["momentum"]),
    }
    progress = Progress()
    resources = {"cpu": params["cpus_per_trial"], "gpu": int(params["use_gpu"])}
    results = tune.Tuner(
        tune.with_resources(trial, resources),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=params["num_samples"],
            search_alg=BasicVariantGenerator(max_concurrent=params["max_concurrent"], random_state=params["seed"]),
            scheduler=ASHAScheduler(
                max_t=params["num_epochs"],
                grace_period=params["grace_period"],
                reduction_factor=params["reduction_factor"],
            ),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(storage_path=dvc_ray.storage_path("tune"), verbose=0, callbacks=[progress]),
    ).fit()
    if results.errors:
        raise results.errors[0]
    return progress


def write_csv(name: str, rows: list[dict[str, Any]]) -> None:
    with (RESULTS / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    params = load_params("tune")
    RESULTS.mkdir(parents=True, exist_ok=True)
    if not params["run_tune"]:
        if not BEST.exists():
            sys.exit("There are no best parameters to keep: run once with `tune.run_tune: true` in params.yaml.")
        print(f"Kept {BEST}: {BEST.read_text().strip()}", flush=True)
        return
    dvc_ray.init(log_to_driver=False)
    progress = search(params)
    ends = [progress.rows(name)[-1] for name in sorted({row["trial"] for row in progress.epochs})]
    best = max(ends, key=lambda row: row["accuracy"])
    write_csv("trial_epochs.csv", progress.epochs)
    write_csv("trial_results.csv", ends)
    BEST.write_text(yaml.safe_dump({name: best[name] for name in ("lr", "momentum")}))
    print(f"best: lr {best['lr']:.4f}, momentum {best['momentum']:.2f}", flush=True)


if __name__ == "__main__":
    main()
