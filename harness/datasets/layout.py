"""Find the files of a set in BEIR layout: in a folder, or in an archive, there also below other folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from harness.datasets import archive, checks, files, paths
from harness.datasets.files import File
from harness.errors import DataError

CORPUS, QUERIES = "corpus.jsonl", "queries.jsonl"
QRELS = {
    split: tuple(f"qrels/{split}{ending}" for ending in (".tsv", ".trec", ".qrels", ".txt"))
    for split in ("train", "dev", "test")
}
"""Split -> where its judgements may be, in one of these files; those of train and dev may be missing."""
WORDS = "corpus.jsonl, queries.jsonl and qrels/test.tsv"
_PACKED = ".gz"


class Layout(NamedTuple):
    """The files of a set; `source` says in words where it is, `qrels` has the splits there are."""

    name: str
    source: str
    corpus: File
    queries: File
    qrels: Mapping[str, File]


def find(path: Path) -> Layout:
    """Find the files of a set in the folder or archive `path`.

    In a folder, corpus.jsonl.gz or queries.jsonl.gz stands for the file without ".gz" where that is missing.

    Raises:
        DataError: there is nothing, a file is missing, or the archive cannot be used.
    """
    if archive.is_archive(path) and path.is_file():
        return _packed(path)
    checks.folder(path, f"a folder with {WORDS}, or one packed as {' or '.join(archive.SUFFIXES)}")
    names = (CORPUS, QUERIES, *(name for places in QRELS.values() for name in places))
    there = {name: _plain(path / name) for name in names}
    name = paths.readable(path.resolve().name) or "beir"
    return _complete(path, name, f"the folder {name}", {n: file for n, file in there.items() if file is not None})


def _plain(path: Path) -> File | None:
    packed = path.with_name(path.name + _PACKED)
    return next((files.of(p) for p in (path, packed) if checks.exists(p)), None)


def _packed(path: Path) -> Layout:
    members = archive.files(path)
    tops = sorted({str(PurePosixPath(name).parent) for name in members if PurePosixPath(name).name == CORPUS})
    if len(tops) != 1:
        got = f"{len(tops)}: {', '.join(repr(top) for top in tops[:3])}" if tops else f"none among {len(members)} files"
        fix = f"pack one folder with {WORDS}" + ", or unpack it and give one of the folders" * bool(tops)
        raise DataError(f"one folder with {CORPUS} in the archive", got, fix, file=path)
    top = PurePosixPath(tops[0])
    there = {str(PurePosixPath(name).relative_to(top)): members[name] for name in members if top in _above(name)}
    return _complete(
        path / top, paths.readable(archive.stem(path)) or "beir", f"the archive {paths.readable(path.name)}", there
    )


def _above(name: str) -> tuple[PurePosixPath, ...]:
    return tuple(PurePosixPath(name).parents)


def _complete(folder: Path, name: str, source: str, there: Mapping[str, File]) -> Layout:
    qrels = {split: found for split in QRELS if (found := _judgements(folder, split, there)) is not None}
    missing = [name for name in (CORPUS, QUERIES) if name not in there] + [QRELS["test"][0]] * ("test" not in qrels)
    if missing:
        fix = (
            f"put {missing[0]} there, or give another path; texts without questions are read from a folder of .txt "
            "and .md files with texts:PATH, or from a .csv, .tsv or .jsonl file with table:FILE"
        )
        raise DataError(f"a set in BEIR layout ({WORDS})", "no such file", fix, file=folder / missing[0])
    return Layout(name, source, there[CORPUS], there[QUERIES], qrels)


def _judgements(folder: Path, split: str, there: Mapping[str, File]) -> File | None:
    found = [place for place in QRELS[split] if place in there]
    if len(found) > 1:
        fix = "keep the one that holds the judgements"
        raise DataError(f"one file of judgements for {split}", ", ".join(found), fix, file=folder / found[1])
    return there[found[0]] if found else None
