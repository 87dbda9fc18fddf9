"""What each kind of evidence is worth: the candidates of dev queries, ranked by one and by several of them.

Nothing is trained; one trained model finds candidates and judges them as its settings say. Weights are fitted on the
other queries of five folds, so that no query is ranked by what was fitted on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple, TypedDict

from harness import finished
from harness.datasets import stored
from harness.datasets.sampling import sample
from harness.errors import ConfigError, DataError
from harness.lm.examples import relevant_rows
from harness.overrides import parse_setting
from harness.progress import SILENT, Progress
from harness.records import Cell
from harness.store import RunFolder
from harness.types import Dataset
from selfretrieval.evidence import ENOUGH, Evidence, Question, Weights, fit, telling
from selfretrieval.judge import Judged
from selfretrieval.prior import with_priors
from selfretrieval.retriever import SelfRetriever

FOLDS = 5
WRITTEN_FIRST = (10, 20, 40, 80)
"""Among so many candidates, those most probably written, the relevant passage is looked for: what `judged` can miss."""
_NONE = dict.fromkeys(Evidence._fields, 0.0)
_WRITTEN = ("title", "title_mean", "passage", "prior")


class Row(TypedDict):
    """One way to rank: hits_1, hits_5 and rr_5 of passages are means over `queries`; weights where they were fitted."""

    dataset: str
    ranking: str
    hits_1: float
    hits_5: float
    rr_5: float
    queries: int
    weights: Mapping[str, float]


class _Asked(NamedTuple):
    """The candidates of a query, and which of them are relevant. Those that were not judged rank below the others."""

    judged: Sequence[Judged]
    relevant: Sequence[bool]

    def question(self, kinds: Sequence[str]) -> Question:
        """Return the evidence with all but some kinds set to nothing."""
        hidden = {name: 0.0 for name in Evidence._fields if name not in kinds}
        told = [(j.evidence._replace(**hidden), good) for j, good in zip(*self, strict=True) if j.judged]
        return Question([evidence for evidence, _ in told], [good for _, good in told])

    def among(self, count: int) -> bool:
        """Tell whether a relevant candidate is among the `count` most probably written."""
        order = sorted(zip(*self, strict=True), key=lambda pair: -(pair[0].evidence.title + pair[0].evidence.passage))
        return any(good for _, good in order[:count])

    def rank(self, score: Callable[[Judged], float]) -> int:
        """Return the place of the first relevant candidate, from 1; 0 where there is none."""
        order = sorted(range(len(self.judged)), key=lambda i: (not self.judged[i].judged, -score(self.judged[i])))
        return next((place for place, i in enumerate(order, 1) if self.relevant[i]), 0)


def measure(
    folder: Path,
    *,
    systems: Sequence[str] | None,
    dataset: str | None,
    limit: int,
    sets: Sequence[str] = (),
    progress: Progress = SILENT,
) -> list[Row]:
    """Rank the candidates of at most `limit` dev queries in every way.

    Args:
        folder: a run with a Self-Retrieval system that is done.
        systems: its label, or None for the first.
        dataset: None for all of the run.
        limit: dev queries, chosen by hash.
        sets: settings of the search to change, as "title_beams=20"; what was trained stays.
        progress: told about each dataset.

    Raises:
        ConfigError: no system that is asked for is of this kind, fewer queries than a fit needs, or a setting that
            cannot be.
        DataError: a dataset without dev queries.
        UnknownNameError, RunFolderError: the run has no such system or dataset, or is not done.
    """
    if limit < FOLDS * 2:
        raise ConfigError(f"at least {FOLDS * 2} queries", str(limit), "raise --limit")
    run, changes = RunFolder(folder), _changes(sets)
    cells = [c for c in finished.pick(run, systems, dataset) if not finished.problem(run, c)]
    chosen: dict[str, Cell] = {}
    for cell in cells:
        if cell.family == "self-retrieval":
            chosen.setdefault(cell.dataset, cell)
    if not chosen:
        raise ConfigError(
            "a Self-Retrieval system that is done", f"none in {folder}", "name another run, system or dataset"
        )
    return [row for cell in chosen.values() for row in _rows(run, cell, limit, changes, progress)]


def _changes(sets: Sequence[str]) -> dict[str, object]:
    """Read settings as `--set` takes them; they have names of one part."""
    read = [parse_setting(setting) for setting in sets]
    for path, _ in read:
        if len(path) > 1:
            raise ConfigError("a setting of the search such as title_beams=20", ".".join(path), "leave out its table")
    return {path[0]: value for path, value in read}


def _rows(run: RunFolder, cell: Cell, limit: int, changes: Mapping[str, object], progress: Progress) -> list[Row]:
    dataset = stored.open_folder(run.data_folder(cell.dataset))
    if not len(dataset.dev):
        raise DataError(f"dev queries in {cell.dataset}", "none", "choose another dataset with --dataset")
    with finished.threads(finished.spec(run, cell)["threads"]):
        progress.phase(f"{cell.dataset}: load {cell.system}")
        retriever = finished.load(run, cell)
        if not isinstance(retriever, SelfRetriever):
            raise ConfigError("a Self-Retrieval system", cell.system, "name another with --systems")
        # The weights play no part in what is compared, but without any no passage that was not written may be ranked.
        changed = retriever.with_settings(**{"weights": dict.fromkeys(Evidence._fields, 1.0), **changes})
        if changed.settings.judged == 1:
            raise ConfigError("at least 2 judged candidates, to be ranked", "judged = 1", "raise it with --set")
        asked = _ask(changed, dataset, limit, progress)
    usable = len(telling([a.question(Evidence._fields) for a in asked]))
    if usable * (FOLDS - 1) < ENOUGH * FOLDS:
        expected = f"{-(-ENOUGH * FOLDS // (FOLDS - 1))} dev queries whose relevant passage is among the candidates"
        raise ConfigError(f"at least {expected}", f"{usable} in {cell.dataset}", "raise --limit, or train for longer")
    return compare(asked, cell.dataset)


def _ask(retriever: SelfRetriever, dataset: Dataset, limit: int, progress: Progress) -> list[_Asked]:
    """Let the model write and judge as its settings say, and compare with what it would write unasked."""
    backbone, memory, corpus = retriever.parts
    wanted = retriever.settings.model_copy(update={"prior": True})
    prepared = retriever.with_memory(with_priors(backbone, memory, wanted, progress))
    dev = sample(dataset.dev, limit)
    progress.phase(f"{dataset.name}: judge", len(dev), "queries")
    asked = []
    for query in dev.queries:
        judged = prepared.explain([query.text])[0]
        gold = relevant_rows(dev, query.qid, corpus)
        asked.append(_Asked(judged, [not gold.isdisjoint(j.candidate.items) for j in judged]))
        progress.advance()
    return asked


def compare(asked: Sequence[_Asked], dataset: str) -> list[Row]:
    """Rank the candidates in every way that was measured; see `Row`."""
    plain: dict[str, Callable[[Judged], float]] = {
        "S = S_T * S_P": lambda j: j.title_score * j.passage_score,
        "S_T alone": lambda j: j.title_score,
        "written: P(title) P(passage)": _by(title=1.0, passage=1.0),
        "written, against P(passage) unasked": _by(title=1.0, passage=1.0, prior=-1.0),
    }
    judgements = [kind for kind in ("acceptance", "likelihood") if any(_told(a, kind) for a in asked)]
    plain |= {kind: _by(**{kind: 1.0}) for kind in judgements}
    rows = [_row(dataset, name, [a.rank(score) for a in asked]) for name, score in plain.items()]
    for kinds in (_WRITTEN, *((*_WRITTEN, kind) for kind in judgements)):
        name = f"fitted: {', '.join(kinds)}"
        rows.append(_row(dataset, name, _folded(asked, kinds), _fitted(asked, kinds).model_dump()))
    for count in WRITTEN_FIRST:
        if any(len(a.judged) > count for a in asked):
            found = [1 if a.among(count) else 0 for a in asked]
            rows.append(_row(dataset, f"bound: it is among the {count} most probably written", found))
    found = [1 if any(a.relevant) else 0 for a in asked]
    rows.append(_row(dataset, "bound: the relevant passage is among the candidates", found))
    return rows


def _told(asked: _Asked, kind: str) -> bool:
    return any(getattr(j.evidence, kind) for j in asked.judged)


def _by(**weights: float) -> Callable[[Judged], float]:
    chosen = Weights(**{**_NONE, **weights})
    return lambda j: j.evidence.score(chosen)


def _fitted(asked: Sequence[_Asked], kinds: Sequence[str]) -> Weights:
    return fit([a.question(kinds) for a in asked], Weights(**_NONE))


def _folded(asked: Sequence[_Asked], kinds: Sequence[str]) -> list[int]:
    """Rank each query by weights fitted on the queries of the other folds."""
    ranks = [0] * len(asked)
    for fold in range(FOLDS):
        weights = _fitted([a for i, a in enumerate(asked) if i % FOLDS != fold], kinds)
        for i in range(fold, len(asked), FOLDS):
            ranks[i] = asked[i].rank(lambda j, weights=weights: j.evidence.score(weights))  # type: ignore[misc]
    return ranks


def _row(dataset: str, ranking: str, ranks: Sequence[int], weights: Mapping[str, float] | None = None) -> Row:
    return Row(
        dataset=dataset,
        ranking=ranking,
        hits_1=fmean(rank == 1 for rank in ranks),
        hits_5=fmean(1 <= rank <= 5 for rank in ranks),
        rr_5=fmean(1 / rank if 1 <= rank <= 5 else 0.0 for rank in ranks),
        queries=len(ranks),
        weights=weights or {},
    )


def table(rows: Sequence[Row]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Return heads and rows as `harness.bench.output.publish` prints them."""
    heads = ("dataset", "candidates ranked by", "Hits@1", "Hits@5", "RR@5", "queries")
    return heads, [
        [
            row["dataset"],
            row["ranking"],
            *(f"{value:.3f}" for value in (row["hits_1"], row["hits_5"], row["rr_5"])),
            str(row["queries"]),
        ]
        for row in rows
    ]
