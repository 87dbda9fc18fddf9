"""What a benchmark prints and writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.environment import describe
from harness.errors import ConfigError
from harness.jsonfile import write_json
from harness.listing import Listing

Table = tuple[tuple[str, ...], Sequence[Sequence[str]]]
"""Heads and rows."""


def sizes_of(text: str) -> list[int]:
    """Read numbers of at least 1, ascending.

    Raises:
        ConfigError: anything else.

    >>> sizes_of("20,10")
    [10, 20]
    """
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or found[0] < 1:
        raise ConfigError("numbers of at least 1, such as 10,100", repr(text), "correct --sizes")
    return found


def publish(figures: Mapping[str, Any], tables: Sequence[Table], json: Path | None, say: Callable[[str], None]) -> None:
    """Print a benchmark's tables; write its figures, with the machine beside them, to `json` where it is given."""
    for table in tables:
        say("\n" + "\n".join(Listing(*table).plain()))
    if json:
        write_json(json, {**figures, "environment": describe()}, "the figures of a benchmark")
        say(f"\n{json}")
