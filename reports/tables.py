"""Build the tables of one dataset: quality, cost, slices, significance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from reports import answers, beams, marks, units
from reports.load import Comparison, Report, Row, Score, Section
from reports.markup import Cell, Line, Table
from reports.units import label

LONGEST_REASON = 160
SEED_NOTE = "Several seeds: the difference is their mean, each p value the largest; none where their signs differ."


def tables(report: Report, section: Section) -> dict[str, Table]:
    """Build every table of a dataset that has something to say, by kind, in the order of the page."""
    built = {"quality": quality(report, section), "cost": cost(section)}
    if any(beams.of(row) for row in section.rows):
        built["beams"] = beams.table(section)
    if any(answers.of(row) for row in section.rows):
        built["answers"] = answers.table(section)
    if section.slices():
        built["slices"] = slices(section)
    if section.comparisons:
        built["significance"] = significance(section, (section.primary,))
        built["significance-all"] = significance(section, report.measures, everything=True)
    return built


def quality(report: Report, section: Section) -> Table:
    """Build the main table: one column a measure, intervals below, best in bold, marks against the reference."""
    best = {m: max((s.value for r in section.ranked(m) if (s := r.score(m))), default=None) for m in report.measures}
    lines = []
    for row in section.rows:
        cells = [
            _score(row.score(m), best[m], row, marks.against(section, row, section.reference(m), m))
            for m in report.measures
        ]
        queries = row.score(section.primary)
        n = Cell(units.count(queries.n), raw=queries.n) if queries else Cell()
        lines.append(_line(row, [*cells, n]))
    heads = ("System", *map(label, report.measures), "Queries")
    return Table(f"quality-{section.slug}", _quality_caption(section), heads, tuple(lines), partial(section))


def _quality_caption(section: Section) -> str:
    if section.unasked:
        return f"Quality on {section.dataset}: nothing was evaluated, because the set has no queries."
    whole = f"the {section.split} queries"
    asked = f"{whole} of {section.dataset}" if section.queries == whole else f"{section.dataset}, {section.queries}"
    text = f"Quality on {asked}: means, 95\u202f% intervals below."
    if section.most_seeds > 1:
        text += " Figures and interval bounds are averaged over the seeds; ± is the standard deviation over seeds."
    text += " Bold: best of its column; oracle and random only bound the scores and are left out."
    return f"{text} {marks.LEGEND}"


def _score(score: Score | None, best: float | None, row: Row, mark: str) -> Cell:
    if score is None:
        return Cell()
    small = "" if score.low is None or score.high is None else f"[{score.low:.3f}, {score.high:.3f}]"
    small += "" if score.sd is None else f" ±{score.sd:.3f}"
    bold = not row.bracket and best is not None and score.value >= best
    return Cell(units.score(score.value), small, mark, bold, raw=score.value, low=score.low, high=score.high)


def _line(row: Row, cells: list[Cell]) -> Line:
    """Put the name before the cells; a failed system gets its reason instead of figures."""
    first = Cell(row.system, link=row.folder)
    if row.failed is not None:
        word = "failed" if any(c.state == "failed" for c in row.cells) else "no result"
        reason = Cell(f"{word}: {shorten(row.failed)}", span=len(cells))
        return Line(row.family, (first, reason), failed=True)
    return Line(row.family, (first, *cells), muted=row.bracket)


def shorten(reason: str) -> str:
    """Cut a long reason; the whole of it stands in the cell's status.json and log."""
    text = " ".join(reason.split())
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 1].rstrip() + "…"


def partial(section: Section) -> tuple[str, ...]:
    """Name the systems some of whose seeds have no result: their means stand on fewer seeds."""
    notes = []
    for row in section.rows:
        if row.unfinished and row.failed is None:
            counted = f"{len(row.unfinished)} of {len(row.cells)} seeds"
            notes.append(f"{row.system}: {counted} without a result ({shorten(row.unfinished[0].reason)}).")
    return tuple(notes)


COSTS: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
    ("Index time", "index_s", units.seconds),
    ("Training tokens", "train_tokens", units.count),
    ("Tokens/s", "tokens_per_s", units.count),
    ("Latency p50", "latency_ms.p50", units.milliseconds),
    ("p95", "latency_ms.p95", units.milliseconds),
    ("p99", "latency_ms.p99", units.milliseconds),
    ("Queries/s", "queries_per_s", units.count),
    ("Peak RSS, indexing", "rss_peak_bytes.index", units.size),
    ("Peak RSS, searching", "rss_peak_bytes.search", units.size),
    ("Peak GPU", "gpu_peak_bytes", units.size),
    ("Index", "index_bytes", units.size),
    ("Parameters", "parameter_bytes", units.size),
    ("Kept between queries", "cache_bytes", units.size),
    ("Invalid docids", "counters.invalid_docids", units.count),
    ("Dead beams", "counters.dead_beams", units.count),
    ("Model calls per query", "counters.model_calls_per_query", units.count),
    ("Time outside the model", "counters.search_share", units.percent),
    ("Mask's share", "counters.mask_share", units.percent),
)
"""Head, key in meter.json, how to write it."""


