"""What the tests of hostile input share: how many examples, nasty values, damage to bytes, and what may come out.

The normal suite tries a few examples of each kind, always the same; `--hypothesis-profile=hostile` tries all of
`EXAMPLES`, other ones each time.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.datasets import DatasetSettings, convert, inspect, load, stored
from harness.errors import HarnessError
from harness.printable import printable
from harness.types import Dataset

EXAMPLES: Mapping[str, int] = {
    "beir values": 2500,
    "beir bytes": 1500,
    "tables values": 1500,
    "tables bytes": 800,
    "texts": 800,
    "zip": 1200,
    "tar": 1200,
    "kilt": 800,
    "release": 800,
    "nq320k of GenRet": 600,
    "nq320k of NCI": 600,
    "msmarco-docs": 600,
    "squad": 600,
    "runs of others": 1500,
    "runs of ours": 600,
    "experiments values": 1200,
    "experiments bytes": 600,
    "settings": 800,
    "the command line": 400,
}
"""Kind of input -> how many examples of it the hostile profile tries."""
SHARE = 40
"""The normal suite tries one of so many."""
HANG_S = 20
LONGEST_MESSAGE = 12_000
"""Characters: three parts and a path of bounded length."""

Case = TypeVar("Case")
WHOLE = DatasetSettings()


def examples(kind: str) -> int:
    """How many examples of a kind are tried now."""
    whole = EXAMPLES[kind]
    return whole if settings.get_current_profile_name() == "hostile" else max(6, whole // SHARE)


def fuzz(kind: str, cases: st.SearchStrategy[Case], check: Callable[[Case], str]) -> Counter[str]:
    """Try `check` on examples; return how often it said what. A hang is a failure too."""
    seen: Counter[str] = Counter()
    wild = settings.get_current_profile_name() == "hostile"

    @settings(
        max_examples=examples(kind),
        deadline=None,
        database=None,
        derandomize=not wild,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def each(case: Case) -> None:
        with within(HANG_S):
            seen[check(case)] += 1

    each()
    assert seen.total() >= examples(kind)
    return seen


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail where the block takes longer, even where it waits for something that never comes."""

    def fail(number: int, frame: object) -> None:
        raise AssertionError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """Give a folder for a set, three levels deep in one that must be empty but for it when the block ends."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as top:
        own, scratch = Path(top, "a", "b", "data"), Path(top, "scratch")
        own.mkdir(parents=True)
        scratch.mkdir()
        before, tempfile.tempdir = tempfile.tempdir, str(scratch)
        try:
            yield own
        finally:
            tempfile.tempdir = before
        assert list(scratch.iterdir()) == []
        assert [path for path in Path(top).rglob("*") if own not in (path, *path.parents)] == [
            Path(top, "a"),
            scratch,
            Path(top, "a", "b"),
        ]


def files_below(folder: Path) -> dict[Path, bytes]:
    """Return what is in the files of a folder."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def try_to_load(name: str, settings: DatasetSettings = WHOLE) -> str:
    """Load a dataset; it must be sound, or refused with a message as it must be."""
    try:
        dataset = load(name, settings)
    except HarnessError as error:
        return refused(error)
    sound(dataset)
    again = load(name, settings)
    assert dict(again.card) == dict(dataset.card)
    return "loaded"


def refused(error: HarnessError) -> str:
    """Check the message of an error."""
    text = str(error)
    assert re.search(r"expected .+\n +got .+\n +do .+", text, re.DOTALL), text
    assert len(text) <= LONGEST_MESSAGE
    assert text == printable(text)
    text.encode()
    return "refused"


def sound(dataset: Dataset) -> None:
    """Check what every dataset promises, look it over, store it, and write it in BEIR layout."""
    docids = dataset.corpus.docids
    assert docids
    assert len(set(docids)) == len(docids)
    assert dataset.name
    for passage in dataset.corpus:
        assert all(map(_text, passage))
        assert _id(passage.docid) and _id(passage.document)
    for split in (dataset.train, dataset.dev, dataset.test):
        assert [query.qid for query in split.queries] == list(split.qrels)
        for query in split.queries:
            assert _id(query.qid)
            assert all(map(_text, (query.text, *query.answers)))
            judged = split.qrels[query.qid]
            assert max(judged.values()) >= 1
            assert all(type(grade) is int and docid in dataset.corpus.row_of for docid, grade in judged.items())
    for pair in inspect.rows(inspect.examine(dataset)):
        assert all(line == printable(line) and "\n" not in line for line in pair)
    _comes_back(dataset)


def _text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value and value.encode("utf-8").decode("utf-8") == value


def _id(value: str) -> bool:
    return _text(value) and value != "" and not any(map(str.isspace, value))


def _comes_back(dataset: Dataset) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stored.save(dataset, Path(folder, "stored"))
        there = stored.open_folder(Path(folder, "stored"))
        assert (there.name, stored.checksum(there)) == (dataset.name, dataset.card["checksum"])
        assert json.loads(json.dumps(dict(dataset.card), allow_nan=False)) == there.card
        out = Path(folder, "beir")
        try:
            convert.write(dataset, out)
        except HarnessError as error:
            refused(error)
            assert not out.exists()
        else:
            if dataset.test.queries:
                assert load(f"beir:{out}").card["checksum"] == dataset.card["checksum"]


