"""The steps of one training: what each does to the weights, and all that has to be kept to go on from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from harness.errors import ConfigError
from harness.lm import lora
from harness.lm.backbone import Backbone, resolve_dtype, still
from harness.lm.batches import Rows, share, size_of
from harness.lm.checkpoint import Row, Story, fingerprint, random_state, restore_random_state
from harness.lm.examples import Example
from harness.lm.objective import freeze, layers_of, target_loss
from harness.lm.processes import PATIENCE
from harness.lm.session import Clock
from harness.progress import Progress

if TYPE_CHECKING:
    import torch

    from harness.lm.training import Evaluation, TrainingSettings

_WHOLE_MODELS = ("NO", "MULTI_")
"""How the names of accelerate's ways begin in which each process holds the whole model, as this loop needs."""


class Training:
    """One training under way; `train` calls begin once, step for each batch, evaluate between steps, and end once."""

    def __init__(
        self,
        backbone: Backbone,
        settings: TrainingSettings,
        steps: int,
        seed: int,
        clock: Clock,
    ) -> None:
        """Prepare the first of so many `steps`.

        Raises:
            ConfigError: the processes would share weights or optimiser between them, or too many layers are frozen.
        """
        import torch
        from accelerate import Accelerator, InitProcessGroupKwargs
        from transformers import get_cosine_schedule_with_warmup

        torch.manual_seed(seed)
        self._backbone, self._settings, self._clock = backbone, settings, clock
        self._accelerator = Accelerator(
            cpu=backbone.device.type == "cpu", kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)]
        )
        _refuse_parted(self._accelerator.distributed_type.name)
        self._came_in = backbone.model.dtype
        self._computing = resolve_dtype(settings.dtype)
        backbone.model.float()
        freeze(backbone.model, settings.frozen_layers, settings.freeze_embeddings)
        if settings.lora_rank:
            lora.adapt(backbone.model, layers_of(backbone.model)[settings.frozen_layers :], settings.lora_rank)
        self._trained = {name: p for name, p in backbone.model.named_parameters() if p.requires_grad}
        optimizer = torch.optim.AdamW(
            list(self._trained.values()), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self._schedule = get_cosine_schedule_with_warmup(optimizer, round(settings.warmup * steps), steps)
        self._module, self._optimizer = self._accelerator.prepare(target_loss(backbone), optimizer)
        self._module.train()
        self._best: dict[str, torch.Tensor] = {}
        self.story = Story()
        self.earlier_s = 0.0
        self.is_main = self._accelerator.is_main_process

    def fingerprint(self, examples: Sequence[Example], facts: Mapping[str, Any]) -> str:
        """Tell this training, over `examples` and with `facts`, from any that would end in other weights."""
        backbone = self._backbone
        settings = self._settings.model_dump(mode="json", exclude={"checkpoint_s"})
        own = {
            "settings": settings,
            "computing": self._computing,
            "processes": self._accelerator.num_processes,
            "vocabulary": None if backbone.vocabulary is None else backbone.vocabulary.tolist(),
            "config": backbone.model.config.to_dict(),
        }
        return fingerprint(backbone.model, examples, {**own, **facts})

    def begin(self, state: dict[str, Any] | None, tokens: int, progress: Progress) -> None:
        """Tell that `tokens` will be fed; go on from what `state` returned, if anything."""
        if state is None:
            progress.phase("train", tokens, "tokens")
            return
        self._write(state["weights"])
        self._best = state["best"]
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        restore_random_state(state["random"], self._accelerator.device)
        self.story = Story(**state["story"])
        self.earlier_s = self.story.seconds + self.story.evaluation_s
        done = self.story.tokens
        progress.phase(f"train, resume at {done:,} tokens", tokens - done, "tokens")
        for row in self.story.rows:
            progress.record(row)

    def agreed(self, state: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return the checkpoint to go on from: of several processes that of the first, which all must have read.

        Args:
            state: what this process read; None where it found nothing to go on from.

        Raises:
            ConfigError: on all processes, where one has not read what the first has.
        """
        from accelerate.utils import broadcast_object_list, gather_object

        mine = None if state is None else int(state["story"]["steps"])
        wanted = broadcast_object_list([mine])[0]
        if wanted is None:
            return None
        apart = [number for number, steps in enumerate(gather_object([mine])) if steps != wanted]
        if apart:
            raise ConfigError(
                f"a checkpoint after step {wanted} that every process of the training can read",
                f"another one or none in process {', '.join(map(str, apart))}",
                "put the run folder on a disk that all of them share, or delete its checkpoint",
            )
        return state

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on; frozen weights are left out."""
        return {
            "weights": {name: p.detach() for name, p in self._trained.items()},
            "best": self._best,
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "random": random_state(self._accelerator.device),
            "story": asdict(self.story),
        }

    def step(self, rows: Rows) -> Row:
        """Take one step and return its row of the log.

        Raises:
            ConfigError: loss or gradient is not finite; the weights are then as they were before the step.
        """
        import torch

        began, accelerator, story = self._clock(), self._accelerator, self.story
        batch, factor = share(rows, accelerator.process_index, accelerator.num_processes, accelerator.device)
        with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=self._computing == "bfloat16"):
            loss = self._module(*batch) * factor
        accelerator.backward(loss)
        norm = accelerator.clip_grad_norm_(list(self._trained.values()), self._settings.clip)
        mean = float(accelerator.reduce(loss.detach().float(), "mean"))
        self._refuse_diverged(mean, norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        used_rate = self._schedule.get_last_lr()[0]
        self._schedule.step()
        story.steps += 1
        story.tokens += size_of(rows)
        story.seconds += self._clock() - began
        row: Row = {"step": story.steps - 1, "tokens": story.tokens, "loss": mean, "learning_rate": used_rate}
        row["tokens_per_s"] = story.tokens / story.seconds
        story.rows.append(row)
        return row

    def _refuse_diverged(self, loss: float, norm: Any) -> None:
        """Refuse to step on a loss or a gradient that is not finite; both are the same on all processes."""
        # Where half precision scales the loss, endless gradients are its way to find the scale, and it skips the step.
        gradient = float(norm) if self._accelerator.scaler is None else 0.0
        for name, value in (("loss", loss), ("gradient", gradient)):
            if not math.isfinite(value):
                raise ConfigError(
                    f"a finite {name}",
                    f"{value} at step {self.story.steps} after {self.story.tokens:,} tokens",
                    "lower training.learning_rate, or see that the backbone's own weights are finite",
                )

    def evaluate(self, evaluation: Evaluation) -> Row:
        """Measure the weights, keep a copy if they are the best so far, and return the row of the log."""
        import torch
        from accelerate.utils import broadcast_object_list

        model, story = self._backbone.model, self.story
        began, device = self._clock(), self._accelerator.device
        Backbone.forget(model)
        with still(self._module), torch.random.fork_rng([device] if device.type == "cuda" else []):
            score = broadcast_object_list([evaluation.score() if self.is_main else 0.0])[0]
        Backbone.forget(model)  # what was derived from these weights is out of date with the next step
        if story.best_score is None or score >= story.best_score:  # of equals the one that has learned for longest
            story.best_score, story.best_tokens = score, story.tokens
            if self._settings.keep_best:
                self._best = {name: p.detach().to("cpu", copy=True) for name, p in self._trained.items()}
        story.evaluation_s += self._clock() - began
        row: Row = {"step": story.steps - 1, "tokens": story.tokens, f"dev_{evaluation.measure}": score}
        row["evaluation_s"] = story.evaluation_s
        story.rows.append(row)
        return row

    def end(self) -> None:
        """Leave the model as it came in, but trained: with the best weights where these were kept."""
        self._write(self._best)
        model = self._backbone.model
        if self._settings.lora_rank:
            lora.merge(model)
        for parameter in model.parameters():
            parameter.data = parameter.data.to(self._came_in)
        model.requires_grad_(False)
        model.eval()
        Backbone.forget(model)

    def _write(self, weights: dict[str, torch.Tensor]) -> None:
        import torch

        with torch.no_grad():
            for name, weight in weights.items():
                self._trained[name].copy_(weight)


def _refuse_parted(way: str) -> None:
    """Refuse a way of accelerate, by its name, that parts the model or its optimiser among processes.

    Such a way prepares the model with its data, and checkpoints would hold a part of the optimiser alone.
    """
    if not way.startswith(_WHOLE_MODELS):
        raise ConfigError(
            "processes that each hold the whole model: plain data parallelism",
            f"distributed_type: {way} in the settings of accelerate",
            "set distributed_type to MULTI_GPU (docs/PAPER.md), or MULTI_CPU without a GPU",
        )
