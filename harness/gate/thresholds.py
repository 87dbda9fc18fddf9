"""What a gate lets through. The values stand in the baseline file; the command line may change them for one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.errors import ConfigError
from harness.validation import dotted, validated

Level = Literal["fail", "warn", "off"]


class Thresholds(BaseModel):
    """Thresholds; docs/GATE.md explains how to choose them.

    Latency only warns unless told otherwise: on shared machines a ratio of milliseconds moves by tens of percent with
    nothing changed, and a gate that is red without cause is switched off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_drop: float = Field(0.01, ge=0, description="largest drop of a measure's mean that does not matter")
    alpha: float = Field(0.05, ge=1e-4, lt=1, description="chance of a false alarm, over all comparisons of a run")
    reference: str | None = Field(None, description="system whose latency and memory stand below the ratios")
    latency_factor: float = Field(2.0, ge=1, description="growth of a latency ratio that is let through")
    latency: Level = Field("warn", description="verdict on a latency ratio that grew beyond it")
    memory_factor: float = Field(1.5, ge=1, description="growth of a memory ratio that is let through")
    memory: Level = Field("fail", description="verdict on a memory ratio that grew beyond it")
    size_tolerance: float = Field(0.1, ge=0, description="growth of an index, as a share, that is let through")
    size: Level = Field("fail", description="verdict on an index that grew beyond it")

    def changed(self, changes: dict[str, Any], origin: str = "the command line") -> Thresholds:
        """Return the thresholds with some of them changed.

        Raises:
            ConfigError: an unknown threshold, or a value of a wrong type or out of range.
        """
        return validated(Thresholds, {**self.model_dump(), **changes}, origin) if changes else self


def changes_of(sets: Sequence[str], *, alpha: float | None, min_drop: float | None) -> dict[str, Any]:
    """Read what the command line changes; an option of its own goes before `--set`.

    >>> changes_of(["memory_factor=2"], alpha=0.01, min_drop=None)
    {'memory_factor': 2, 'alpha': 0.01}

    Raises:
        ConfigError: a setting is not KEY=VALUE.
    """
    from harness.overrides import parse_setting

    changes: dict[str, Any] = {}
    for setting in sets:
        path, value = parse_setting(setting)
        if len(path) > 1:
            known = ", ".join(Thresholds.model_fields)
            raise ConfigError(
                "a threshold such as memory_factor=2", repr(setting), f"known instead of {dotted(path)}: {known}"
            )
        changes[path[0]] = value
    options = {"alpha": alpha, "min_drop": min_drop}
    return changes | {name: value for name, value in options.items() if value is not None}
