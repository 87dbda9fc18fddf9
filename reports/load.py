"""Read a run folder once into one frozen view; everything else in `reports` is a pure function of it.

Report
└── Section          one dataset: its card, its systems, their comparisons
    ├── Row          one system: scores per slice and measure (means over seeds)
    │   └── Cell     one seed: state, meter, training curve
    └── Comparison   system against baseline on one measure
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from harness import store as stored
from harness.store import RunFolder, slug
from reports import answers, beams, machines
from reports.answers import Answers
from reports.beams import Beam
from reports.units import SIGNIFICANT

FAMILIES = ("sparse", "dense", "rerank", "generative", "self-retrieval", "outside", "bracket")
BRACKET = "bracket"
OUTSIDE = "outside"
SELF_RETRIEVAL = "self-retrieval"
ALL = "all"
EQUAL = 1e-12
"""Means closer than this are equal on paper."""
MEASURE_ORDER = ("Success@1", "Success@5", "Success@10", "RR@5", "RR@10", "nDCG@10", "R@10", "R@100")


@dataclass(frozen=True)
class Score:
    """A mean over queries, then over seeds; `low` and `high` are the mean 95 % bounds, `sd` the spread over seeds."""

    value: float
    low: float | None
    high: float | None
    n: int
    sd: float | None


@dataclass(frozen=True)
class Comparison:
    """`difference` = system - baseline, averaged over seeds; p values are the largest of all seeds.

    They are None where a seed lacks the test, and where the seeds are `opposed`, one better and another worse: the pair
    cannot be said to differ in each, one way. seeds: those with a test of their own; none where values were averaged
    over seeds first and tested once.
    """

    system: str
    baseline: str
    measure: str
    difference: float
    p: float | None
    p_holm: float | None
    n: int
    seeds: tuple[int, ...] = ()
    opposed: bool = False

    @property
    def significant(self) -> bool:
        """Whether the Holm-corrected p value is below 0.05."""
        return self.p_holm is not None and self.p_holm < SIGNIFICANT


@dataclass(frozen=True)
class Cell:
    """One dataset x system x seed; `state` is "done", "failed" or "missing" (planned, never finished).

    folder: as the run names it, and as a link of the page; path: where it lies. machine: on which it ran, in words.
    """

    seed: int
    folder: str
    state: str
    reason: str
    wall_s: float | None
    meter: Mapping[str, Any]
    training: tuple[Mapping[str, Any], ...]
    beams: tuple[Beam, ...] = ()
    answers: Answers | None = None
    path: Path = Path()
    machine: str = ""


@dataclass(frozen=True)
class Row:
    """One system on one dataset."""

    system: str
    registered: str
    family: str
    cells: tuple[Cell, ...]
    scores: Mapping[str, Mapping[str, Score]]

    @property
    def bracket(self) -> bool:
        """Whether it only bounds the scores (oracle, random) and takes no part in comparisons."""
        return self.family == BRACKET

    @property
    def outside(self) -> bool:
        """Whether its hits were read from a file, so that nothing but them is known."""
        return self.family == OUTSIDE

    @property
    def baseline(self) -> bool:
        """Whether Self-Retrieval is compared with it."""
        return self.family not in (SELF_RETRIEVAL, BRACKET)

    @property
    def unfinished(self) -> tuple[Cell, ...]:
        """Cells that failed or never ran."""
        return tuple(c for c in self.cells if c.state != "done")

    @property
    def folder(self) -> str:
        """Folder of its one cell, or the one that holds those of all its seeds, relative like it; or empty."""
        if not self.cells:
            return ""
        only = self.cells[0].folder
        return only if len(self.cells) == 1 else only.rpartition("/")[0]

    @property
    def seeds_done(self) -> int:
        """On how many seeds it has a result."""
        return len(self.cells) - len(self.unfinished)

    @property
    def failed(self) -> str | None:
        """Why there is nothing to show for it; None where at least one seed is done, or none was asked for."""
        return self.unfinished[0].reason if self.unfinished and not self.seeds_done else None

    def score(self, measure: str, group: str = ALL) -> Score | None:
        """Look a score up; None where it was not measured."""
        return self.scores.get(group, {}).get(measure)

    def cost(self, key: str) -> float | None:
        """Average one figure of meter.json ("latency_ms.p50") over the finished seeds that hold it."""
        found = [v for c in self.cells if c.state == "done" for v in [number(_dig(c.meter, key))] if v is not None]
        return fmean(found) if found else None

    @property
    def memory_bytes(self) -> float | None:
        """Bytes of index and parameters together; None unless both were measured."""
        parts = self.cost("index_bytes"), self.cost("parameter_bytes")
        return None if parts[0] is None or parts[1] is None else parts[0] + parts[1]


@dataclass(frozen=True)
class Section:
    """One dataset; `rows` by family, then in the order of the experiment; `answering` compares answers in words.

    split: the evaluated one. data: folder of the stored dataset. warning: why its figures must not be set beside those
    of another dataset of this name; empty where nothing speaks against it.
    """

    dataset: str
    slug: str
    card: Mapping[str, Any]
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    primary: str
    answering: tuple[Comparison, ...] = ()
    split: str = "test"
    data: Path = Path()
    warning: str = ""

    @property
    def machines(self) -> frozenset[str]:
        """On which machines its cells ran; times and memory of several must not be compared."""
        return frozenset(cell.machine for row in self.rows for cell in row.cells if cell.machine)

    @property
    def most_seeds(self) -> int:
        """On how many seeds the system with the most of them has a result; only from 2 on there is a spread."""
        return max((row.seeds_done for row in self.rows), default=0)

    @property
    def unasked(self) -> bool:
        """Whether the dataset has no queries at all, so that nothing could be evaluated."""
        queries = self.card.get("queries")
        return isinstance(queries, Mapping) and bool(queries) and not any(queries.values())

    @property
    def queries(self) -> str:
        """Say which queries were evaluated; where not all, how many of how many, and how they were chosen."""
        cut = stored.sampled(self.card) if self.split == "test" else ""
        n = next((score.n for row in self.rows if (score := row.score(self.primary))), None)
        there = (self.card.get("queries") or {}).get(self.split)
        if n is None or there is None or n >= there:
            return cut or f"the {self.split} queries"
        return f"the first {n} of {cut or f'the {there} {self.split} queries'}"

    def row(self, system: str) -> Row | None:
        """Look a system up; None where it took no part."""
        return next((row for row in self.rows if row.system == system), None)

    def ranked(self, measure: str | None = None) -> list[Row]:
        """Return the rows that have a score and are no brackets, best first."""
        wanted = measure or self.primary
        scored = [(s.value, r) for r in self.rows if not r.bracket for s in [r.score(wanted)] if s]
        return [r for _, r in sorted(scored, key=lambda pair: -pair[0])]

    def reference(self, measure: str | None = None) -> Row | None:
        """Return the best baseline on a measure: no bracket and not of the self-retrieval family.

        Of equal ones it is the one the tests were run against.
        """
        wanted = measure or self.primary
        ranked = [r for r in self.ranked(wanted) if r.baseline]
        best = [r for r in ranked if ranked[0].scores[ALL][wanted].value - r.scores[ALL][wanted].value < EQUAL]
        tested = {c.baseline for c in self.comparisons if c.measure == wanted}
        return next((r for r in best if r.system in tested), next(iter(best), None))

    def compare(self, system: str, baseline: str, measure: str | None = None) -> Comparison | None:
        """Look a comparison up, in either direction."""
        wanted = measure or self.primary
        known = (*self.comparisons, *self.answering)
        for c in known:
            if c.measure == wanted and (c.system, c.baseline) == (system, baseline):
                return c
        for c in known:
            if c.measure == wanted and (c.baseline, c.system) == (system, baseline):
                return replace(c, system=system, baseline=baseline, difference=-c.difference)
        return None

    def slices(self) -> dict[str, int]:
        """Return slice -> number of queries, "all" left out."""
        found: dict[str, int] = {}
        for row in self.rows:
            for name, scores in row.scores.items():
                if name != ALL and scores:
                    found.setdefault(name, next(iter(scores.values())).n)
        return found


@dataclass(frozen=True)
class Report:
    """Everything a report says.

    home: leads from the page to where the folders of its cells begin. warnings: what a reader must know first.
    """

    experiment: Mapping[str, Any]
    sections: tuple[Section, ...]
    measures: tuple[str, ...]
    primary: str
    seeds: tuple[int, ...]
    home: str = "../"
    warnings: tuple[str, ...] = ()

    @property
    def most_seeds(self) -> int:
        """On how many seeds the system with the most of them has a result, on any dataset."""
        return max((section.most_seeds for section in self.sections), default=0)

    def text(self, key: str) -> str:
        """Return a text of experiment.json, empty where it is absent."""
        value = self.experiment.get(key)
        return "" if value is None else str(value)

    @property
    def title(self) -> str:
        """Title of the experiment, else its name."""
        return self.text("title") or self.text("name")


def load(folder: Path) -> Report:
    """Read the run folder.

    Raises:
        RunFolderError: it is absent, of another format, or a file in it does not hold what it should.
    """
    with stored.complete(folder):
        return _report(RunFolder(folder))


def number(value: object) -> float | None:
    """Return a finite figure as it is; anything else counts as not measured."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _dig(tree: Mapping[str, Any], path: str) -> object:
    value: Any = tree
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _report(store: RunFolder) -> Report:
    experiment: Mapping[str, Any] = {**store.experiment()}
    planned, results, significance = store.cells(), store.results(), store.significance()
    answered = store.answer_significance()
    primary, here = str(experiment["primary"]), machines.named(experiment.get("environment") or {})
    known = [str(m) for m in experiment["measures"]]
    measures = [m for m in MEASURE_ORDER if m in known] + [m for m in known if m not in MEASURE_ORDER]
    sections = []
    cards: Mapping[str, Mapping[str, Any]] = experiment["datasets"]
    for dataset in dict.fromkeys([*cards, *(c.dataset for c in planned)]):
        scores = [r for r in results if r["dataset"] == dataset]
        pairs = joined([r for r in significance if r["dataset"] == dataset], len(experiment["seeds"]))
        answering = joined([r for r in answered if r["dataset"] == dataset], 1)
        rows = _rows(store, [c for c in planned if c.dataset == dataset], scores, here)
        card, split, data = cards.get(dataset, {}), str(experiment["split"]), store.data_folder(dataset)
        sections.append(Section(dataset, slug(dataset), card, rows, pairs, primary, answering, split, data))
    seeds = tuple(int(s) for s in experiment["seeds"])
    warning = machines.warning(name for section in sections for name in section.machines)
    return Report(experiment, tuple(sections), tuple(measures), primary, seeds, warnings=(warning,) if warning else ())


