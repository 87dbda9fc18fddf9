"""Take the run of an outside system into a report: a TREC file with its hits for the queries that are evaluated here.

Only the hits are known. They are measured like those of any system; time and memory were not, and stay absent.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from harness import trecfile
from harness.datasets import checks, paths
from harness.datasets.checks import Place
from harness.errors import ConfigError, DataError, UnknownNameError
from harness.ranking import ranked
from harness.types import Corpus, Dataset, Hit, Run, Split

if TYPE_CHECKING:
    from harness.experiment import OutsideRun

SHOWN = 3
"""Ids a message gives as examples."""


class Source(NamedTuple):
    """Where an outside run comes from: its label, the dataset's own name, and the file as it was named."""

    label: str
    dataset: str
    file: str


class Outside(NamedTuple):
    """An outside run as it was found: the SHA-256 of the file, and what a reader of its figures must know."""

    source: Source
    sha256: str
    notes: tuple[str, ...]


def sources(runs: Mapping[str, OutsideRun], datasets: Mapping[str, str]) -> list[Source]:
    """Find the dataset of each file.

    Args:
        runs: label -> the file, or the files by dataset.
        datasets: names the experiment gives to its datasets -> their own names; either may stand in `runs`.

    Raises:
        ConfigError: a single file for several datasets, or two for one.
        UnknownNameError: a file for a dataset that is not run.
    """
    return [source for label, chosen in runs.items() for source in _sources(label, chosen, datasets)]


def _sources(label: str, chosen: OutsideRun, datasets: Mapping[str, str]) -> Iterator[Source]:
    if chosen.file is not None:
        if len(datasets) > 1:
            options = " ".join(f"--run {label}@{name}=FILE" for name in datasets)
            fix = f"name the dataset of each file: {options}, or [runs.{label}.files] in TOML"
            got = f"one file and {len(datasets)} datasets"
            raise ConfigError(f"a file for each dataset of the outside run {label!r}", got, fix)
        yield from (Source(label, own, chosen.file) for own in datasets.values())
    taken: dict[str, str] = {}
    for name, file in chosen.files.items():
        own = datasets.get(name, name)
        if own not in datasets.values():
            raise UnknownNameError.of(f"dataset of this experiment for the outside run {label!r}", name, datasets)
        if own in taken:
            got = f"{taken[own]!r} and {file!r}"
            raise ConfigError(f"one file of the outside run {label!r} for {own}", got, "leave one of them out")
        taken[own] = file
        yield Source(label, own, file)


def read(source: Source, dataset: Dataset, split: Split, depth: int) -> tuple[Outside, Run]:
    """Read the hits for the queries of a split, in the one order all runs have, at most `depth` for each.

    Lines of other queries are passed over and counted. Scores decide the order, whatever the ranks say. Ids may be
    percent-encoded, as `harness export` writes those that hold white space.

    Raises:
        DataError: the file cannot be read, a line is malformed, a docid is not in the corpus or stands twice for a
            query, or no query of the split has a hit; names the file and the line.
    """
    path = paths.expanded(source.file)
    digest = trecfile.sha256(path)
    lists = _Lists(path, dataset.corpus, {query.qid for query in split.queries})
    for line in trecfile.read(path):
        lists.add(line)
    if not lists.of:
        raise _no_match(path, lists.others, dataset, split)
    run = {query.qid: lists.hits(query.qid, depth) for query in split.queries if query.qid in lists.of}
    about = (
        f"{source.label} on {source.dataset} is an outside run: its hits were read from {path.name} (SHA-256"
        f" {digest[:12]}…) and measured here; its time and memory were not measured."
    )
    counted = [f"{source.label} on {source.dataset}: {note}." for note in lists.notes(len(split), depth)]
    return Outside(source, digest, (about, *counted)), run


