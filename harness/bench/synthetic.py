"""Corpora of any size for benchmarks of scale: real sentences and titles recombined. They say nothing about quality."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from harness.datasets.chunking import sentences
from harness.errors import DataError
from harness.progress import SILENT, Progress
from harness.types import CORPUS_SCHEMA, Corpus, Passage

PASSAGE_WORDS = 100
"""Most words of a passage, as in the passages of KILT and of much work on Natural Questions."""
TEXT_PASSAGES = 3
"""Passages of a text that is still to be cut."""
QUERIES = 100

_SENTENCE_WORDS = range(6, 26)
_PROBE = "Xylophones ring."
"""A sentence whose first word starts no sentence by itself, so that the splitter must be sure of the one before."""
_BATCH = 4096


class Source(NamedTuple):
    """What corpora are mixed from: the titles of real passages and their sentences, each with its number of words."""

    titles: list[str]
    sentences: list[tuple[str, int]]

    @classmethod
    def of(cls, passages: Iterable[Passage]) -> Source:
        """Collect titles, and the sentences of 6 to 25 words that are found again wherever they stand in a text."""
        titles: dict[str, None] = {}
        found: dict[str, int] = {}
        for passage in passages:
            titles[passage.title] = None
            found.update((s, len(s.split())) for s in sentences(passage.text) if _stands_alone(s))
        return cls(list(titles), list(found.items()))


def embedded() -> Source:
    """Collect from all vital articles that come with the installation.

    Raises:
        DependencyError: the package that holds them is not installed.
    """
    from harness.datasets import builtin

    return Source.of(Passage(a.docid, a.title, a.text, a.docid) for a in builtin.read_articles())


def passages(source: Source, count: int, seed: int = 0) -> Iterator[Passage]:
    """Make `count` passages, no two with the same text, `TEXT_PASSAGES` a document; the last may have fewer.

    They are what `harness.datasets.chunking.windows` cuts their document into at `PASSAGE_WORDS`, and are called as
    `harness.datasets.cutting.divide` calls them. The first documents have the real titles, the others mixed ones.

    Raises:
        DataError: too few sentences for so many different passages.
    """
    # A passage holds at least four sentences, so that from each first one there are as many ways on as this.
    if len(source.sentences) ** 3 < 2 * count:
        got = f"{len(source.sentences)} sentences of 6 to 25 words"
        raise DataError(f"enough sentences for {count} different passages", got, "take more texts, or fewer passages")
    rng = random.Random(seed)
    for row, text in enumerate(_texts(source, count, rng)):
        number, piece = divmod(row, TEXT_PASSAGES)
        if not piece:
            title = source.titles[number] if number < len(source.titles) else _mixed(source.titles, rng)
        yield Passage(f"s{number}.{piece}", title, text, f"s{number}")


def write(source: Source, folder: Path, count: int, seed: int = 0, progress: Progress = SILENT) -> None:
    """Write `count` passages twice in BEIR layout: one a line into `folder`/passages, their whole texts into /texts.

    Both have the same queries, titles of documents spread over the corpus.
    """
    sets = [folder / name for name in ("passages", "texts")]
    for one in sets:
        (one / "qrels").mkdir(parents=True)
    every = max(count // TEXT_PASSAGES // QUERIES, 1) * TEXT_PASSAGES
    asked: list[Passage] = []
    stream = passages(source, count, seed)
    with contextlib.ExitStack() as files:
        each, whole = (files.enter_context((one / "corpus.jsonl").open("w", encoding="utf-8")) for one in sets)
        for first in range(0, count, TEXT_PASSAGES):
            parts = list(islice(stream, TEXT_PASSAGES))
            each.writelines(_line(part.docid, part.title, part.text) for part in parts)
            whole.write(_line(parts[0].document, parts[0].title, " ".join(part.text for part in parts)))
            if first % every == 0 and len(asked) < QUERIES:
                asked.append(parts[0])
            progress.advance(len(parts))
    _write_queries(sets[0], [(p.title, p.docid) for p in asked])
    _write_queries(sets[1], [(p.title, p.document) for p in asked])


def write_corpus(source: Source, file: Path, count: int, seed: int = 0, progress: Progress = SILENT) -> None:
    """Write `count` passages as the Arrow file of a corpus, batch by batch."""
    import pyarrow as pa

    stream = passages(source, count, seed)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, CORPUS_SCHEMA) as writer:
        while batch := list(islice(stream, _BATCH)):
            writer.write_table(Corpus.from_passages(batch).table)
            progress.advance(len(batch))


def _stands_alone(sentence: str) -> bool:
    if len(sentence.split()) not in _SENTENCE_WORDS or not (sentence[0].isalpha() and sentence[0].isupper()):
        return False
    return sentences(f"{sentence} {_PROBE}") == [sentence, _PROBE]


def _texts(source: Source, count: int, rng: random.Random) -> Iterator[str]:
    """Fill passages with sentences drawn at random; what no longer fits into one begins the next."""
    seen: set[int] = set()
    first = rng.choice(source.sentences)
    while len(seen) < count:
        text, following = _filled(first, source, rng)
        if hash(text) not in seen:
            seen.add(hash(text))
            yield text
            first = following


def _filled(first: tuple[str, int], source: Source, rng: random.Random) -> tuple[str, tuple[str, int]]:
    chosen, words = [first[0]], first[1]
    while True:
        sentence, more = drawn = rng.choice(source.sentences)
        if words + more > PASSAGE_WORDS:
            return " ".join(chosen), drawn
        chosen.append(sentence)
        words += more


def _mixed(titles: list[str], rng: random.Random) -> str:
    """Put the first half of one title before the second halves of two others, as `harness.bench.trie.mixed` does."""
    words: list[str] = []
    for half in (0, 1, 1):
        parts = rng.choice(titles).split()
        middle = (len(parts) + 1) // 2
        words += parts[middle:] if half else parts[:middle]
    return " ".join(words)


def _line(docid: str, title: str, text: str) -> str:
    return json.dumps({"_id": docid, "title": title, "text": text}, ensure_ascii=False) + "\n"


def _write_queries(folder: Path, asked: list[tuple[str, str]]) -> None:
    queries = "".join(json.dumps({"_id": f"q{n}", "text": title}) + "\n" for n, (title, _) in enumerate(asked))
    rows = "".join(f"q{n}\t{docid}\t1\n" for n, (_, docid) in enumerate(asked))
    (folder / "queries.jsonl").write_text(queries, encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}", encoding="utf-8")
