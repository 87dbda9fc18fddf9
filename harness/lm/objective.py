"""What training lowers, and which weights it may change: cross-entropy of the targets, upper layers alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import ConfigError
from harness.lm.backbone import Backbone
from harness.lm.examples import Example

if TYPE_CHECKING:
    import torch


def refuse_unwritable(backbone: Backbone, examples: Sequence[Example]) -> None:
    """Refuse targets that the restricted head has no row for.

    Raises:
        ConfigError: there are some.
    """
    targets = {token for e in examples for start, end in e.spans for token in e.tokens[start:end]}
    missing = [token for token in sorted(targets) if backbone.column_of[token] < 0]
    if missing:
        raise ConfigError(
            "a vocabulary that holds every token to be learned",
            f"one without {backbone.decode(missing[:5])!r} and {max(len(missing) - 5, 0)} others",
            "add them to the vocabulary the backbone is restricted to",
        )


def refuse_longer(backbone: Backbone, tokens: int, what: str) -> None:
    """Refuse a sequence of so many `tokens`, called `what`, where the model has no positions for all of them.

    Raises:
        ConfigError: it has fewer. Models that name no number of positions take any.
    """
    most = getattr(backbone.model.config, "max_position_embeddings", None)
    if most is not None and tokens > most:
        raise ConfigError(
            f"at most {most:,} tokens, which is what the backbone reads (max_position_embeddings)",
            f"{what} of {tokens:,}",
            "lower query_tokens and passage_tokens, or use a backbone with more positions",
        )


def freeze(model: Any, layers: int, embeddings: bool) -> None:
    """Let all weights of a model be trained but its `layers` lowest and, where asked for, its embeddings.

    Raises:
        ConfigError: the model has fewer layers.
    """
    model.requires_grad_(True)
    if embeddings:
        model.get_input_embeddings().requires_grad_(False)
        model.get_output_embeddings().requires_grad_(False)
    stack = layers_of(model) if layers else []
    if layers > len(stack):
        raise ConfigError(
            f"frozen_layers of at most {len(stack)}, the layers of this backbone",
            str(layers),
            "lower frozen_layers in the training settings",
        )
    for layer in stack[:layers]:
        layer.requires_grad_(False)


def layers_of(model: Any) -> Any:
    """Return the stack of transformer layers, lowest first, whatever the architecture calls it.

    Raises:
        ConfigError: the layers form no list.
    """
    import torch

    count = model.config.num_hidden_layers
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return module
    raise ConfigError(
        "a model whose transformer layers form one list", type(model).__name__, "set training.frozen_layers = 0"
    )


def target_loss(backbone: Backbone) -> Any:
    """Wrap the model so that one call gives the summed cross-entropy, in nats, of a `Batch`'s targets."""
    import torch
    from torch.nn import functional

    kept = None if backbone.vocabulary is None else torch.tensor(backbone.vocabulary)
    column_of = torch.tensor(backbone.column_of)

    class TargetLoss(torch.nn.Module):
        # Nothing in it may come from `backbone` of outside: a local class, and all that is bound to it, is freed by the
        # garbage collector alone, in its own time.
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(
            self,
            tokens: torch.Tensor,
            positions: torch.Tensor,
            mask: torch.Tensor,
            at: torch.Tensor,
            labels: torch.Tensor,
        ) -> torch.Tensor:
            out = self.model.base_model(input_ids=tokens, position_ids=positions, attention_mask=mask, use_cache=False)
            hidden = out.last_hidden_state.flatten(0, 1)[at]
            head = self.model.get_output_embeddings()
            rows = slice(None) if kept is None else kept.to(head.weight.device)
            bias = getattr(head, "bias", None)
            logits = functional.linear(hidden, head.weight[rows], None if bias is None else bias[rows])
            return functional.cross_entropy(logits.float(), column_of.to(labels.device)[labels], reduction="sum")

    return TargetLoss(backbone.model)
