"""Write what a run found as plain TREC files, for trec_eval, ranx, ir_measures and whatever else reads them.

    OUT/<dataset>/qrels.<split>.trec            qid 0 docid grade
    OUT/<dataset>/runs/<system>.<seed>.trec     qid Q0 docid rank score tag

These tools order hits by their scores, each with a tie rule of its own, some in 32 bits. So that all of them see the
order that was measured here, scores are rounded to 32 bits, and one that would not be below the score before it is
lowered to the next number that is. The measures then come out the same wherever they are computed, if queries without
hits count as 0 (trec_eval: -c).

By documents or titles, what stands in both files is a document (a title) in place of its passages: judged by the best
grade of one of them, found where the first of them is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from harness import finished
from harness.atomic import new_folder, write_text
from harness.errors import RunFolderError
from harness.records import Cell
from harness.store import RunFolder, slug
from harness.types import Corpus, Hit, Qrels, Run


class Exported(NamedTuple):
    """What was written: files, relative to the folder; `left_out`: cells without a result."""

    files: tuple[str, ...]
    left_out: tuple[str, ...]


def export(folder: Path, out: Path, by: str = "passage") -> Exported:
    """Write the judgements and the hits of every finished cell of a run into a new folder `out`, all or nothing.

    by: what is judged and found, "passage", "document" or "title". A passage without a title stays what it is.

    White space and "%" in an id that holds white space are percent-encoded; other ids stand as they are.

    Raises:
        ConfigError: `out` exists.
        RunFolderError: no run, or none of its cells is done.
        StorageError: the file system refused.
    """
    run = RunFolder(folder)
    names = finished.datasets(run)
    done = {cell: not run.problem(cell) for cell in run.cells()}
    if not any(done.values()):
        raise RunFolderError(f"a run with cells that are done in {folder}", "none", "run the experiment first")
    with new_folder(out, "the TREC files") as part:
        for name in names:
            cells = [cell for cell, is_done in done.items() if is_done and cell.dataset == name]
            _write(run, name, cells, part / slug(name), by)
        files = tuple(sorted(path.relative_to(part).as_posix() for path in part.rglob("*") if path.is_file()))
    left_out = (f"{c.system} on {c.dataset} (seed {c.seed})" for c, is_done in done.items() if not is_done)
    return Exported(files, tuple(left_out))


def _write(run: RunFolder, dataset: str, cells: Sequence[Cell], folder: Path, by: str) -> None:
    from harness.datasets import stored
    from harness.plan import evaluated

    record = run.experiment()
    data = stored.open_folder(run.data_folder(dataset))
    split = evaluated(data, record["split"], record["config"].get("limit"))
    names = names_by(data.corpus, by)
    what = f"the judgements of {dataset}"
    write_text(folder / f"qrels.{split.name}.trec", "".join(qrels_lines(judged_by(split.qrels, names))), what)
    for cell in cells:
        text = "".join(run_lines(found_by(run.run(cell), names), cell.system))
        write_text(folder / "runs" / f"{cell.system}.{cell.seed}.trec", text, f"the run of {cell.system}")


def names_by(corpus: Corpus, by: str) -> Mapping[str, str]:
    """Return what stands for each docid, by "document" or "title"; nothing for passages, which stand for themselves."""
    if by == "passage":
        return {}
    found = corpus.table.column(by).to_pylist()
    return {docid: name or docid for docid, name in zip(corpus.docids, found, strict=True)}


def judged_by(qrels: Qrels, names: Mapping[str, str]) -> Qrels:
    """Judge what stands for the passages; the best grade counts. Without names all stay.

    >>> judged_by({"q1": {"d.0": 0, "d.1": 2}}, {"d.0": "d", "d.1": "d"})
    {'q1': {'d': 2}}
    """
    if not names:
        return qrels
    judged: dict[str, dict[str, int]] = {}
    for qid, grades in qrels.items():
        mine = judged.setdefault(qid, {})
        for docid, grade in grades.items():
            name = names.get(docid, docid)
            mine[name] = max(grade, mine.get(name, grade))
    return judged


def found_by(run: Run, names: Mapping[str, str]) -> Run:
    """Put what stands for the passages in their place; of several of one name the first counts. Without names all stay.

    >>> found_by({"q1": [Hit("d.1", 3.0), Hit("e.0", 2.0), Hit("d.0", 1.0)]}, {"d.0": "d", "d.1": "d"})["q1"]
    [Hit(docid='d', score=3.0, title='', text=''), Hit(docid='e.0', score=2.0, title='', text='')]
    """
    if not names:
        return run
    found: dict[str, list[Hit]] = {}
    for qid, hits in run.items():
        first: dict[str, Hit] = {}
        for hit in hits:
            name = names.get(hit.docid, hit.docid)
            first.setdefault(name, Hit(name, hit.score))
        found[qid] = list(first.values())
    return found


def qrels_lines(qrels: Qrels) -> Iterator[str]:
    """Write judgements as TREC does, one a line.

    >>> list(qrels_lines({"q1": {"d1": 2, "a b": 0}}))
    ['q1 0 d1 2\\n', 'q1 0 a%20b 0\\n']
    """
    for qid, judged in qrels.items():
        for docid, grade in judged.items():
            yield f"{_encoded(qid)} 0 {_encoded(docid)} {grade}\n"


def run_lines(run: Run, tag: str) -> Iterator[str]:
    """Write hits as TREC does, one a line; see the module for what is done to the scores.

    >>> from harness.types import Hit
    >>> list(run_lines({"q1": [Hit("d2", 1.0), Hit("d1", 1.0)]}, "bm25"))
    ['q1 Q0 d2 1 1.0 bm25\\n', 'q1 Q0 d1 2 0.99999994 bm25\\n']
    """
    for qid, hits in run.items():
        scores = falling([hit.score for hit in hits])
        for rank, (hit, score) in enumerate(zip(hits, scores, strict=True), start=1):
            yield f"{_encoded(qid)} Q0 {_encoded(hit.docid)} {rank} {score} {_encoded(tag)}\n"


def falling(scores: Iterable[float]) -> list[str]:
    """Round scores to 32 bits and make each lower than the one before it; written with the fewest digits that do.

    >>> falling([2.5, 2.5, 0.1])
    ['2.5', '2.4999998', '0.1']
    """
    import numpy as np

    largest, below = np.finfo(np.float32).max, np.float32(-np.inf)
    found: list[np.float32] = []
    with np.errstate(over="ignore"):
        for score in scores:
            rounded = min(np.float32(score), largest)
            found.append(min(rounded, np.nextafter(found[-1], below)) if found else rounded)
    if found and not np.isfinite(found[-1]):
        # Below what 32 bits hold no number is left to go to: the order alone can be kept.
        return [str(len(found) - place) for place in range(len(found))]
    return [str(score) for score in found]


def _encoded(text: str) -> str:
    if not re.search(r"\s", text):
        return text
    return re.sub(r"[\s%]", lambda match: quote(match[0], safe=""), text)
