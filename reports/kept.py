"""Kept results as Markdown: a table for each experiment and dataset, with the fingerprint of each row's cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.kept import KeptCell, data_marks, read
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
    tables: dict[tuple[str, str], list[KeptCell]] = {}
    for cell in read(file):
        tables.setdefault((cell["experiment"], cell["dataset"]), []).append(cell)
    return "\n".join(to_md(_table(cells)) for cells in tables.values())


def _table(cells: Sequence[KeptCell]) -> Table:
    heads = (
        "System",
        "Seed",
        *map(units.label, MEASURES),
        "Training tokens",
        "p50",
        "Index and weights",
        "Fingerprint",
    )
    marks = data_marks(cell["checksum"] for cell in cells)
    same = [cell for cell in cells if not marks[cell["checksum"]]]
    queries = max((row["n"] for cell in same for row in cell["results"]), default=0)
    best = [
        max((v for c in same if c["family"] != "bracket" and (v := _value(c, m)) is not None), default=None)
        for m in MEASURES
    ]
    lines = []
    for cell in cells:
        meter, mark = cell["meter"], marks[cell["checksum"]]
        scores = [_value(cell, measure) for measure in MEASURES]
        held = [b for b in (meter.get("index_bytes"), meter.get("parameter_bytes")) if b is not None]
        latency = meter.get("latency_ms")
        texts = [
            units.count(meter.get("train_tokens")),
            units.milliseconds(latency["p50"] if latency else None),
            units.size(sum(held) if held else None),
            cell["fingerprint"][:_SHOWN],
        ]
        cells_of = [
            Cell(cell["system"], mark=mark),
            Cell(str(cell["seed"])),
            *(
                Cell(units.score(s), bold=not mark and s is not None and s == top)
                for s, top in zip(scores, best, strict=True)
            ),
            *map(Cell, texts),
        ]
        lines.append(Line(cell["family"], tuple(cells_of), muted=cell["family"] == "bracket"))
    first = same[0]
    caption = (
        f"{first['experiment']}, {first['dataset']}: {units.count(queries)} queries, data {first['checksum'][:_SHOWN]}"
    )
    notes = tuple(
        f"{mark} measured on other data ({checksum[:_SHOWN]}): not comparable with the other rows"
        for checksum, mark in marks.items()
        if mark
    )
    return Table("kept", caption, heads, tuple(lines), notes)


def _value(cell: KeptCell, measure: str) -> float | None:
    found = [row["value"] for row in cell["results"] if (row["slice"], row["measure"]) == ("all", measure)]
    return found[0] if found else None
