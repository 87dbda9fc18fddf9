"""Look a dataset over: sizes, lengths, titles, duplicates, what is judged and answered, leaks, first examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from harness.datasets import dedupe, leaks
from harness.progress import SILENT, Progress
from harness.types import Corpus, Dataset, Split

if TYPE_CHECKING:
    import numpy as np

EXAMPLES = 3
_QUANTILES = {"shortest": 0, "quarter": 25, "half": 50, "three_quarters": 75, "p95": 95, "longest": 100}
_CLIP = 160
"""Characters of a text that are shown."""
Row = tuple[str, str]


def examine(dataset: Dataset, progress: Progress = SILENT) -> dict[str, Any]:
    """Return all figures as a JSON object: name, card, passages, queries by split, leaks, examples.

    Lengths are in words (what white space separates). Quantiles are values that occur, the lower of two.
    """
    splits = (dataset.train, dataset.dev, dataset.test)
    return {
        "name": dataset.name,
        "passages": _passages(dataset.corpus, progress),
        "queries": {split.name: _queries(split) for split in splits if split.queries},
        "leaks": _leaks(dataset, progress),
        "examples": {
            "passages": [passage._asdict() for passage in islice(dataset.corpus, EXAMPLES)],
            "queries": {s.name: [_example(s, row) for row in range(min(EXAMPLES, len(s)))] for s in splits if len(s)},
        },
        "card": dict(dataset.card),
    }


def rows(figures: dict[str, Any]) -> Iterator[Row]:
    """Turn the figures into (what, figure) for people, texts on one line without control characters."""
    card, passages = figures["card"], figures["passages"]
    for key in ("name", "description", "source", "licence", "checksum"):
        yield key, _shown(card[key])
    for key, text in card["protocol"].items():
        yield f"protocol: {key}", _shown(text)
    yield "passages", f"{passages['count']:,} of {passages['documents']:,} documents, {passages['empty']:,} empty"
    yield "words a passage", _spread(passages["words"])
    yield from _title_rows(passages)
    yield from _query_rows(figures["queries"])
    yield from _leak_rows(figures["leaks"])
    for note in card["notes"]:
        yield "note", _shown(note)
    yield from _example_rows(figures["examples"])


def _title_rows(passages: dict[str, Any]) -> Iterator[Row]:
    titles, double = passages["titles"], passages["duplicates"]
    often = "; ".join(f"{_shown(title)} ({n:,})" for title, n in titles["most_frequent"])
    yield (
        "titles",
        f"{titles['different']:,} on {titles['passages']:,} passages" + (f"; most: {often}" if often else ""),
    )
    same = "; ".join(" = ".join(map(_shown, pair)) for pair in double["examples"])
    yield (
        "same text again",
        f"{double['spare']:,} passages of {double['texts']:,} texts" + (f": {same}" if same else ""),
    )


def _query_rows(queries: dict[str, Any]) -> Iterator[Row]:
    for name, found in queries.items():
        grades = ", ".join(f"{n:,} of grade {grade}" for grade, n in found["grades"].items())
        yield f"{name} queries", f"{found['count']:,}, {found['without_answers']:,} without reference answers"
        yield f"{name}: words a query", _spread(found["words"])
        yield f"{name}: judgements", f"{grades}; {found['relevant_a_query']:.2f} relevant passages a query"


def _leak_rows(found: dict[str, Any]) -> Iterator[Row]:
    for name, qids in found["test_queries_in"].items():
        yield f"leak: test queries in {name}", _counted(qids["count"], qids["examples"])
    for name, kinds in found["verbatim"].items():
        for kind, said in (("whole", "leak: {} holds a whole passage"), ("copied", "{} copied from a passage")):
            pairs = [f"{qid} and {docid}" for qid, docid in kinds[kind]["examples"]]
            yield said.format(f"{name} query"), _counted(kinds[kind]["count"], pairs)


def _example_rows(examples: dict[str, Any]) -> Iterator[Row]:
    for passage in examples["passages"]:
        title = f"[{_shown(passage['title'])}] " if passage["title"] else ""
        yield f"passage {_shown(passage['docid'])}", title + _shown(passage["text"])
    for name, asked in examples["queries"].items():
        for query in asked:
            answers = f" (answers: {_shown(', '.join(query['answers']))})" if query["answers"] else ""
            relevant = _shown(", ".join(query["relevant"][:EXAMPLES]))
            yield f"{name} query {_shown(query['qid'])}", f"{_shown(query['text'])}{answers} -> {relevant}"


def _passages(corpus: Corpus, progress: Progress) -> dict[str, Any]:
    from pyarrow import compute

    titles = compute.value_counts(corpus.table.column("title"))
    named = titles.filter(compute.not_equal(titles.field("values"), ""))
    order = compute.array_sort_indices(named.field("counts"), order="descending").slice(0, EXAMPLES)
    often = named.take(order).to_pylist() if len(named) else []
    words = _words(corpus.table.column("text"))
    double = dedupe.doubles(corpus, progress)
    pairs = [double.row[double.group == group][:2] for group in range(min(EXAMPLES, double.groups))]
    return {
        "count": len(corpus),
        "documents": compute.count_distinct(corpus.table.column("document")).as_py(),
        "empty": int((words == 0).sum()),
        "words": _distribution(words),
        "titles": {
            "passages": compute.sum(named.field("counts")).as_py() or 0,
            "different": len(named),
            "most_frequent": [[entry["values"], entry["counts"]] for entry in often if entry["counts"] > 1],
        },
        "duplicates": {
            "spare": double.spare,
            "texts": double.groups,
            "examples": [[corpus[int(row)].docid for row in pair] for pair in pairs],
        },
    }


def _queries(split: Split) -> dict[str, Any]:
    grades = Counter(grade for judged in split.qrels.values() for grade in judged.values())
    relevant = sum(n for grade, n in grades.items() if grade >= 1)
    return {
        "count": len(split),
        "words": _distribution(_words(pa.chunked_array([[query.text for query in split.queries]], pa.string()))),
        "without_answers": sum(not query.answers for query in split.queries),
        "grades": {str(grade): grades[grade] for grade in sorted(grades, reverse=True)},
        "relevant_a_query": relevant / len(split),
    }


def _leaks(dataset: Dataset, progress: Progress) -> dict[str, Any]:
    seen = {split.name: leaks.repeated(dataset.test, [split]) for split in (dataset.train, dataset.dev) if len(split)}
    found = leaks.verbatim(dataset, progress)
    return {
        "test_queries_in": {name: {"count": len(qids), "examples": qids[:EXAMPLES]} for name, qids in seen.items()},
        "verbatim": {
            name: {kind: {"count": len(leak), "examples": leak[:EXAMPLES]} for kind, leak in kinds._asdict().items()}
            for name, kinds in found.items()
            if len(dataset.split(name))
        },
    }


def _example(split: Split, row: int) -> dict[str, Any]:
    query = split.queries[row]
    relevant = [docid for docid, grade in split.qrels[query.qid].items() if grade >= 1]
    return {"qid": query.qid, "text": query.text, "answers": list(query.answers), "relevant": relevant}


def _words(texts: pa.ChunkedArray) -> np.ndarray:
    """Count the words of each text; a chunk's words are in memory at a time."""
    import numpy as np
    from pyarrow import compute

    counts = [np.zeros(0, np.int64)]
    for chunk in texts.chunks:
        trimmed = compute.utf8_trim_whitespace(chunk)
        lengths = compute.list_value_length(compute.utf8_split_whitespace(trimmed)).to_numpy(zero_copy_only=False)
        counts.append(np.where(compute.equal(trimmed, "").to_numpy(zero_copy_only=False), 0, lengths))
    return np.concatenate(counts)


def _distribution(values: np.ndarray) -> dict[str, float]:
    """Return mean and quantiles; empty of nothing."""
    import numpy as np

    if not len(values):
        return {}
    found = np.percentile(values, list(_QUANTILES.values()), method="lower")
    return {"mean": float(values.mean()), **{name: int(v) for name, v in zip(_QUANTILES, found, strict=True)}}


def _spread(words: dict[str, float]) -> str:
    if not words:
        return "none"
    named = {"half": "median", "quarter": "25 %", "three_quarters": "75 %", "p95": "95 %"}
    parts = [f"{named.get(name, name)} {words[name]:,}" for name in _QUANTILES]
    return f"mean {words['mean']:,.1f}; " + ", ".join(parts)


def _counted(n: int, names: Sequence[str]) -> str:
    return f"{n:,}" + (f" ({', '.join(map(_shown, names))}{', …' if n > len(names) else ''})" if n else "")


def _shown(text: str) -> str:
    """Put a text on one line; what is no printable character, such as what moves a cursor, becomes a blank."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text[: 4 * _CLIP]).split())
    return line if len(line) <= _CLIP else f"{line[: _CLIP - 1]}…"
