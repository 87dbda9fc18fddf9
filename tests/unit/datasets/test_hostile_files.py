"""Files that are meant to harm: endless lines, pipes, odd bytes and numbers, archives that keep their reader busy."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import pytest

from harness import trecfile
from harness.datasets import checks, files, jsonarray, load, rows
from harness.errors import DataError, HarnessError
from tests.property.hostile import SMALL_SET, put, within
from tests.unit.datasets.golden import refuses

HEADER = b"query-id\tcorpus-id\tscore\n"
MIB = 2**20


def small(folder: Path, **files: bytes) -> Path:
    """Write the small set; keywords replace corpus, queries or test."""
    names = {"corpus": "corpus.jsonl", "queries": "queries.jsonl", "test": "qrels/test.tsv"}
    kept = {name: raw for name, raw in SMALL_SET.items() if name != "qrels/train.tsv"}
    return put(folder / "set", {**kept, **{names[key]: raw for key, raw in files.items()}})


def endless(path: Path, begin: bytes, size: int = 1000 * MIB) -> Path:
    """Write a file that begins with some bytes and goes on with so many zeros, which take no room on the disk."""
    path.write_bytes(begin)
    os.truncate(path, len(begin) + size)
    return path


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_a_line_of_a_gigabyte_is_refused_before_all_of_it_is_read(name: str, tmp_path: Path) -> None:
    folder = small(tmp_path)
    load(str(folder))  # what is imported on the way is no part of what is measured
    sound = SMALL_SET[name]
    endless(folder / name, sound)

    def fails() -> None:
        error = refuses(str(folder), DataError)
        assert (error.file, error.line) == (folder / name, sound.count(b"\n") + 1)
        assert (error.expected, error.got) == ("lines of at most 67,108,864 bytes", "a longer one")

    # What is read, once in pieces and once whole.
    assert peak_bytes(fails) < 140 * MIB


def test_a_line_of_100_mb_in_an_archive_is_refused(tmp_path: Path) -> None:
    folder = small(tmp_path)
    (folder / "corpus.jsonl").unlink()
    with gzip.open(folder / "corpus.jsonl.gz", "wb", compresslevel=1) as file:
        file.write(SMALL_SET["corpus.jsonl"])
        for _ in range(100):
            file.write(os.urandom(MIB // 16).hex().encode() * 8)
    error = refuses(str(folder), DataError)
    assert (error.line, error.got) == (6, "a longer one")


def test_a_line_of_the_longest_length_is_read() -> None:
    raw = b"12345678\n123456789"
    assert list(checks.raw_lines(io.BytesIO(raw), Path("a"), 9)) == [b"12345678\n", b"123456789"]
    with pytest.raises(DataError) as caught:
        list(checks.raw_lines(io.BytesIO(raw), Path("a"), 8))
    assert (caught.value.file, caught.value.line) == (Path("a"), 1)


@pytest.mark.parametrize("name", ["big.csv", "big.tsv", "big.jsonl"])
def test_a_field_of_a_gigabyte_in_a_table_is_refused(name: str, tmp_path: Path) -> None:
    begin = b"text\tid\n" if name.endswith(".tsv") else b"text,id\n" if name.endswith(".csv") else b'{"text": "'
    error = refuses(f"table:{endless(tmp_path / name, begin)}", DataError)
    assert error.got == "a longer one"


def test_a_quote_that_nobody_closes_does_not_take_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text\n"begins\n' + "goes on\n" * 10_000)
    monkeypatch.setattr(rows, "_LONGEST_FIELD", 1000)
    error = refuses(f"table:{path}", DataError)
    assert (error.line, "larger than field limit" in error.got) == (2, True)


def test_a_text_of_a_gigabyte_is_refused(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    endless(tmp_path / "texts" / "big.txt", b"a\n")
    error = refuses(f"texts:{tmp_path / 'texts'}", DataError)
    assert error.file == tmp_path / "texts" / "big.txt"


def test_an_element_of_100_mb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'[1, "' + b"x" * 100 * MIB)
    with pytest.raises(DataError) as caught:
        list(jsonarray.items(path))
    assert caught.value.expected == "elements of at most 67,108,864 characters"


def test_an_array_of_many_small_elements_takes_no_longer_for_each(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([1] * 400_000))
    with within(15):
        assert sum(1 for _ in jsonarray.items(path)) == 400_000


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "circle"])
def test_what_is_no_file_is_refused_and_not_waited_for(name: str, kind: str, tmp_path: Path) -> None:
    folder = small(tmp_path)
    path = folder / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path)
    with within(5):
        error = refuses(str(folder), DataError)
    assert error.file == path


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = small(tmp_path)

    def refuse(path: Path) -> BinaryIO:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    # A file mode would not do: who may do everything may read everything.
    monkeypatch.setattr(files, "opened", refuse)
    error = refuses(str(folder), DataError)
    assert (error.file, error.got) == (folder / "corpus.jsonl", "Permission denied")


@pytest.mark.parametrize(
    ("source", "file"),
    [
        ("table:{folder}/a.csv", "a.csv"),
        ("table:{folder}/a.jsonl.gz", "a.jsonl.gz"),
        ("{folder}/a.zip", "a.zip"),
        ("{folder}/a.tar.gz", "a.tar.gz"),
        ("release:{folder}", "docs.json"),
        ("nq320k:{folder}", "corpus_lite.json"),
        ("msmarco-docs:{folder}", "msmarco-doctrain-qrels.tsv"),
        ("kilt:{folder}", "nq-dev-kilt.jsonl"),
        ("texts:{folder}", "a.txt"),
        ("squad:{folder}/a.json", "a.json"),
        ("squad:{folder}/a.json.gz", "a.json.gz"),
    ],
)
def test_a_pipe_is_waited_for_by_no_source(source: str, file: str, tmp_path: Path) -> None:
    beside = ["train.json", "dev.json", "test.json", "msmarco-docs.tsv", "kilt_knowledgesource.json"]
    beside += [f"msmarco-{s}-{kind}.tsv" for s in ("doctrain", "docdev") for kind in ("queries", "qrels")]
    for name in beside:
        (tmp_path / name).write_bytes(b"")
    pipe(tmp_path / file)
    with within(5):
        refuses(source.format(folder=tmp_path), DataError)


def test_a_pipe_is_no_run(tmp_path: Path) -> None:
    pipe(tmp_path / "run")
    for read in (trecfile.sha256, lambda path: list(trecfile.read(path))):
        with within(5), pytest.raises(DataError, match="a pipe"):
            read(tmp_path / "run")
        with pytest.raises(DataError, match="null byte"):
            read(Path("a\0b"))


BAD_IDS = {
    "tab": "a\tb",
    "newline": "a\nb",
    "blank": "a b",
    "empty": "",
    "file separator": "a\x1cb",
    "wide blank": "\u3000",
}


@pytest.mark.parametrize("case", BAD_IDS)
@pytest.mark.parametrize("file", ["corpus", "queries"])
def test_ids_that_columns_cannot_hold(case: str, file: str, tmp_path: Path) -> None:
    row = json.dumps({"_id": BAD_IDS[case], "text": "x"}).encode()
    error = refuses(str(small(tmp_path, **{file: row + b"\n"})), DataError)
    assert (error.line, "holds no white space" in error.expected) == (1, True)


def test_ids_with_slashes_and_dots_are_ids(tmp_path: Path) -> None:
    folder = small(
        tmp_path,
        corpus=b'{"_id": "../../etc/passwd", "text": "x"}\n',
        queries=b'{"_id": "/q/\\u00e4", "text": "x"}\n',
        test=HEADER + "/q/ä\t../../etc/passwd\t1\n".encode(),
    )
    dataset = load(str(folder))
    assert dataset.corpus.docids == ("../../etc/passwd",)
    assert dataset.test.qrels == {"/q/ä": {"../../etc/passwd": 1}}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"]


BAD_TEXTS = {
    "NUL": (b'{"_id": "a", "text": "x\\u0000y"}', "a NUL character at position 1"),
    "raw NUL": (b'{"_id": "a", "text": "x\0y"}', "a NUL byte at offset "),
    "half a pair": (b'{"_id": "a", "text": "\\ud83d"}', "half a surrogate pair"),
    "the other half": (b'{"_id": "\\udc00", "text": "x"}', "half a surrogate pair"),
    "a pair in UTF-8": (b'{"_id": "a", "text": "\xed\xa0\xbd\xed\xb8\x80"}', "which is not UTF-8"),
    "a title of half a pair": (b'{"_id": "a", "title": "\\ud83d", "text": "x"}', "half a surrogate pair"),
    "a gigantic number": (b'{"_id": "a", "text": ' + b"1" * 5000 + b"}", "cannot be read"),
    "a gigantic exponent": (b'{"_id": "a", "text": 1e999}', "a number"),
    "no number": (b'{"_id": "a", "text": NaN}', "a number"),
    "deep": (b'{"_id": "a", "text": ' + b"[" * 100_000, "cannot be read"),
    "a list": (b'{"_id": "a", "text": ["x"]}', "a list"),
    "an array": (b'["a"]', "a list"),
    "another encoding": ('{"_id": "a", "text": "ä"}'.encode("utf-16-le"), "which is not UTF-8"),
}


@pytest.mark.parametrize("case", BAD_TEXTS)
def test_values_that_are_no_text(case: str, tmp_path: Path) -> None:
    row, got = BAD_TEXTS[case]
    error = refuses(str(small(tmp_path, corpus=b'{"_id": "d1", "text": "x"}\n' + row + b"\n")), DataError)
    assert (error.line, got in error.got) == (2, True)
    assert len(str(error)) < 1000


def test_marks_and_line_ends_of_other_systems_change_nothing(tmp_path: Path) -> None:
    plain = load(str(small(tmp_path / "plain")))
    other = {
        name: b"\xef\xbb\xbf" + raw.replace(b"\n", b"\r\n") for name, raw in SMALL_SET.items() if "train" not in name
    }
    assert load(str(put(tmp_path / "set", other))).card["checksum"] == plain.card["checksum"]


def test_of_a_key_twice_the_last_counts_as_in_every_reader_of_json(tmp_path: Path) -> None:
    folder = small(tmp_path, corpus=SMALL_SET["corpus.jsonl"] + b'{"_id": "d1", "_id": "d9", "text": "x"}\n')
    assert load(str(folder)).corpus.docids[-1] == "d9"


@pytest.mark.parametrize("grade", ["1" * 5000, "-" + "9" * 11, "2147483648", "1e999", "NaN", "inf", "0x1", "1.0"])
def test_grades_that_are_none(grade: str, tmp_path: Path) -> None:
    error = refuses(str(small(tmp_path, test=HEADER + f"q1\td1\t{grade}\n".encode())), DataError)
    assert (error.line, "32 bits" in error.expected) == (2, True)
    assert len(error.got) < 100


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
@pytest.mark.parametrize("raw", [b"", b"\n\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
def test_an_empty_file(name: str, raw: bytes, tmp_path: Path) -> None:
    folder = small(tmp_path)
    (folder / name).write_bytes(raw)
    refuses(str(folder), DataError)


def test_a_huge_id_is_not_repeated_in_the_message(tmp_path: Path) -> None:
    row = json.dumps({"_id": "x" * MIB, "text": "x"}).encode() + b"\n"
    error = refuses(str(small(tmp_path, corpus=row * 2)), DataError)
    assert len(str(error)) < 10_000
    assert "characters)\n      do rename" in str(error)


def test_a_message_moves_no_cursor(tmp_path: Path) -> None:
    folder = small(tmp_path / "\x1b[31m", test=HEADER + b"q1\td1\t1\nq1\td1\t2\n\x1b[2J\td1\t1\n")
    assert "\\x1b[31m/set/qrels/test.tsv:3" in str(refuses(str(folder), DataError))
    queries = SMALL_SET["queries.jsonl"] + b'{"_id": "\\u001b[2J", "text": "x"}\n'
    error = refuses(str(small(tmp_path, queries=queries, test=HEADER + b"\x1b[2J\td1\t1\n\x1b[2J\td1\t2\n")), DataError)
    assert "\x1b" not in str(error)
    assert "\\x1b[2J" in str(error)


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    folder = small(tmp_path).rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    dataset = load(str(folder))
    assert dataset.name == "caf?"
    json.dumps(dict(dataset.card), ensure_ascii=False).encode()


def test_answers_come_from_a_column_only_where_one_is_named(tmp_path: Path) -> None:
    # As pandas writes its index: a column without a name.
    path = tmp_path / "a.csv"
    path.write_text(",text,question\nhidden,A text,Which?\n")
    assert load(f"table:{path}?query=question").test.queries[0].answers == ()
    path = tmp_path / "a.jsonl"
    path.write_text('{"": 5, "text": "A text", "question": "Which?"}\n')
    assert load(f"table:{path}?query=question").test.queries[0].answers == ()


def test_a_user_that_no_system_knows() -> None:
    assert "null byte" in refuses("beir:~a\0b", DataError).got


def tarred(path: Path, *members: tuple[bytes, bytes, int]) -> Path:
    """Write a .tar.gz of (kind, content, size as its header says)."""
    blocks = []
    for number, (kind, raw, size) in enumerate(members):
        info = tarfile.TarInfo(f"m{number}")
        info.type = kind
        head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
        head[124:136] = (size % 2**96).to_bytes(12, "big") if size < 0 else b"%011o\0" % size
        head[148:156] = b"%06o\0 " % (sum(head[:148]) + sum(head[156:512]) + 8 * ord(" "))
        blocks.append(bytes(head) + raw + b"\0" * (-len(raw) % 512))
    path.write_bytes(gzip.compress(b"".join(blocks) + b"\0" * 1024))
    return path


TARS: Mapping[str, tuple[tuple[bytes, bytes, int], ...]] = {
    "a row of digits": ((b"x", b"9" * 500_000, 500_000),),
    "many rows of digits": ((b"x", b"9" * 8000, 8000), (b"0", b"", 0)) * 500,
    "a number of gigantic length": ((b"x", b"1" * 30 + b" a=b\n", 35),),
    "a size below 0": ((b"0", b"x", 1), (b"0", b"x", -1024)),
    "a header of a size below 0": ((b"0", b"x", 1), (b"x", b"x", -1024)),
    "headers of headers": ((b"x", b"5 a=\n", 5),) * 3000,
}


@pytest.mark.parametrize("case", TARS)
def test_a_tar_that_keeps_its_reader_busy(case: str, tmp_path: Path) -> None:
    with within(5):
        error = refuses(str(tarred(tmp_path / "set.tar.gz", *TARS[case])), DataError)
    assert error.file == tmp_path / "set.tar.gz"


@pytest.mark.parametrize("offset", [2**62, 2**63, 2**64 - 1])
def test_a_zip_whose_member_lies_nowhere(offset: int, tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for name, raw in SMALL_SET.items():
            info = zipfile.ZipInfo(name)
            info.extra = struct.pack("<HHQ", 1, 8, 0)
            packed.writestr(info, raw)
    raw = bytearray(path.read_bytes())
    entry = raw.index(b"PK\x01\x02")
    struct.pack_into("<L", raw, entry + 42, 2**32 - 1)
    extra = raw.index(struct.pack("<HH", 1, 8), entry)
    struct.pack_into("<Q", raw, extra + 4, offset)
    path.write_bytes(raw)
    with pytest.raises(HarnessError):
        load(str(path))
