"""Accuracy and confusion matrix on images that neither tuning nor training has seen."""

import csv
import json
from pathlib import Path

import torch

from src.config import EVAL_BATCH_SIZE
from src.data import load
from src.model import make_model, predict

RESULTS = Path("results/evaluate")


def main() -> None:
    model = make_model()
    model.load_state_dict(torch.load("model.pth", map_location="cpu", weights_only=True))
    test = load("test")
    predicted, actual = predict(model, test, EVAL_BATCH_SIZE), test.tensors[1]
    score = (predicted == actual).float().mean().item()

    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps({"test_accuracy": round(score, 4)}) + "\n")
    with (RESULTS / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["actual", "predicted"])
        writer.writerows(zip(actual.tolist(), predicted.tolist(), strict=True))
    print(f"test accuracy {score:.3f}", flush=True)


if __name__ == "__main__":
    main()
