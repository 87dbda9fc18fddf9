"""What an interrupted training goes on from: one file, written whole or not at all, the latest alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.atomic import replacing
from harness.lm.examples import Example
from harness.lm.session import Clock

if TYPE_CHECKING:
    import torch

NAME = "checkpoint.safetensors"
_SAMPLED = 64
"""Values of each weight that go into a fingerprint."""

Row = dict[str, float | int | str]
"""One row of the training log."""


@dataclass
class Story:
    """What a training run has done so far.

    steps, tokens: taken and fed. seconds: of the steps alone; evaluation_s: of measuring on dev. rows: the log.
    best_score, best_tokens: the best evaluation and how many tokens had been fed by then; None before there is one.
    """

    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0
    evaluation_s: float = 0.0
    best_score: float | None = None
    best_tokens: int | None = None
    rows: list[Row] = field(default_factory=list)

    def losses_of_ends(self) -> tuple[float, float]:
        """Return the mean loss of the first and of the last tenth of the steps, of which there must be one."""
        losses = [float(row["loss"]) for row in self.rows if "loss" in row]
        tenth = max(1, len(losses) // 10)
        return fmean(losses[:tenth]), fmean(losses[-tenth:])


class Checkpoints:
    """The checkpoint of one training in a folder of its own; the folder is made when the first is written."""

    def __init__(self, folder: Path, fingerprint: str, every_s: float, clock: Clock) -> None:
        """Keep checkpoints of the training called `fingerprint` in `folder`, one every `every_s` seconds of `clock`."""
        self._path = folder / NAME
        self._fingerprint = fingerprint
        self._every_s = every_s
        self._clock = clock
        self._last = clock()

    def load(self) -> dict[str, Any] | None:
        """Return what the last `save` of this training was given; None where there is none, or it is another's."""
        from safetensors import SafetensorError

        try:
            called, state = read(self._path)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None  # a damaged one costs its time, not the training
        return state if called == self._fingerprint else None

    def save_when_due(self, state: Callable[[], Mapping[str, Any]]) -> None:
        """Write what `state` returns (tensors, numbers, texts and containers of them) where it is time for it.

        Raises:
            StorageError: the file system refused.
        """
        if self._clock() - self._last < self._every_s:
            return
        from safetensors.torch import save_file

        tensors: list[torch.Tensor] = []
        told = {"fingerprint": self._fingerprint, "state": _parted(dict(state()), tensors)}
        with replacing(self._path, "the state of the training") as temporary:
            save_file(
                {str(number): tensor for number, tensor in enumerate(tensors)},
                temporary,
                {"checkpoint": json.dumps(told)},
            )
        self._last = self._clock()


def read(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the fingerprint of the training a checkpoint is of, and the state it kept.

    Raises:
        OSError, SafetensorError, KeyError, TypeError, ValueError: the file is absent, damaged or no checkpoint.
    """
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        told = json.loads(file.metadata()["checkpoint"])
        tensors = [file.get_tensor(str(number)) for number in range(len(file.keys()))]
    return told["fingerprint"], _joined(told["state"], tensors)


def _parted(value: Any, tensors: list[torch.Tensor]) -> Any:
    """Turn nested dicts and lists into what JSON holds: the tensors in them go to `tensors`, their places stay."""
    import torch

    if isinstance(value, torch.Tensor):
        tensors.append(value.detach().cpu().contiguous().clone())  # no two may share memory in the file
        return {"tensor": len(tensors) - 1}
    if isinstance(value, Mapping):  # the keys of an optimiser's state are numbers, which JSON has not
        return {"pairs": [[key, _parted(part, tensors)] for key, part in value.items()]}
    if isinstance(value, list | tuple):
        return [_parted(part, tensors) for part in value]
    return value


def _joined(value: Any, tensors: Sequence[torch.Tensor]) -> Any:
    """Undo `_parted`; tuples come back as lists."""
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        return {key: _joined(part, tensors) for key, part in value["pairs"]}
    return [_joined(part, tensors) for part in value] if isinstance(value, list) else value


def fingerprint(model: Any, examples: Sequence[Example], facts: Mapping[str, Any]) -> str:
    """Digest what decides the weights a training ends in: the examples in order, the weights it starts from, `facts`.

    Of each weight, its name, shape and evenly spaced values count; all of them would take as long as many steps.
    """
    digest = hashlib.sha256(json.dumps(dict(facts), sort_keys=True, default=str).encode())
    for example in examples:
        for part in (example.tokens, example.spans):
            numbers = np.asarray(part, dtype=np.int64)
            digest.update(np.int64(numbers.size).tobytes() + numbers.tobytes())
    for name, weight in model.named_parameters():
        values = weight.detach().flatten()
        sampled = values[:: max(1, len(values) // _SAMPLED)].float().cpu().numpy()
        digest.update(f"{name} {tuple(weight.shape)}".encode() + sampled.tobytes())
    return digest.hexdigest()


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the state of torch's generators, of the processor and of `device`."""
    import torch

    gpu = {"gpu": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state(), **gpu}


def restore_random_state(state: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Set the generators back to what `random_state` returned."""
    import torch

    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "gpu" in state:  # one of a processor's training goes on as if it had just begun
        torch.cuda.set_rng_state(state["gpu"], device)