def cost(section: Section) -> Table:
    """Build the cost table; a column nobody measured is left out, a single figure not measured is a dash."""
    shown = [c for c in COSTS if any(r.cost(c[1]) is not None for r in section.rows)]
    lines = []
    for row in section.rows:
        cells = []
        for _, key, write in shown:
            value = row.cost(key)
            batch = row.cost("batch_size") if key == "queries_per_s" and value is not None else None
            cells.append(Cell(write(value), "" if batch is None else f"batch {batch:.0f}", raw=value))
        lines.append(_line(row, cells))
    heads = ("System", *(c[0] for c in shown))
    return Table(f"cost-{section.slug}", _cost_caption(section), heads, tuple(lines), _cost_notes(section))


def _cost_caption(section: Section) -> str:
    if section.unasked:
        return f"Cost on {section.dataset}; no query was timed. – was not measured or does not apply."
    asked = {(r.cost("latency_ms.n"), r.cost("latency_ms.k")) for r in section.rows} - {(None, None)}
    text = f"Cost on {section.dataset}. Latency: one query at a time"
    if len(asked) == 1 and None not in (only := next(iter(asked))):
        text += f", {units.count(only[0])} queries, {units.count(only[1])} hits each"
    return text + ". Lower is better but for tokens/s and queries/s. – was not measured or does not apply."


def _cost_notes(section: Section) -> tuple[str, ...]:
    return _outside_note(section) + _base_note(section)


def _outside_note(section: Section) -> tuple[str, ...]:
    names = ", ".join(r.system for r in section.rows if r.outside)
    return (f"Outside runs, of which nothing but the hits is known: {names}.",) if names else ()


def _base_note(section: Section) -> tuple[str, ...]:
    bases = [b for r in section.rows if (b := r.cost("rss_base_bytes")) is not None]
    if not bases:
        return ()
    low, high = units.size(min(bases)), units.size(max(bases))
    size = low if low == high else f"{low} to {high}"
    return (f"Peak RSS counts the whole process; {size} of it were in use after the imports, before any data.",)


def slices(section: Section) -> Table:
    """Build the table of the primary measure by slice of the queries."""
    names = section.slices()
    lines = []
    for row in section.rows:
        cells = [_score(row.score(section.primary, name), None, row, "") for name in names]
        lines.append(_line(row, cells))
    heads = ("System", *(f"{name} (n = {n})" for name, n in names.items()))
    caption = f"{label(section.primary)} by slice of the queries of {section.dataset}, 95\u202f% intervals below."
    return Table(f"slices-{section.slug}", caption, heads, tuple(lines))


def significance(
    section: Section, measures: tuple[str, ...], *, everything: bool = False, what: str = "this dataset"
) -> Table:
    """Build the table of paired tests on the given measures; without `everything`, no brackets and each pair once.

    what: the section, in a sentence.
    """
    rows = {r.system: r for r in section.rows}
    folders = {system: row.folder for system, row in rows.items()}
    lines = []
    seen: set[tuple[str, str, str]] = set()
    for c in (c for m in measures for c in section.comparisons if c.measure == m):
        bracket = any(name in rows and rows[name].bracket for name in (c.system, c.baseline))
        if everything or not (bracket or (c.measure, c.baseline, c.system) in seen):
            family = rows[c.system].family if c.system in rows else ""
            lines.append(Line(family, _comparison(c, folders)))
            seen.add((c.measure, c.system, c.baseline))
    which = "all measures" if everything else " and ".join(map(label, measures))
    caption = (
        f"Paired randomisation tests on {section.dataset}, {which}: system against baseline. Holm's correction runs "
        f"over {_corrected(section, what)}, those of the other measures included."
    )
    heads = ("System", "Against", "Measure", "Difference", "p", "p (Holm)", "Queries", "Verdict")
    slug = f"significance{'-all' if everything else ''}-{section.slug}"
    return Table(slug, caption, heads, tuple(lines), _seed_note(section), texts=3)


def _corrected(section: Section, what: str) -> str:
    """Say over how many comparisons p values were corrected: over those of one seed, whatever the others hold."""
    counts = Counter(seed for c in section.comparisons for seed in c.seeds)
    if len(counts) < 2:
        return f"all {len(section.comparisons)} comparisons of {what}"
    if len(set(counts.values())) == 1:
        return f"the {min(counts.values())} comparisons of each seed on {what}"
    listed = ", ".join(f"seed {seed}: {n}" for seed, n in sorted(counts.items()))
    return f"the comparisons of each seed on {what} ({listed})"


def _comparison(c: Comparison, folders: Mapping[str, str]) -> tuple[Cell, ...]:
    """Fill a line; `folders`: system -> folder of its cells."""
    verdict = "not significant" if not c.significant else "better" if c.difference > 0 else "worse"
    verdict = marks.without_p(c) if c.p_holm is None else verdict
    return (
        Cell(c.system, link=folders.get(c.system, "")),
        Cell(c.baseline, link=folders.get(c.baseline, "")),
        Cell(label(c.measure)),
        Cell(units.signed(c.difference), raw=c.difference),
        Cell(units.p_value(c.p), raw=c.p),
        Cell(units.p_value(c.p_holm), raw=c.p_holm),
        Cell(units.count(c.n), raw=c.n),
        Cell(verdict, bold=c.significant),
    )


def _seed_note(section: Section) -> tuple[str, ...]:
    if max((len(r.cells) for r in section.rows), default=0) < 2:
        return ()
    if not any(c.seeds for c in section.comparisons):
        return ("Several seeds: values are averaged over them query by query, then tested once.",)
    return (SEED_NOTE,)
