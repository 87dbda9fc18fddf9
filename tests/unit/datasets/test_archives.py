"""Sets in BEIR layout inside archives: read as the folder is, and every way an archive can be bad or hostile."""

from __future__ import annotations

import gzip
import io
import random
import re
import shutil
import stat
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.datasets import archive, files, load
from harness.errors import DataError, HarnessError
from harness.types import Dataset, Passage, Query

HEADER = "query-id\tcorpus-id\tscore\n"
SET: Mapping[str, str] = {
    "corpus.jsonl": "".join(f'{{"_id": "d{n}", "title": "T{n}", "text": "text {n}"}}\n' for n in range(1, 13)),
    "queries.jsonl": '{"_id": "q1", "text": "which text is 1"}\n{"_id": "q2", "text": "which text is 12"}\n',
    "qrels/test.tsv": HEADER + "q1\td1\t1\n",
    "qrels/train.tsv": HEADER + "q2\td12\t1\n",
}
ENDINGS = (".zip", ".tar.gz", ".tgz")


def pack(path: Path, content: Mapping[str, str | bytes]) -> Path:
    """Write an archive of the kind that its name says."""
    raw = {name: text.encode() if isinstance(text, str) else text for name, text in content.items()}
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, data in raw.items():
                packed.writestr(name, data)
        return path
    with tarfile.open(path, "w:gz") as tar:
        for name, data in raw.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def below(top: str, content: Mapping[str, str] = SET) -> dict[str, str]:
    return {f"{top}{name}": text for name, text in content.items()}


