"""Name the machines that results come from: times and peaks of memory of different ones are not comparable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reports.units import size


def named(environment: Mapping[str, Any]) -> str:
    """Name processor, cores, memory and cards, as far as they are known.

    >>> named({"cpu": {"model": "A", "cores_usable": 2}, "gpus": ["B, 80 GB, driver 5"]})
    'A, 2 cores, –, B'
    """
    cpu = environment.get("cpu") or {}
    model, cores = cpu.get("model") or "unknown processor", cpu.get("cores_usable") or "unknown number of"
    # Name, memory and driver of each card; another driver is no other machine.
    gpus = [str(gpu).partition(",")[0] for gpu in environment.get("gpus") or ()]
    return ", ".join((str(model), f"{cores} cores", size(environment.get("memory_bytes")), *gpus))


def warning(found: Iterable[str]) -> str:
    """Say that the cells of one run come from several machines; empty where they come from one."""
    several = sorted(set(found))
    if len(several) < 2:
        return ""
    return (
        f"Cells of this run come from different machines ({'; '.join(several)}): compare no times or peaks of memory."
    )