class _List(NamedTuple):
    """The hits of one query in the order of the file, 32 bytes each: rows of the corpus, scores, ranks, lines."""

    rows: array[int]
    scores: array[float]
    ranks: array[int]
    lines: array[int]

    def ranks_contradict_scores(self) -> bool:
        """Tell whether a hit has a better rank than one of a higher score; hits of equal score may have any order."""
        in_rank_order = sorted(zip(self.ranks, self.scores, strict=True), key=lambda pair: (pair[0], -pair[1]))
        return any(before[1] < after[1] for before, after in itertools.pairwise(in_rank_order))


class _Lists:
    """All hits that count; `of`: qid -> its list; `others`: qids of the file that are not evaluated."""

    def __init__(self, path: Path, corpus: Corpus, qids: Collection[str]) -> None:
        self.of: dict[str, _List] = {}
        self.others: dict[str, None] = {}
        self._path = path
        self._corpus = corpus
        self._qids = qids

    def add(self, line: trecfile.TrecLine) -> None:
        """Take in one line; DataError where its docid is unknown."""
        qid = _known(line.qid, self._qids, line.place)
        if qid is None:
            self.others[line.qid] = None
            return
        docid = _known(line.docid, self._corpus.row_of, line.place)
        if docid is None:
            example = f"{self._corpus.docids[0]!r}" + (", …" if len(self._corpus) > 1 else "")
            raise line.place.error(
                f"docids of the corpus ({len(self._corpus):,} passages: {example})",
                checks.shown(line.docid),
                "search the same passages, cut in the same way, or leave out the hits that are not among them",
            )
        found = self.of.setdefault(qid, _List(array("q"), array("d"), array("q"), array("q")))
        found.rows.append(self._corpus.row_of[docid])
        found.scores.append(line.score)
        found.ranks.append(line.rank)
        found.lines.append(line.place.line)

    def hits(self, qid: str, depth: int) -> list[Hit]:
        """Return the hits of a query, best first; DataError where a docid stands twice."""
        found = self.of[qid]
        first: dict[int, int] = {}
        for row, line in zip(found.rows, found.lines, strict=True):
            if first.setdefault(row, line) != line:
                got = f"{checks.shown(self._corpus.docids[row])} again, first used in line {first[row]}"
                fix = "keep one of the two lines"
                raise Place(self._path, line).error(f"each docid once for query {checks.shown(qid)}", got, fix)
        pairs = zip(found.rows, found.scores, strict=True)
        return ranked((Hit(self._corpus.docids[row], score) for row, score in pairs), depth)

    def notes(self, queries: int, depth: int) -> Iterator[str]:
        """Say what was passed over, cut or missing, for a split of so many queries."""
        if missing := queries - len(self.of):
            yield f"{missing:,} of {queries:,} queries have no hit in the file and count as 0"
        if self.others:
            yield f"hits for {len(self.others):,} queries that are not evaluated were passed over"
        if deeper := sum(len(found.rows) > depth for found in self.of.values()):
            yield f"more than {depth:,} hits for {deeper:,} queries, of which the first {depth:,} count"
        if swapped := sum(found.ranks_contradict_scores() for found in self.of.values()):
            yield f"ranks contradict scores for {swapped:,} queries; the scores decide"


def _known(text: str, known: Collection[str], place: Place) -> str | None:
    """Return the id that is meant: as written, or percent-decoded; None where neither is known."""
    decoded = unquote(text) if "%" in text else text
    meant = [name for name in dict.fromkeys((text, decoded)) if name in known]
    if len(meant) > 1:
        got = f"{checks.shown(text)}, which may be {checks.shown(decoded)} too"
        raise place.error("an id that means one thing", got, "rename one of the two")
    return meant[0] if meant else None


def _no_match(path: Path, others: Collection[str], dataset: Dataset, split: Split) -> DataError:
    wanted = _some([query.qid for query in split.queries])
    expected = f"hits for queries of the evaluated split {split.name!r} of {dataset.name} ({wanted})"
    got = f"hits for {len(others):,} other queries ({_some(list(others))})" if others else "no hit at all"
    return DataError(expected, got, "give the run file of this dataset and this split", file=path)


def _some(ids: Sequence[str]) -> str:
    return ", ".join(map(checks.shown, ids[:SHOWN])) + (", …" if len(ids) > SHOWN else "")