def unpacked(folder: Path, content: Mapping[str, str] = SET) -> Path:
    for name, text in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def fails(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        load(f"beir:{path}")
    assert re.search(r"expected .*\n +got .*\n +do ", str(caught.value))
    return caught.value


def is_the_set(dataset: Dataset) -> bool:
    first, tenth, last = (dataset.corpus[row] for row in (0, 9, 11))
    assert len(dataset.corpus) == 12
    assert first == Passage("d1", "T1", "text 1", "d1")
    assert tenth == Passage("d10", "T10", "text 10", "d10")
    assert last == Passage("d12", "T12", "text 12", "d12")
    assert dataset.test.queries == (Query("q1", "which text is 1"),)
    return dataset.train.qrels == {"q2": {"d12": 1}} and not len(dataset.dev)


@pytest.mark.parametrize("ending", [*ENDINGS, ".ZIP"])
@pytest.mark.parametrize("top", ["", "set/", "./", "data/set/"])
def test_an_archive_is_read_as_the_folder_it_was_made_of(tmp_path: Path, ending: str, top: str) -> None:
    packed = pack(tmp_path / f"set{ending.lower()}", below(top)).rename(tmp_path / f"set{ending}")
    before = sorted(tmp_path.iterdir())
    dataset = load(f"beir:{packed}")
    assert is_the_set(dataset)
    assert dataset.name == "set"
    assert dataset.card["source"].startswith(f"the archive set{ending} in BEIR layout")
    assert dataset.card["checksum"] == load(str(unpacked(tmp_path / "other"))).card["checksum"]
    assert sorted(tmp_path.iterdir()) == [tmp_path / "other", *before]


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_of_another_system_beside_the_set_are_passed_over(tmp_path: Path, ending: str) -> None:
    extra = {"__MACOSX/set/._corpus.jsonl": "x", "set/.DS_Store": "x", "README.md": "x"}
    assert is_the_set(load(str(pack(tmp_path / f"set{ending}", {**extra, **below("set/")}))))


def test_packed_files_in_a_folder_stand_for_plain_ones(tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "set")
    for name in ("corpus.jsonl", "queries.jsonl"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    assert is_the_set(load(str(folder)))
    (folder / "queries.jsonl").write_text("{broken\n")
    assert fails(folder).file == folder / "queries.jsonl"


@pytest.mark.parametrize("ending", ENDINGS)
def test_errors_keep_the_member_and_its_line(tmp_path: Path, ending: str) -> None:
    broken = {**SET, "queries.jsonl": SET["queries.jsonl"] + "{broken\n"}
    packed = pack(tmp_path / f"set{ending}", below("top/", broken))
    error = fails(packed)
    assert (error.file, error.line) == (packed / "top" / "queries.jsonl", 3)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("missing", ["queries.jsonl", "qrels/test.tsv"])
def test_missing_member_names_it_and_the_other_sources(tmp_path: Path, ending: str, missing: str) -> None:
    packed = pack(tmp_path / f"set{ending}", below("top/", {n: t for n, t in SET.items() if n != missing}))
    error = fails(packed)
    assert (error.file, error.got) == (packed / "top" / missing, "no such file")
    assert "texts:" in error.fix
    assert "table:" in error.fix


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_set_and_two_sets(tmp_path: Path, ending: str) -> None:
    assert fails(pack(tmp_path / f"none{ending}", {"a.txt": "x"})).got == "none among 1 files"
    error = fails(pack(tmp_path / f"two{ending}", {**below("one/"), **below("two/")}))
    assert error.got == "2: 'one', 'two'"


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "name",
    ["../corpus.jsonl", "set/../../x", "/etc/passwd", "..\\x", "C:\\x", "C:x", "a/..", "\\\\host\\x"],
)
def test_a_member_that_climbs_out_is_named(tmp_path: Path, ending: str, name: str) -> None:
    error = fails(pack(tmp_path / f"set{ending}", {**SET, name: "x"}))
    assert error.expected == "an archive whose members stay inside it"
    assert repr(name) in error.got


def test_a_nul_byte_in_a_name_does_not_hide_its_end(tmp_path: Path) -> None:
    packed = pack(tmp_path / "set.zip", {**SET, "corpus.json_.txt": "x"})
    packed.write_bytes(packed.read_bytes().replace(b"corpus.json_.txt", b"corpus.json\0.txt"))
    assert fails(packed).got == r"the member 'corpus.json\x00.txt'"


def test_a_member_without_a_name(tmp_path: Path) -> None:
    packed = pack(tmp_path / "set.zip", {**SET, "x": "x"})
    raw = bytearray(packed.read_bytes())
    entry = raw.rindex(b"PK\x01\x02")
    # The one byte of its name becomes an extra field that says nothing.
    struct.pack_into("<HH", raw, entry + 28, 0, 1)
    packed.write_bytes(raw)
    assert fails(packed).got == "the member ''"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_named(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "set.tgz"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("set/corpus.jsonl")
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    assert fails(path).got == "the member 'set/corpus.jsonl, a link or a device'"


def test_a_link_in_a_zip_is_named(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("set/corpus.jsonl")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        packed.writestr(link, "/etc/passwd")
    assert fails(tmp_path / "set.zip").got == "the member 'set/corpus.jsonl, a link or a device'"


def test_an_encrypted_zip(tmp_path: Path) -> None:
    path = pack(tmp_path / "set.zip", SET)
    raw = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for found in re.finditer(signature, bytes(raw)):
            raw[found.start() + offset] |= 1
    path.write_bytes(raw)
    assert fails(path).expected == "an archive without a password"


def test_a_zip_packed_by_a_method_whose_memory_it_names_itself(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_LZMA) as packed:
        for name, text in SET.items():
            packed.writestr(name, text)
    assert fails(tmp_path / "set.zip").expected == "members packed with deflate"


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_member_twice(tmp_path: Path, ending: str) -> None:
    content = {**SET, "./corpus.jsonl": SET["corpus.jsonl"]}
    assert fails(pack(tmp_path / f"set{ending}", content)).got == "the member 'corpus.jsonl again'"


@pytest.mark.parametrize("ending", ENDINGS)
def test_more_members_than_a_set_has(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_MEMBERS", 3)
    assert fails(pack(tmp_path / f"set{ending}", SET)).expected == "an archive of at most 3 files"


LINE = '{"_id": "d0", "title": "' + "x" * 1_000_000 + '", "text": "x"}\n'


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_member_that_unpacks_to_far_too_much(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(tmp_path / f"set{ending}", below("set/", {**SET, "corpus.jsonl": LINE + SET["corpus.jsonl"]}))
    assert len(load(str(path)).corpus) == 13
    monkeypatch.setattr(files, "PLENTY_BYTES", 200_000)
    error = fails(path)
    assert re.fullmatch(r"at most 200,000 bytes from the [0-9,]+ that are packed", error.expected)
    assert error.file in (path, path / "set" / "corpus.jsonl")
    monkeypatch.setattr(files, "MOST_TIMES", 2000)
    assert len(load(str(path)).corpus) == 13


def test_a_packed_file_that_unpacks_to_far_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = unpacked(tmp_path / "set")
    (folder / "corpus.jsonl").unlink()
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress((LINE + SET["corpus.jsonl"]).encode()))
    monkeypatch.setattr(files, "PLENTY_BYTES", 200_000)
    assert fails(folder).file == folder / "corpus.jsonl.gz"


def test_a_zip_that_claims_to_be_packed_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rest = {name: text for name, text in SET.items() if name != "corpus.jsonl"}
    junk = random.Random(0).randbytes(300_000)
    path = pack(tmp_path / "set.zip", {"corpus.jsonl": LINE + SET["corpus.jsonl"], "junk": junk, **rest})
    raw = bytearray(path.read_bytes())
    for entry in re.finditer(b"PK\x01\x02", bytes(raw)):
        struct.pack_into("<L", raw, entry.start() + 20, 2**31)
    path.write_bytes(raw)
    monkeypatch.setattr(files, "PLENTY_BYTES", 200_000)
    monkeypatch.setattr(files, "MOST_TIMES", 2)
    assert fails(path).expected.endswith(f"from the {len(raw):,} that are packed")


def test_a_tar_that_names_a_gigantic_header(tmp_path: Path) -> None:
    member = tarfile.TarInfo("set/corpus.jsonl")
    member.type, member.size = tarfile.XHDTYPE, 2**40
    (tmp_path / "set.tgz").write_bytes(gzip.compress(member.tobuf(tarfile.GNU_FORMAT)))
    assert fails(tmp_path / "set.tgz").got.startswith("more, as archives do")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("content", [b"", b"no archive at all", b"PK\x03\x04", b"\x1f\x8b\x08\x00"])
def test_what_is_no_archive(tmp_path: Path, ending: str, content: bytes) -> None:
    (tmp_path / f"set{ending}").write_bytes(content)
    error = fails(tmp_path / f"set{ending}")
    assert (error.expected, error.file) == ("a whole archive", tmp_path / f"set{ending}")


@pytest.mark.parametrize("ending", ENDINGS)
def test_damage_anywhere_is_one_clear_error_or_none(tmp_path: Path, ending: str) -> None:
    path = pack(tmp_path / f"set{ending}", below("set/"))
    whole = path.read_bytes()
    draw = random.Random(0)
    refused = 0
    for _ in range(300):
        raw = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            raw[draw.randrange(len(raw))] = draw.randrange(256)
        path.write_bytes(raw[: draw.randint(1, len(raw))] if draw.random() < 0.3 else raw)
        try:
            is_the_set(load(str(path)))
        except (HarnessError, AssertionError):
            refused += 1
    assert refused > 100


@pytest.mark.shared_data
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_real_set_is_the_same_packed(shared_data: Path, tmp_path: Path, ending: str) -> None:
    source = shared_data / "cranfield"
    if ending == ".zip":
        packed = Path(shutil.make_archive(str(tmp_path / "cranfield"), "zip", source.parent, source.name))
    else:
        made = Path(shutil.make_archive(str(tmp_path / "cranfield"), "gztar", source.parent, source.name))
        packed = made.rename(tmp_path / f"cranfield{ending}")
    dataset, folder = load(f"beir:{packed}"), load(f"beir:{source}")
    assert len(dataset.corpus) == 1398
    assert [dataset.corpus[row].docid for row in (0, 9, 1397)] == ["cran-1", "cran-10", folder.corpus[1397].docid]
    assert dataset.card["checksum"] == folder.card["checksum"]
