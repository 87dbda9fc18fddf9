"""Train the tiny model under torchrun and let the first process write its weights; used by test_two_processes.py."""

from __future__ import annotations

import sys

import torch
from safetensors.torch import save_file

from harness.lm.examples import Example
from harness.lm.training import TrainingSettings, train
from tests.e2e.leaving import leave
from tests.lm_models import tiny_llama

EXAMPLES = [
    Example((5, 6, 7, 8, 9), ((3, 5),)),
    Example((9, 3, 4), ((1, 3),)),
    Example((2, 2, 8, 7, 6, 5, 4), ((1, 2), (5, 7))),
]
SETTINGS = TrainingSettings(frozen_layers=1, dtype="float32", batch_tokens=32, row_tokens=8, learning_rate=1e-3)


def main(path: str) -> None:
    torch.set_num_threads(1)
    backbone = tiny_llama()
    train(backbone, EXAMPLES * 6, SETTINGS)
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    size = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    if rank == 0:
        save_file(dict(backbone.model.named_parameters()), path, metadata={"processes": str(size)})


if __name__ == "__main__":
    main(sys.argv[1])
    leave()
