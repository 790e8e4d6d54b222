"""Read the data that the stage `prepare` wrote, on whichever node this runs."""

from pathlib import Path

import numpy as np
import torch
from torch.utils.data import TensorDataset

import dvc_ray


def load(part: str) -> TensorDataset:
    """Load ``train``, ``val`` or ``test``."""
    with np.load(Path(dvc_ray.data_path("data"), f"{part}.npz")) as arrays:
        return TensorDataset(torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"]))