NASTY = (
    "",
    " ",
    "d1",
    "q1",
    "a b",
    "a\tb",
    "a/b",
    "../../etc/passwd",
    "a\nb",
    "a\r",
    "\ufeffd1",
    "\u2028",
    "\x85",
    "\x1c",
    "\u200b",
    "\x1b[31mred",
    "\x9b31m",
    "\u202egnp.exe",
    "a\0b",
    "\ud800",
    "\udfffx",
    "e\u0301",
    "é",
    "\U0001f600",
    "{0.__class__}",
    "{{7*7}}",
    "%s%n%d",
    "[bold]x[/bold]",
    "[/]",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "\\input{/etc/passwd}",
    "a%20b",
    "%",
    "-1",
    "NaN",
    "1e999",
    "9" * 400,
    "null",
    "x" * 5000,
    "word " * 500,
)
TEXTS = st.sampled_from(NASTY) | st.text(max_size=12) | st.text(st.characters(), max_size=6)
IDS = st.sampled_from(["d1", "d2", "d3", "q1", "q2", "1", "2"])
"""Ids that may well meet."""
RAW_JSON = (
    "NaN",
    "-Infinity",
    "1e999",
    "-0",
    "1" * 5000,
    "0.1",
    "[" * 3000,
    '{"a":' * 3000,
    "[" * 50 + "]" * 50,
    "tru",
    "true",
    "null",
    '"unterminated',
    '"\t"',
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\ud83d\\ude00"',
    '"\\u0000"',
    '"\\x41"',
    "{}",
    "[]",
    '[""]',
    "",
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def written(values: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    """Write values as JSON; lone surrogates become escapes."""
    return values.map(json.dumps)


ANY_JSON = st.sampled_from(RAW_JSON) | written(VALUES)


def mostly(good: st.SearchStrategy[Case], bad: st.SearchStrategy[Case], times: int = 12) -> st.SearchStrategy[Case]:
    """Draw good values, and a bad one of so many."""
    return st.integers(0, times).flatmap(lambda n: bad if n == times else good)


@st.composite
def objects(draw: st.DrawFn, fields: Mapping[str, st.SearchStrategy[str]]) -> str:
    """Write a JSON object of these fields (name -> JSON); now and then one is missing, twice, or there are others."""
    pairs = []
    for name, values in fields.items():
        copies = draw(mostly(st.just(1), st.sampled_from([0, 2]), 20))
        pairs += [f"{json.dumps(name)}: {draw(mostly(values, ANY_JSON, 30))}" for _ in range(copies)]
    if draw(st.integers(0, 10)) == 10:
        pairs.append(f"{json.dumps(draw(TEXTS))}: {draw(ANY_JSON)}")
    return "{" + ", ".join(pairs) + "}"


def lines(rows: st.SearchStrategy[str], least: int = 0, most: int = 5) -> st.SearchStrategy[bytes]:
    """Join rows to a file, with the line ends of one system or another, mostly with a last one."""
    ends = st.sampled_from(["\n", "\n", "\n", "\r\n", "\n\n", "\r"])
    many = st.lists(mostly(rows, ANY_JSON | st.sampled_from(NASTY), 40), min_size=least, max_size=most)
    marks = mostly(st.just(""), st.sampled_from(["\ufeff", "\ufeff\ufeff", "\n"]), 10)
    return st.tuples(many, ends, st.booleans(), marks).map(
        lambda t: (t[3] + t[1].join(t[0]) + t[1] * t[2]).encode("utf-8", "surrogatepass")
    )


SPLINTERS = (
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\xc0\x80",
    b"\r",
    b"\r\n",
    b"\n\n",
    b'"',
    b"'",
    b"\\",
    b"\\ud800",
    b"\\u0000",
    b"\t",
    b" ",
    b",",
    b"{",
    b"[" * 2000,
    b"}",
    b"9" * 400,
    b"-",
    b"1e999",
    b"NaN",
    b"\x1b[2J",
    b"\xe2\x80\xa8",
)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Change a file in a few places: bytes other, gone, put in, a piece twice, the end cut off."""
    raw = bytearray(whole)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        how = draw(st.integers(0, 5))
        if how == 0:
            raw[at:at] = draw(st.sampled_from(SPLINTERS))
        elif how == 1:
            del raw[at : at + draw(st.integers(1, 20))]
        elif how == 2 and at < len(raw):
            raw[at] = draw(st.integers(0, 255))
        elif how == 3:
            raw[at:at] = raw[at : at + draw(st.integers(1, 80))]
        elif how == 4:
            del raw[at:]
        else:
            raw[at:at] = draw(st.binary(max_size=8))
    return bytes(raw)


def put(folder: Path, content: Mapping[str, bytes]) -> Path:
    """Write files into a folder."""
    for name, raw in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)
    return folder


def unchanged(folder: Path, check: Callable[[], str]) -> str:
    """Return what `check` says; it must leave the files of the folder as they are."""
    before = files_below(folder)
    said = check()
    assert files_below(folder) == before
    return said


SMALL_SET: Mapping[str, bytes] = {
    "corpus.jsonl": b"".join(
        b'{"_id": "d%d", "title": "Title %d", "text": "text number %d of the set"}\n' % (n, n, n) for n in range(1, 6)
    ),
    "queries.jsonl": b'{"_id": "q1", "text": "which is 1", "metadata": {"answers": ["one"]}}\n'
    b'{"_id": "q2", "text": "which is 2"}\n',
    "qrels/test.tsv": b"query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t2\n",
    "qrels/train.tsv": b"q2 0 d3 1\nq2 0 d4 0\n",
}
"""A sound set in BEIR layout; the judgements of train are TREC's."""