def _rows(
    store: RunFolder, planned: Sequence[stored.Cell], results: Sequence[stored.Result], here: str
) -> tuple[Row, ...]:
    """Read the systems of a dataset; `here`: the machine of cells that do not say on which they ran."""
    rows = []
    for system in dict.fromkeys(c.system for c in planned):
        own = [c for c in planned if c.system == system]
        cells = tuple(_cell(store, c, here) for c in own)
        done = {c.seed for c in cells if c.state == "done"}
        scores = _scores([r for r in results if r["system"] == system and r["seed"] in done])
        rows.append(Row(system, own[0].registered, own[0].family, cells, scores))
    return by_family(rows)


def by_family(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Sort systems by their families, in the order of `FAMILIES`; those of one stay in theirs."""
    place = {name: i for i, name in enumerate(FAMILIES)}
    return tuple(sorted(rows, key=lambda r: (place.get(r.family, len(place)), r.family)))


def _cell(store: RunFolder, planned: stored.Cell, here: str) -> Cell:
    folder, seed = planned.folder.relative_to(store.path).as_posix(), planned.seed
    status = store.status(planned)
    if status is None:
        reason = "it never finished: the run was interrupted"
        return Cell(seed, folder, "missing", reason, None, {}, (), path=planned.folder)
    wall_s = number(status.get("wall_s"))
    if status["state"] != "done":
        phase = f"during {status['phase']}: " if status.get("phase") else ""
        reason = f"{phase}{status.get('reason') or 'no reason was recorded'}"
        return Cell(seed, folder, "failed", reason, wall_s, {}, (), path=planned.folder)
    if status["fingerprint"] != planned.fingerprint:
        reason = f"it {stored.OTHER_SETTINGS}: the run was interrupted"
        return Cell(seed, folder, "missing", reason, wall_s, {}, (), path=planned.folder)
    meter: Mapping[str, Any] = {**store.meter(planned)}
    training, own = tuple(store.training(planned)), store.cell(planned)
    extras = beams.read(own.beams()), answers.read(own.answers())
    own_machine = status.get("machine")
    machine = "" if planned.outside else machines.named(own_machine) if own_machine else here
    return Cell(seed, folder, "done", "", wall_s, meter, training, *extras, planned.folder, machine)


def _scores(results: Sequence[stored.Result]) -> dict[str, dict[str, Score]]:
    grouped: dict[tuple[str, str], list[stored.Result]] = {}
    for row in results:
        if number(row["value"]) is not None:
            grouped.setdefault((row["slice"], row["measure"]), []).append(row)
    scores: dict[str, dict[str, Score]] = {}
    for (group, measure), rows in grouped.items():
        values = [float(r["value"]) for r in rows]
        sd = stdev(values) if len(values) > 1 else None
        bounds = _mean(r.get("ci_low") for r in rows), _mean(r.get("ci_high") for r in rows)
        scores.setdefault(group, {})[measure] = Score(fmean(values), *bounds, int(rows[0]["n"]), sd)
    return scores


def joined(rows: Iterable[stored.Comparison], planned: int) -> tuple[Comparison, ...]:
    """Join the seeds of each pair; one tested on fewer than the `planned` seeds, or opposed ones, have no p value."""
    grouped: dict[tuple[str, str, str], list[stored.Comparison]] = {}
    for row in rows:
        grouped.setdefault((row["system"], row["baseline"], row["measure"]), []).append(row)
    found = []
    for key, seeds in grouped.items():
        tested = tuple(dict.fromkeys(int(r["seed"]) for r in seeds))
        differences = [float(r["difference"]) for r in seeds]
        opposed = min(differences) < 0 < max(differences)
        p, p_holm = (None if opposed else _largest(seeds, name, planned) for name in ("p", "p_holm"))
        found.append(Comparison(*key, fmean(differences), p, p_holm, int(seeds[0]["n"]), tested, opposed))
    return tuple(found)


def _largest(rows: Iterable[stored.Comparison], key: str, planned: int) -> float | None:
    found = [(row["seed"], p) for row in rows if (p := number(row.get(key))) is not None]
    return max(p for _, p in found) if found and len({seed for seed, _ in found}) == planned else None


def _numbers(values: Iterable[object]) -> list[float]:
    return [v for v in map(number, values) if v is not None]


def _mean(values: Iterable[object]) -> float | None:
    found = _numbers(values)
    return fmean(found) if found else None
