"""Folders of text files: what is read, in which order, under which ids and titles, and what is passed over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.datasets import DatasetSettings, load
from harness.datasets.texts import docid_of, heading
from harness.errors import ConfigError, DataError
from harness.types import Passage


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return folder


def test_golden(tmp_path: Path) -> None:
    numbered = {f"notes/n{n:02}.txt": f"note number {n}\n" for n in range(1, 11)}
    folder = written(
        tmp_path / "mine",
        **numbered,
        **{
            "a first.md": "intro\r\n\r\n## The  heading ##\r\ntext\r\n",
            "zoo/deep/Ant.MD": "no heading",
            "zoo/.hidden.txt": "x",
            ".git/x.txt": "x",
            "picture.png": "x",
        },
    )
    dataset = load(f"texts:{folder}")
    assert dataset.name == "mine"
    assert len(dataset.corpus) == 12
    assert dataset.corpus[0] == Passage(
        "a%20first.md", "The heading", "intro\n\n## The  heading ##\ntext", "a%20first.md"
    )
    assert dataset.corpus[9] == Passage("notes/n09.txt", "n09", "note number 9", "notes/n09.txt")
    assert dataset.corpus[11] == Passage("zoo/deep/Ant.MD", "Ant", "no heading", "zoo/deep/Ant.MD")
    assert [len(split) for split in (dataset.train, dataset.dev, dataset.test)] == [0, 0, 0]
    assert dataset.card["notes"] == ["passed over: 1 other file"]
    assert dataset.card["protocol"]["split_rule"] == "no queries"


def test_texts_are_cut_as_those_of_other_sources(tmp_path: Path) -> None:
    folder = written(tmp_path / "mine", **{"a.txt": "Cats purr. They sleep all day."})
    dataset = load(f"texts:{folder}", DatasetSettings(max_passage_words=4))
    assert [(p.docid, p.text, p.document) for p in dataset.corpus] == [
        ("a.txt.0", "Cats purr.", "a.txt"),
        ("a.txt.1", "They sleep all day.", "a.txt"),
    ]


def test_the_order_is_that_of_the_paths(tmp_path: Path) -> None:
    folder = written(tmp_path, **dict.fromkeys(("b.txt", "a/z.txt", "a-b.txt", "a/a/q.txt", "B.txt"), "x"))
    assert list(load(f"texts:{folder}").corpus.docids) == ["B.txt", "a-b.txt", "a/a/q.txt", "a/z.txt", "b.txt"]


def test_links_are_passed_over_and_counted(tmp_path: Path) -> None:
    folder = written(tmp_path / "in", **{"sub/a.txt": "inside"})
    written(tmp_path / "out", **{"secret.txt": "outside"})
    (folder / "sub" / "circle").symlink_to(folder)
    (folder / "b.txt").symlink_to(tmp_path / "out" / "secret.txt")
    (folder / "c.txt").symlink_to("c.txt")
    dataset = load(f"texts:{folder}")
    assert dataset.corpus.docids == ("sub/a.txt",)
    assert dataset.card["notes"] == ["passed over: 3 links"]
    (tmp_path / "door").symlink_to(folder)
    assert load(f"texts:{tmp_path / 'door'}").corpus.docids == ("sub/a.txt",)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    written(tmp_path, **{"a.txt": "x"})
    os.mkfifo(tmp_path / "b.txt")
    assert load(f"texts:{tmp_path}").card["notes"] == ["passed over: 1 other file"]


def test_empty_texts_are_counted(tmp_path: Path) -> None:
    written(tmp_path, **{"a.txt": "x", "b.txt": " \n"})
    assert load(f"texts:{tmp_path}").card["notes"] == ["1 of 2 passages have no text"]


@pytest.mark.parametrize(
    ("name", "docid"),
    [
        ("a b/c\td.md", "a%20b/c%09d.md"),
        ("100%.txt", "100%25.txt"),
        ("a%20b.txt", "a%2520b.txt"),
        ("é/日本.txt", "é/日本.txt"),
        ("no\u00a0break\u2028.txt", "no%C2%A0break%E2%80%A8.txt"),
        ("\udcff\n.txt", "%FF%0A.txt"),
    ],
)
def test_docids_are_safe_and_still_tell_names_apart(name: str, docid: str) -> None:
    assert docid_of(name) == docid
    assert not any(character.isspace() for character in docid)


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("x")
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    assert load(f"texts:{tmp_path}").corpus[0] == Passage("caf%E9.txt", "caf\ufffd", "x", "caf%E9.txt")


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# One\n# Two", "One"),
        ("text\n\n###### Six", "Six"),
        ("####### Seven\n", ""),
        ("#hashtag\n# Real #\n", "Real"),
        ("# C#\n", "C#"),
        ("#\n# \n## Next", "Next"),
        ("    # code\n", ""),
        ("\t# code\n", ""),
        ("```sh\n# comment\n```\n# Real", "Real"),
        ("````\n```\n# still code\n````\n# Real", "Real"),
        ("~~~\n# never closed", ""),
        ("Set\n===\n", "Set"),
        ("===\nno title", ""),
        ("---\ntitle: x\n---\n# Real", "Real"),
        ("", ""),
        ("#" * 200_000 + " " * 200_000, ""),
    ],
)
def test_headings(text: str, title: str) -> None:
    assert heading(text) == title


def test_not_utf8_names_the_file_and_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"good\ncaf\xe9\n")
    with pytest.raises(DataError, match="0xe9 at offset 8") as caught:
        load(f"texts:{tmp_path}")
    assert (caught.value.file, caught.value.line) == (tmp_path / "a.txt", 2)


def test_no_texts_no_folder_no_other_settings(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"at least one .txt or .md file"):
        load(f"texts:{tmp_path}")
    (tmp_path / "x.pdf").touch()
    with pytest.raises(DataError, match="none, and 1 other files"):
        load(f"texts:{tmp_path}")
    with pytest.raises(DataError, match="a file"):
        load(f"texts:{tmp_path / 'x.pdf'}")
    with pytest.raises(DataError, match="no such folder"):
        load(f"texts:{tmp_path / 'nowhere'}")
    with pytest.raises(ConfigError, match="columns"):
        load(f"texts:{tmp_path}", DatasetSettings.model_validate({"columns": {"text": "body"}}))


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, **{"a.txt": "x", "sub/b.txt": "x"})
    real = os.scandir

    def closed(path: str) -> object:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(DataError, match="Permission denied") as caught:
        load(f"texts:{tmp_path}")
    assert caught.value.file == tmp_path / "sub"
