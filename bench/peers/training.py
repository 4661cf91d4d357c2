"""What every party runs: a trial that does nothing, and two small networks on scikit-learn's handwritten digits.

No party's code is in here, and PyTorch is imported only by the trainings: a trial that does nothing loads nothing.
"""

import math
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bench.peers.races import HIGHEST_LR, LOWEST_LR, Race, Task

if TYPE_CHECKING:
    import torch

State: TypeAlias = Mapping[str, Any]
"""What a checkpoint of a training holds; for `torch.save`."""
Report: TypeAlias = Callable[[int, float, State | None], None]
"""Takes an epoch's number from 1, the accuracy after it and, where checkpoints are wanted, the state to keep."""

_NUM_TRAINED_ON: Final = 1437
_BATCH_SIZE: Final = 16
_MLP_WIDTH: Final = 512
_CNN_WIDTH: Final = 32


def train(race: Race, lr: float, report: Report, *, num_epochs: int | None = None, device: str = "cpu") -> float:
    """Runs one trial of a race and returns its result, which is the last value that was reported.

    Args:
        race: says what is trained and for how long.
        lr: the learning rate, the one parameter.
        report: called after each epoch.
        num_epochs: in place of the race's.
        device: of PyTorch.
    """
    last = math.nan

    def tell(epoch: int, accuracy: float, state: State | None) -> None:
        nonlocal last
        last = accuracy
        report(epoch, accuracy, state)

    num_epochs = race.num_epochs if num_epochs is None else num_epochs
    match race.task:
        case Task.NO_OP:
            no_op(lr, tell)
        case Task.MLP:
            mlp(lr, tell, num_epochs=num_epochs, device=device)
        case Task.CNN:
            cnn(lr, tell, num_epochs=num_epochs, with_checkpoints=race.with_checkpoints, device=device)
    return last


def draw(dice: random.Random) -> float:
    """Draws a learning rate as every party's random search does, for the parties that have none."""
    return math.exp(dice.uniform(math.log(LOWEST_LR), math.log(HIGHEST_LR)))


def keep(folder: Path, epoch: int, state: State) -> None:
    """Keeps the last two checkpoints of a training in a folder, each whole or not at all; the way by hand."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{epoch % 2}.pt"
    torch.save(state, file.with_suffix(".part"))
    os.replace(file.with_suffix(".part"), file)


def no_op(lr: float, report: Report) -> None:
    """Reports one number, which is the parameter itself."""
    report(1, lr, None)


def mlp(lr: float, report: Report, *, num_epochs: int, device: str = "cpu") -> None:
    """Trains a network of two hidden layers of 512 with Adam and reports after each epoch of 90 steps of 16 images."""
    from torch import nn

    _train(
        lambda: nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, _MLP_WIDTH),
            nn.ReLU(),
            nn.Linear(_MLP_WIDTH, _MLP_WIDTH),
            nn.ReLU(),
            nn.Linear(_MLP_WIDTH, 10),
        ),
        lr,
        report,
        num_epochs=num_epochs,
        with_checkpoints=False,
        device=device,
    )


def cnn(lr: float, report: Report, *, num_epochs: int, with_checkpoints: bool, device: str = "cpu") -> None:
    """Trains the network of examples/digits at its widest; may hand its state over after each epoch."""
    from torch import nn

    _train(
        lambda: nn.Sequential(
            nn.Conv2d(1, _CNN_WIDTH, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(_CNN_WIDTH, 2 * _CNN_WIDTH, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(2 * _CNN_WIDTH * 2 * 2, 10),
        ),
        lr,
        report,
        num_epochs=num_epochs,
        with_checkpoints=with_checkpoints,
        device=device,
    )


def _train(
    make: "Callable[[], torch.nn.Module]",
    lr: float,
    report: Report,
    *,
    num_epochs: int,
    with_checkpoints: bool,
    device: str,
) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    torch.set_num_threads(1)  # two trials at a time on two cores
    torch.manual_seed(0)
    images, labels = _digits(device)
    model = make().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for epoch in range(1, num_epochs + 1):
        model.train()
        for batch in torch.randperm(_NUM_TRAINED_ON).split(_BATCH_SIZE):
            loss = cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            hits = model(images[_NUM_TRAINED_ON:]).argmax(dim=1) == labels[_NUM_TRAINED_ON:]
        state = None
        if with_checkpoints:
            state = {"epoch": epoch, "rng": torch.get_rng_state()}
            state |= {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        report(epoch, float(hits.float().mean()), state)


def _digits(device: str) -> "tuple[torch.Tensor, torch.Tensor]":
    """All images, 1 by 8 by 8, and their labels in one fixed order; each trial reads its own."""
    import torch
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = torch.randperm(len(digits.images), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(digits.images, dtype=torch.float32)[order, None] / 16
    return images.to(device), torch.tensor(digits.target)[order].to(device)
