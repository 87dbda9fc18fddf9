"""Kept results as Markdown: a table for each experiment and dataset, with the fingerprint of each row's cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.kept import Asked, KeptCell, asked, data_marks, read
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
        "Peak RSS, searching",
        "Fingerprint",
    )
    marks = data_marks(map(asked, cells))
    same = [cell for cell in cells if not marks[asked(cell)]]
    best = [
        max((v for c in same if c["family"] != "bracket" and (v := _value(c, m)) is not None), default=None)
        for m in MEASURES
    ]
    lines = []
    for cell in cells:
        meter, mark = cell["meter"], marks[asked(cell)]
        scores = [_value(cell, measure) for measure in MEASURES]
        held = [b for b in (meter.get("index_bytes"), meter.get("parameter_bytes")) if b is not None]
        latency = meter.get("latency_ms")
        texts = [
            units.count(meter.get("train_tokens")),
            units.milliseconds(latency["p50"] if latency else None),
            units.size(sum(held) if held else None),
            units.size(meter.get("rss_peak_bytes", {}).get("search")),
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
    first, data = same[0], asked(same[0])
    sample = next((f" ({cell['sample']})" for cell in same if cell.get("sample")), "")
    caption = f"{first['experiment']}, {first['dataset']}: {_queries(data)}{sample}, data {data.checksum[:_SHOWN]}"
    notes = tuple(
        f"{mark} measured on other {_difference(other, data)}: not comparable with the other rows"
        for other, mark in marks.items()
        if mark
    )
    return Table("kept", caption, heads, tuple(lines), notes)


def _queries(data: Asked) -> str:
    return f"{units.count(data.n)} {'' if data.split == 'test' else f'{data.split} '}queries"


def _difference(other: Asked, data: Asked) -> str:
    if other.checksum != data.checksum:
        return f"data ({other.checksum[:_SHOWN]})"
    return f"queries ({units.count(other.n)} of {other.split})"


def _value(cell: KeptCell, measure: str) -> float | None:
    found = [row["value"] for row in cell["results"] if (row["slice"], row["measure"]) == ("all", measure)]
    return found[0] if found else None
