"""The network, one epoch of training, and its accuracy."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make_model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 10),
    )


def train_epoch(model: nn.Module, loader: DataLoader, optimizer: torch.optim.Optimizer) -> float:
    """Go once over the data and return the mean loss."""
    device = next(model.parameters()).device
    model.train()
    total = 0.0
    for images, labels in loader:
        loss = nn.functional.cross_entropy(model(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)


@torch.no_grad()
def predict(model: nn.Module, data: TensorDataset, batch_size: int = 512) -> torch.Tensor:
    device = next(model.parameters()).device
    model.eval()
    batches = (model(images.to(device)).argmax(1).cpu() for images, _ in DataLoader(data, batch_size))
    return torch.cat(list(batches))


def accuracy(model: nn.Module, data: TensorDataset, batch_size: int = 512) -> float:
    return (predict(model, data, batch_size) == data.tensors[1]).float().mean().item()
