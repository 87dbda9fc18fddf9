"""Published beside measured here, row by row: the tables of the paper, redrawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from harness.kept import KeptCell
from reports import units
from reports.markup import Cell, Line, Table
from reports.paper import departures
from reports.paper.measured import SHOWN, Data, Measured, fingerprints
from reports.paper.published import Published, PublishedTable
from reports.paper.recipes import Recipe

PUBLISHED, HERE = "published", "measured here"
ONLY_HERE = "‡"
BRACKET = "bracket"
_DATASETS = {"nq": "NQ", "triviaqa": "TriviaQA"}
_MEASURES = {"hits": "Hits", "mrr": "MRR", "recall": "Recall"}


def build(recipe: Recipe, published: Published, measured: Measured | None) -> Table:
    """Build the table of a recipe whose shape is rows."""
    table = published.tables[recipe.number]
    blocks = [_Block(data, recipe, table) for data in measured.data] if measured else []
    named = "Variant" if table.name_column == "variant" else "System"
    params = ("Parameters",) if "params" in table.columns else ()
    heads = (named, *params, *(f"{spoken(c)} ({PUBLISHED})" for c in table.figures))
    heads += (f"System ({HERE})", *(head for block in blocks for head in block.heads))
    lines = [*_published_lines(recipe, table, blocks, bool(params)), *_only_here(recipe, table, blocks, bool(params))]
    notes = notes_of(recipe, published, measured)
    return Table(recipe.slug, caption_of(recipe, measured), heads, tuple(lines), notes)


def spoken(column: str) -> str:
    """Say a column of the file as people read it.

    >>> spoken("nq.hits@1"), spoken("mrr@10"), spoken("triviaqa.40k"), spoken("index_memory_mb")
    ('NQ Hits@1', 'MRR@10', 'TriviaQA 40K', 'Index memory, MB')
    """
    fixed = {"index_memory_mb": "Index memory, MB", "latency_s": "Latency, s", "beam": "Beam"}
    if column in fixed:
        return fixed[column]
    dataset, dot, rest = column.rpartition(".")
    name, at, cut = rest.partition("@")
    measure = _MEASURES.get(name, name.upper()) + at + cut
    return f"{_DATASETS.get(dataset, dataset)} {measure}" if dot else measure


def caption_of(recipe: Recipe, measured: Measured | None) -> str:
    """Say what stands where, and that the settings differ."""
    text = f"{recipe.name}, redrawn: {recipe.title}. {PUBLISHED.capitalize()}: {recipe.setting}."
    if measured is None:
        return f"{text} {HERE.capitalize()}: nothing yet."
    text += f" {HERE.capitalize()}: {measured.described}."
    if recipe.shape == "sizes":
        return text
    if models := departures.models(measured):
        text += f" Models here: {'; '.join(models)}."
    if differs := _differs(recipe, measured):
        text += f" Settings differ: {'; '.join(differs)}."
    return text


def _differs(recipe: Recipe, measured: Measured) -> list[str]:
    """List what sets the two apart besides the models; what fills lines stands in the notes."""
    found = [*recipe.differs, *(recipe.shipped if set(measured.experiments) <= set(recipe.experiments) else ())]
    documents = sorted({number for data in measured.data if (number := data.corpus.get("documents")) is not None})
    if recipe.shape == "corpus size" and documents:
        found.append(f"here: {' to '.join(dict.fromkeys(f'{n:,}' for n in (documents[0], documents[-1])))} documents")
    if departures.notes(measured):
        found.append("those of Self-Retrieval stand in the notes")
    return found


def notes_of(recipe: Recipe, published: Published, measured: Measured | None) -> tuple[str, ...]:
    """Say what the signs mean, what was trained on, and where the figures come from."""
    notes = [f"{PUBLISHED.capitalize()}: {published.citation}. Shares in percent; – was not given or not measured."]
    if measured is None:
        return (*notes, f"Nothing was measured here yet: {how_to(recipe)}.")
    notes.append(
        f"Cell: first digits of the fingerprint of the cell that a figure comes from, in {', '.join(measured.places)}. "
        f"{ONLY_HERE} measured here only: the paper has no such row."
    )
    notes += departures.notes(measured)
    notes += [said for data in measured.data if (said := _read(data))]
    notes += [said for data in measured.data if (said := _fewer(recipe, data))]
    notes += [said for data in measured.data if (said := _other_recipes(data))]
    notes.append(_seeds(recipe, measured))
    return tuple(notes)


def _seeds(recipe: Recipe, measured: Measured) -> str:
    """Say over how many seeds figures are means: systems may have run with more of them than others."""
    behind = [seeds for group in measured.groups if (seeds := [c["seed"] for c in _telling(recipe, group.cells)])]
    fewest, most = min(map(len, behind), default=1), max(map(len, behind), default=1)
    if most == 1:
        every = ", ".join(map(str, sorted({seed for seeds in behind for seed in seeds})))
        return f"One seed ({every}): how far figures vary from seed to seed is unknown."
    if fewest == most:
        return f"Figures measured here are means over {most} seeds."
    return (
        f"Figures measured here are means over {fewest} to {most} seeds, as many as there are fingerprints beside them."
    )


def _telling(recipe: Recipe, cells: Sequence[KeptCell]) -> list[KeptCell]:
    """Keep the cells that hold what a table shows: beams and answers are measured on one seed of a system."""
    if recipe.shape == "beams":
        return [cell for cell in cells if cell.get("beams")]
    if _of_answers(recipe):
        return [cell for cell in cells if "answers" in cell]
    return list(cells)


def _of_answers(recipe: Recipe) -> bool:
    return any(name.startswith("answers.") for name in recipe.measures.values())


def _other_recipes(data: Data) -> str:
    """Name the cells that were left out, because they are of another recipe than the newest seed of their system."""
    names = ", ".join(
        f"{cell['system']} seed {cell['seed']} ({cell['fingerprint'][:SHOWN]})"
        for group in data.groups.values()
        for cell in group.others
    )
    said = f"Left out on {data.label}, being of other settings than the newest cell of the system: {names}."
    return said if names else ""


def _fewer(recipe: Recipe, data: Data) -> str:
    """Say on how many of its queries the beams, or the answers, were taken: both may be limited to the first."""
    cells = [cell for group in data.groups.values() for cell in group.cells]
    if recipe.shape == "beams":
        what, counts = "every beam", {row["n"] for cell in cells for row in cell.get("beams", ())}
    elif _of_answers(recipe):
        what, counts = "the answers", {cell["answers"]["n"] for cell in cells if "answers" in cell}
    else:
        return ""
    if counts <= {data.queries}:
        return ""
    numbers = " or ".join(map(units.count, sorted(counts)))
    return f"Of the {units.count(data.queries)} queries of {data.label}, {what} here: the first {numbers}."


def how_to(recipe: Recipe) -> str:
    """Say which commands fill a table."""
    if recipe.experiment is None:
        return "no experiment fills it"
    commands = [f"harness run {recipe.experiment}"]
    if recipe.then:
        commands.append(" ".join(("harness", *recipe.then)).format(run=f"runs/{recipe.experiment}"))
    return "run " + " and then ".join(commands)


def _read(data: Data) -> str:
    """Say how large the models are and how much they read."""
    parts = []
    for group in data.groups.values():
        tokens, size = group.meter("train_tokens"), group.meter("parameter_bytes")
        if tokens:
            parts.append(f"{group.system} {units.count(tokens)} training tokens, {units.size(size)} of weights")
    return f"On {data.label}: {'; '.join(parts)}." if parts else ""


class _Block:
    """The columns of one dataset: a measure each, and the cell."""

    def __init__(self, data: Data, recipe: Recipe, table: PublishedTable) -> None:
        wanted: dict[str, str] = {}
        for column in table.figures:
            end = column.rpartition(".")[2]
            wanted.setdefault(recipe.measures[end], end)
        self.data, self._recipe = data, recipe
        self.measures = list(wanted)
        self.heads = (
            *(f"{data.label} {_here(recipe, measure, wanted[measure])} ({HERE})" for measure in self.measures),
            f"{data.label} cell",
        )

    def cells(self, label: str | None) -> Iterator[Cell]:
        """Write the figures of a system; dashes where there is none."""
        group = self.data.groups.get(label or "")
        for measure in self.measures:
            value = group.percent(measure) if group else None
            yield Cell() if value is None else figure(value)
        cells = _telling(self._recipe, group.cells) if group else []
        yield Cell(fingerprints(cells)) if cells else Cell()


def _here(recipe: Recipe, measure: str, end: str) -> str:
    return "Exact Match" if measure.startswith("answers.") else spoken(end)


def figure(value: float | None) -> Cell:
    """Write a figure with two decimals, as the paper does."""
    return Cell() if value is None else Cell(f"{value:.2f}", raw=value)


def _published_lines(recipe: Recipe, table: PublishedTable, blocks: Sequence[_Block], params: bool) -> Iterator[Line]:
    there = {label for block in blocks for label in block.data.groups}
    for row in table.rows:
        name = table.text(row, table.name_column)
        label = recipe.counterparts.get(name)
        label = label if label in there else None
        values = [table.value(row, column) for column in table.figures]
        figures = [figure(float(value)) if isinstance(value, int | float) else Cell() for value in values]
        first = [Cell(name), *([Cell(table.text(row, "params") or units.ABSENT)] if params else [])]
        beside = [cell for block in blocks for cell in block.cells(label)]
        yield Line(table.text(row, "family"), (*first, *figures, Cell(label) if label else Cell(), *beside))


def _only_here(recipe: Recipe, table: PublishedTable, blocks: Sequence[_Block], params: bool) -> Iterator[Line]:
    """Add what was measured without a published row to stand beside, marked."""
    names = {table.text(row, table.name_column) for row in table.rows}
    beside = {label for name, label in recipe.counterparts.items() if name in names}
    groups = {label: group for block in blocks for label, group in block.data.groups.items()}
    empty = [Cell()] * (len(table.figures) + bool(params))
    for label, group in groups.items():
        if label not in beside:
            figures = [cell for block in blocks for cell in block.cells(label)]
            own = Cell(label, mark=ONLY_HERE)
            yield Line(f"{HERE} only", (Cell(), *empty, own, *figures), muted=group.family == BRACKET)


def efficiency(recipe: Recipe, published: Published, measured: Measured | None) -> Table:
    """Build Table 9: one row for each system and beam size, published beside measured here."""
    table = published.tables[recipe.number]
    figures = ("index_memory_mb", "latency_s", "hits@5")
    heads = ("System", "Beam", *(f"{spoken(column)} ({PUBLISHED})" for column in figures))
    data = measured.data if measured else ()
    for d in data:
        heads += (
            f"{d.label} system ({HERE})",
            *(f"{d.label} {spoken(c)} ({HERE})" for c in figures),
            f"{d.label} cell",
        )
    printed = [(table.text(row, "system"), int(row[table.columns.index("beam")] or 0), row) for row in table.rows]
    lines, shown = [], set()
    for name, beam, row in printed:
        label = recipe.counterparts.get(name)
        own = [figure_or_dash(table.value(row, column)) for column in figures]
        lines.append(Line("", (Cell(name), Cell(str(beam)), *own, *(c for d in data for c in _beam(d, label, beam)))))
        shown.add((label, beam))
    for label, beam in dict.fromkeys(pair for d in data for pair in _beams(d)):
        if (label, beam) not in shown:
            cells = [cell for d in data for cell in _beam(d, label, beam)]
            first = (Cell(label, mark=ONLY_HERE), Cell(str(beam)), Cell(), Cell(), Cell())
            lines.append(Line(f"{HERE} only", (*first, *cells)))
    notes = notes_of(recipe, published, measured)
    return Table(recipe.slug, caption_of(recipe, measured), heads, tuple(lines), notes)


def figure_or_dash(value: object) -> Cell:
    """Write a published figure; a dash where none is given."""
    return figure(float(value)) if isinstance(value, int | float) else Cell()


def _beams(data: Data) -> Iterator[tuple[str, int]]:
    for label, group in data.groups.items():
        for cell in group.cells:
            yield from ((label, row["beam_size"]) for row in cell.get("beams", ()))


def _beam(data: Data, label: str | None, beam: int) -> Iterator[Cell]:
    """Write one system with one beam size; dashes where that was not measured."""
    group = data.groups.get(label or "")
    measured = [
        (c, row) for c in (group.cells if group else ()) for row in c.get("beams", ()) if row["beam_size"] == beam
    ]
    if not measured or group is None:
        yield from [Cell()] * 5
        return
    indexes = [found for cell, _ in measured if (found := cell["meter"].get("index_bytes")) is not None]
    latency_s = fmean(row["latency_ms"]["mean"] for _, row in measured) / 1000
    yield Cell(group.system)
    yield figure(fmean(indexes) / 1e6 if indexes else None)
    yield Cell(f"{latency_s:.3f}", raw=latency_s)
    yield figure(100 * fmean(row["measures"]["Success@5"] for _, row in measured))
    yield Cell(fingerprints(cell for cell, _ in measured))


def sizes(recipe: Recipe, published: Published, measured: Measured | None) -> Table:
    """Build the table of the sizes of data sets: those of the paper, then those used here."""
    kinds = ("docs", "passages", "train", "dev", "test")
    heads = ("Data set", "Documents", "Passages", "Training queries", "Dev queries", "Test queries", "Data")
    lines = [
        Line(PUBLISHED, (Cell(name), *(_count(counts.get(kind)) for kind in kinds), Cell()))
        for name, counts in published.datasets.items()
    ]
    for data in measured.data if measured else ():
        corpus = (data.corpus.get("documents"), data.corpus.get("passages"))
        cells = (*map(_count, corpus), Cell(), Cell(), _count(data.queries), Cell(data.checksum[:SHOWN]))
        lines.append(Line(HERE, (Cell(data.label), *cells)))
    notes = (f"{PUBLISHED.capitalize()}: {published.citation}. – is not known from the results at hand.",)
    return Table(recipe.slug, caption_of(recipe, measured), heads, tuple(lines), notes)


def _count(value: int | None) -> Cell:
    return Cell(units.count(value), raw=value)
