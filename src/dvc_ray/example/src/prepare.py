"""Split the digits of scikit-learn into training, validation and test."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from src.params import load_params


def main() -> None:
    params = load_params("prepare")
    digits = load_digits()
    images = (digits.images / 16.0).astype("float32")[:, None]
    labels = digits.target.astype("int64")

    def split(images: np.ndarray, labels: np.ndarray, size: float) -> list[np.ndarray]:
        return train_test_split(images, labels, test_size=size, random_state=params["seed"], stratify=labels)

    images, test_images, labels, test_labels = split(images, labels, params["test_size"])
    images, val_images, labels, val_labels = split(images, labels, params["validation_size"])

    folder = Path("data")
    folder.mkdir(exist_ok=True)
    np.savez(folder / "train.npz", images=images, labels=labels)
    np.savez(folder / "val.npz", images=val_images, labels=val_labels)
    np.savez(folder / "test.npz", images=test_images, labels=test_labels)
    print(f"{len(labels)} training, {len(val_labels)} validation, {len(test_labels)} test images", flush=True)


if __name__ == "__main__":
    main()
