"""What the processes of one training have to agree on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

PATIENCE = timedelta(days=1)
"""How long processes wait for one that searches or writes for all; torch by itself gives up after 10 to 30 minutes."""

T = TypeVar("T")


def from_first(make: Callable[[], T]) -> T:
    """Let the first process make something and give it to all; a process alone makes it for itself.

    What is made must be picklable. Arithmetic on different machines need not round alike, and what a training learns
    must be the same everywhere.
    """
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    from harness.lm.backbone import best_device

    is_first = PartialState(cpu=best_device() == "cpu", timeout=PATIENCE).is_main_process
    made: T = broadcast_object_list([make() if is_first else None])[0]
    return made
