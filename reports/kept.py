"""Kept results as Markdown: a table a dataset, each row with the fingerprint of the cell it came from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.kept import KeptCell, read
from reports import units
from reports.markup import Cell, Line, Table, to_md

MEASURES = ("Success@1", "Success@5", "RR@5")
_SHOWN = 8
"""Digits of a fingerprint."""


def markdown(file: Path) -> str:
    """Write the tables of a file of kept results.

    Raises:
        RunFolderError: the file holds none.
    """
    by_dataset: dict[str, list[KeptCell]] = {}
    for cell in read(file):
        by_dataset.setdefault(cell["dataset"], []).append(cell)
    return "\n".join(to_md(_table(name, cells)) for name, cells in by_dataset.items())


def _table(dataset: str, cells: Sequence[KeptCell]) -> Table:
    heads = (
        "System",
        "Seed",
        *map(units.label, MEASURES),
        "Training tokens",
        "p50",
        "Index and weights",
        "Fingerprint",
    )
    queries = max((row["n"] for cell in cells for row in cell["results"]), default=0)
    best = [
        max((v for c in cells if c["family"] != "bracket" and (v := _value(c, m)) is not None), default=None)
        for m in MEASURES
    ]
    lines = []
    for cell in cells:
        meter = cell["meter"]
        scores = [_value(cell, measure) for measure in MEASURES]
        held = [meter.get("index_bytes"), meter.get("parameter_bytes")]
        latency = meter.get("latency_ms")
        texts = [
            units.count(meter.get("train_tokens")),
            units.milliseconds(latency["p50"] if latency else None),
            units.size(sum(h for h in held if h is not None) if any(h is not None for h in held) else None),
            cell["fingerprint"][:_SHOWN],
        ]
        cells_of = [
            Cell(cell["system"]),
            Cell(str(cell["seed"])),
            *(Cell(units.score(s), bold=s is not None and s == top) for s, top in zip(scores, best, strict=True)),
            *map(Cell, texts),
        ]
        lines.append(Line(cell["family"], tuple(cells_of), muted=cell["family"] == "bracket"))
    caption = f"{dataset}: {units.count(queries)} queries, data {cells[0]['checksum'][:_SHOWN]}"
    notes = [f"rows of other data: {', '.join(others)}"] if (others := _others(cells)) else []
    return Table("kept", caption, heads, tuple(lines), tuple(notes))


def _value(cell: KeptCell, measure: str) -> float | None:
    found = [row["value"] for row in cell["results"] if (row["slice"], row["measure"]) == ("all", measure)]
    return found[0] if found else None


def _others(cells: Sequence[KeptCell]) -> list[str]:
    """Name the systems that were measured on other passages, queries or judgements than the first."""
    return [cell["system"] for cell in cells if cell["checksum"] != cells[0]["checksum"]]
