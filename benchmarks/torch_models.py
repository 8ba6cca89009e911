"""The models in PyTorch, with a plain training loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

Step = Callable[[Any, Any], float]  # ids and targets -> loss


def torch_step(
    cell: str,
    embedding: int,
    units: int,
    vocabulary: int,
    device: str = "cpu",
    precision: str = "float32",
) -> Step:
    """A step of a language model on x and y (batch, time), Adam."""
    from torch import nn

    layer = {"lstm": nn.LSTM, "gru": nn.GRU}[cell](embedding, units, batch_first=True)
    network = nn.ModuleList(
        [nn.Embedding(vocabulary, embedding), layer, nn.Linear(units, vocabulary)]
    )

    def loss_of(x: Any, y: Any) -> Any:
        logits = network[2](layer(network[0](x))[0])  # (batch, time, vocabulary)
        return nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())

    return _step(network, loss_of, device, precision)


def torch_classifier_step(
    embedding: int,
    units: int,
    dense: int,
    vocabulary: int,
    device: str = "cpu",
    precision: str = "float32",
) -> Step:
    """A step of the bidirectional classifier on x (batch, time), y (batch, 1). Padding is read as
    well."""
    import torch
    from torch import nn

    layer = nn.LSTM(embedding, units, batch_first=True, bidirectional=True)
    network = nn.ModuleList(
        [
            nn.Embedding(vocabulary, embedding),
            layer,
            nn.Linear(2 * units, dense),
            nn.Linear(dense, 1),
        ]
    )

    def loss_of(x: Any, y: Any) -> Any:
        last = torch.cat(list(layer(network[0](x))[1][0]), 1)  # (batch, 2 units)
        logits = network[3](torch.relu(network[2](last)))
        return nn.functional.binary_cross_entropy_with_logits(logits.float(), y)

    return _step(network, loss_of, device, precision)


def _step(network: Any, loss_of: Callable[[Any, Any], Any], device: str, precision: str) -> Step:
    import torch

    network.to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    lower = precision != "float32"

    def step(x: Any, y: Any) -> float:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16) if lower else nullcontext():
            loss = loss_of(x.to(device), y.to(device))
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
