"""A second face of a model for searching: same weights, own settings, matrices laid out for the processor.

PyTorch multiplies with a matrix as it lies and lays it out anew each time, which is most of the work when only few
tokens are fed. oneDNN takes a matrix laid out once. That costs its size again in memory, so it is done for float32 on
processors alone, where a step waits for the weights' way from memory.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def can_pack(weight: torch.Tensor) -> bool:
    """Say whether a matrix can be laid out once and for all here."""
    import torch

    return bool(
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )


def pack(weight: torch.Tensor) -> torch.Tensor:
    """Lay a (out, in) matrix out for `multiply`."""
    import torch

    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), None)
    return packed


def multiply(states: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return states times the transposed matrix, plus the bias: what `torch.nn.functional.linear` does."""
    import torch

    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(states, packed, bias, "none", [], "")
    return product


def face(model: Any, attention: str) -> Any:
    """Return a copy of `model` that shares its weights, uses the attention function `attention`, and packs matrices."""
    import torch

    shared = {id(part): part for part in (*model.parameters(), *model.buffers())}
    other = copy.deepcopy(model, shared)
    other.config._attn_implementation = attention
    for module in list(other.modules()):
        for name, child in module.named_children():
            if type(child) is torch.nn.Linear and can_pack(child.weight):
                setattr(module, name, _packed_linear(child))
    return other.eval()


def _packed_linear(layer: Any) -> Any:
    import torch

    class PackedLinear(torch.nn.Module):
        """`torch.nn.Linear` over a packed matrix, for inference alone."""

        def __init__(self) -> None:
            super().__init__()
            self.packed = pack(layer.weight)
            self.weight = layer.weight  # shared, not copied: adapters ask for its number type
            self.bias = None if layer.bias is None else layer.bias.detach()
            self.in_features, self.out_features = layer.in_features, layer.out_features

        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return multiply(states, self.packed, self.bias)

    return PackedLinear()
