"""Low-rank adapters (Hu et al. 2022): train a small change to each linear layer in place of its weights.

What is trained, and with it the optimiser's state, shrinks from all weights to a few per cent of them. The change is
added to the weights when the training ends, so what is saved and searched with is a model like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import ConfigError

if TYPE_CHECKING:
    import torch

SCALE = 2.0
"""What the product of the two factors is multiplied by, whatever their rank."""


def adapt(model: Any, layers: Sequence[torch.nn.Module], rank: int) -> None:
    """Put adapters of `rank` into all linear layers within `layers` and let them alone be trained.

    The first factor is drawn from torch's generator, the second is zero: the model computes what it did before.

    Args:
        model: changed in place.
        layers: modules of it.
        rank: columns of the factors.

    Raises:
        ConfigError: there is no linear layer among them.
    """
    import torch
    from peft import LoraConfig, inject_adapter_in_model
    from transformers.pytorch_utils import Conv1D

    linear = (torch.nn.Linear, Conv1D)  # the second is what GPT-2 calls the first
    inside = {part for layer in layers for part in layer.modules() if isinstance(part, linear)}
    names = [name for name, part in model.named_modules() if part in inside]
    if not names:
        raise ConfigError(
            "linear layers above those that are frozen, for adapters",
            f"none in {type(model).__name__}",
            "lower training.frozen_layers, or set training.lora_rank = 0",
        )
    model.requires_grad_(False)
    turned = any(isinstance(part, Conv1D) for part in inside)
    config = LoraConfig(r=rank, lora_alpha=SCALE * rank, target_modules=names, fan_in_fan_out=turned)
    inject_adapter_in_model(config, model)


def merge(model: Any) -> None:
    """Add what adapters have learned to the weights they stand beside, and take them out."""
    from peft.tuners.lora import LoraLayer

    for name, part in list(model.named_modules()):
        if isinstance(part, LoraLayer):
            part.merge()
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, part.get_base_layer())
