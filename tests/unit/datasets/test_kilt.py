"""KILT: pages become passages, provenances judgements; files as KILT writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.datasets import DatasetSettings, load
from harness.datasets.kilt import Word, cut
from harness.errors import ConfigError, DataError, UnknownNameError
from harness.types import Passage, Query
from tests.unit.datasets.golden import asked, passages, refuses

LONG = " ".join(f"w{n}" for n in range(250)) + ".\n"
"""One sentence of 250 words: two passages of at most 200, three of at most 100."""


def page(number: int, *paragraphs: str) -> dict[str, Any]:
    title = f"Page {number}"
    return {
        "_id": str(number),
        "wikipedia_id": str(number),
        "wikipedia_title": title,
        "text": [f"{title}\n", *paragraphs],
        "anchors": [],
        "categories": "",
        "history": {"pageid": str(number)},
    }


PAGES = [
    page(1, "One opens. It goes on.\n", "Section::::History.\n", "BULLET::::- Old times.\n"),
    page(2, LONG),
    *(page(number, f"Text of page {number}.\n") for number in range(3, 12)),
]


def span(number: int, first: int, start: int, last: int, end: int) -> dict[str, Any]:
    return {
        "wikipedia_id": str(number),
        "title": f"Page {number}",
        "section": "Section::::Abstract.",
        "start_paragraph_id": first,
        "start_character": start,
        "end_paragraph_id": last,
        "end_character": end,
        "bleu_score": 1.0,
        "meta": {},
    }


def question(qid: str, text: str | None, output: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": qid, "input": text, "output": output, "meta": {}}


DEV = [
    # As in NQ: an answer with its provenance, and one without.
    question("-35", "who opens", [{"answer": "One", "provenance": [span(1, 1, 0, 1, 9)]}, {"answer": "one"}]),
    # As in TriviaQA: aliases, then provenances in outputs of their own, of several pages.
    question(
        "tc_2",
        "which words",
        [
            {"answer": "w249"},
            {"answer": "W 249"},
            {"provenance": [span(2, 1, LONG.index("w199"), 1, LONG.index("w201")), span(3, 1, 0, 1, 4)]},
        ],
    ),
    *(question(f"q{n}", f"page {n}?", [{"answer": "x", "provenance": [span(n, 1, 0, 1, 4)]}]) for n in range(4, 12)),
]
TRAIN = [question("t1", "old?", [{"answer": "", "provenance": [{"wikipedia_id": 1, "title": "Page 1"}]}])]


def lines(rows: Sequence[Any]) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def write(folder: Path, **files: Sequence[Any] | None) -> Path:
    """Write the set; keywords replace the rows of a file (`source`, `train`, `dev`), None leaves it out."""
    rows: dict[str, Sequence[Any] | None] = {"source": PAGES, "train": TRAIN, "dev": DEV, **files}
    folder.mkdir(exist_ok=True)
    for name, content in rows.items():
        if content is not None:
            file = "kilt_knowledgesource.json" if name == "source" else f"nq-{name}-kilt.jsonl"
            (folder / file).write_text(lines(content), encoding="utf-8")
    return folder


def test_golden(tmp_path: Path) -> None:
    dataset = load(f"kilt:{write(tmp_path / 'kilt')}")
    assert dataset.name == "kilt-nq"
    assert passages(dataset) == (
        12,
        Passage("1.0", "Page 1", "One opens. It goes on. History. Old times.", "1"),
        Passage("9.0", "Page 9", "Text of page 9.", "9"),
        Passage("11.0", "Page 11", "Text of page 11.", "11"),
    )
    assert asked(dataset.test) == (
        10,
        Query("-35", "who opens", ("One", "one")),
        Query("q11", "page 11?", ("x",)),
        Query("q11", "page 11?", ("x",)),
    )
    assert [len(dataset.corpus[row].text.split()) for row in (1, 2)] == [200, 50]
    # The span from w199 to before w201 lies across both passages of page 2.
    assert dataset.test.qrels["tc_2"] == {"2.0": 1, "2.1": 1, "3.0": 1}
    assert dataset.test.queries[1].answers == ("w249", "W 249")
    assert dataset.train.queries == (Query("t1", "old?"),)
    assert len(dataset.dev) == 0
    assert "at most 200 words" in dataset.card["protocol"]["chunking"]
    assert "does not publish" in dataset.card["protocol"]["split_rule"]
    assert dataset.card["notes"] == []


def test_passages_of_a_hundred_words(tmp_path: Path) -> None:
    settings = DatasetSettings(kilt_passage_words=100)
    dataset = load(f"kilt:{write(tmp_path)}", settings)
    assert [len(p.text.split()) for p in dataset.corpus if p.document == "2"] == [100, 100, 50]
    assert dataset.test.qrels["tc_2"] == {"2.1": 1, "2.2": 1, "3.0": 1}
    assert "at most 100 words" in dataset.card["protocol"]["chunking"]


@pytest.mark.parametrize(
    ("start", "end", "relevant"),
    [
        # Passage 2.0 ends with w199, passage 2.1 begins with w200.
        (LONG.index("w200") - 1, LONG.index("w200"), set()),
        (LONG.index("w200") - 1, LONG.index("w200") + 1, {"2.1"}),
        (LONG.index("w200") - 2, LONG.index("w200"), {"2.0"}),
    ],
)
def test_a_passage_is_relevant_if_a_character_of_a_word_is(
    start: int, end: int, relevant: set[str], tmp_path: Path
) -> None:
    row = question("q", "?", [{"answer": "x", "provenance": [span(2, 1, start, 1, end)]}])
    dataset = load(f"kilt:{write(tmp_path, dev=[*DEV, row])}")
    assert set(dataset.test.qrels.get("q", {})) == relevant


def test_a_span_may_run_over_paragraphs(tmp_path: Path) -> None:
    pages = [page(1, LONG, "Middle.\n", LONG)]
    row = question("q", "?", [{"answer": "x", "provenance": [span(1, 1, LONG.index("w240"), 3, 5)]}])
    dataset = load(f"kilt:{write(tmp_path, source=pages, dev=[row], train=None)}")
    # 200 words; 50 and "Middle."; then 200 and 50 of the third paragraph.
    assert [len(p.text.split()) for p in dataset.corpus] == [200, 51, 200, 50]
    assert dataset.test.qrels["q"] == {"1.1": 1, "1.2": 1}
    assert dataset.card["notes"] == ["no nq-train-kilt.jsonl: the train split is empty"]


def test_sentences_stay_whole_and_marks_go() -> None:
    paragraphs = [(4, "Section::::Life.\n"), (5, "BULLET::::- Born  here. Died there.\n")]
    first, second = cut(paragraphs, 4)
    assert first == [Word("Life.", 4, 0, 15 + 1), Word("Born", 5, 12, 16), Word("here.", 5, 18, 23)]
    assert [word.text for word in second] == ["Died", "there."]


def test_what_has_no_passage_is_left_out_aloud(tmp_path: Path) -> None:
    lost = question("lost", "?", [{"answer": "x", "provenance": [span(99, 1, 0, 1, 4)]}])
    title = question("title", "?", [{"answer": "x", "provenance": [span(3, 0, 0, 0, 4)]}])
    bare = question("bare", "?", [{"answer": "x"}])
    notes = load(f"kilt:{write(tmp_path, dev=[*DEV, lost, title, bare])}").card["notes"]
    assert notes == [
        "test: 3 of 13 queries left out (no relevant passage)",
        "2 of 14 provenances overlap no passage (page missing, or its title alone)",
    ]


def test_one_id_in_train_and_dev_keeps_two_judgements(tmp_path: Path) -> None:
    twice = question("-35", "who else", [{"answer": "x", "provenance": [span(3, 1, 0, 1, 4)]}])
    dataset = load(f"kilt:{write(tmp_path, train=[twice])}")
    assert dataset.train.qrels == {"-35": {"3.0": 1}}
    assert dataset.test.qrels["-35"] == {"1.0": 1}


def test_two_sets_of_questions_need_a_name(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "triviaqa-dev-kilt.jsonl").write_text(lines(DEV[:2]), encoding="utf-8")
    error = refuses(f"kilt:{folder}", UnknownNameError)
    assert f"kilt:{folder}/triviaqa" in error.fix
    dataset = load(f"kilt:{folder}/triviaqa")
    assert (dataset.name, len(dataset.test)) == ("kilt-triviaqa", 2)


def test_one_of_two_sets_is_found_in_the_readers_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path)
    (folder / "triviaqa-dev-kilt.jsonl").write_text(lines(DEV[:2]), encoding="utf-8")
    monkeypatch.setenv("HARNESS_DATA", str(folder.parent))
    assert len(load(f"kilt:{folder.name}/triviaqa").test) == 2


def test_trivia_without_its_questions(tmp_path: Path) -> None:
    folder = write(tmp_path, train=None, dev=None)
    without = folder / "triviaqa-dev_id-kilt.jsonl"
    without.write_text(lines(DEV), encoding="utf-8")
    assert "get_triviaqa_input.py" in refuses(f"kilt:{folder}", DataError).fix
    without.rename(folder / "triviaqa-dev-kilt.jsonl")
    (folder / "triviaqa-dev-kilt.jsonl").write_text(lines([DEV[0], question("tc", None, [])]), encoding="utf-8")
    error = refuses(f"kilt:{folder}", DataError)
    assert (error.line, "get_triviaqa_input.py" in error.fix) == (2, True)


BAD = {
    "source": {
        "no JSON": ("{", "Expecting property name"),
        "no text": ({**page(5), "text": None}, "null"),
        "a number in text": (page(5, 7), "a number"),  # type: ignore[arg-type]
        "no id": ({**page(5), "wikipedia_id": None}, "wikipedia_id"),
        "no title": ({**page(5), "wikipedia_title": 3}, "wikipedia_title"),
    },
    "dev": {
        "output no list": ({**DEV[0], "output": "x"}, "'x'"),
        "provenance no objects": (question("q", "?", [{"answer": "x", "provenance": ["y"]}]), "a list"),
        "words for numbers": (question("q", "?", [{"provenance": [span(1, "one", 0, 1, 9)]}]), "'one'"),  # type: ignore[arg-type]
        "blank in id": ({**DEV[0], "id": "a b"}, "'a b'"),
        "id twice": (DEV[0], "first used in line 1"),
    },
}


@pytest.mark.parametrize(("file", "case"), [(file, case) for file, cases in BAD.items() for case in cases])
def test_bad_line(file: str, case: str, tmp_path: Path) -> None:
    row, got = BAD[file][case]
    good = {"source": PAGES, "dev": DEV}[file]
    error = refuses(f"kilt:{write(tmp_path, **{file: [good[0], row, *good[2:]]})}", DataError)
    assert got in error.got
    assert error.line == 2


def test_a_page_twice(tmp_path: Path) -> None:
    error = refuses(f"kilt:{write(tmp_path, source=[*PAGES, PAGES[2]])}", DataError)
    assert "'3.0' 2 times" in error.got


@pytest.mark.parametrize(("left_out", "file"), [("source", "kilt_knowledgesource.json"), ("dev", "nq-dev-kilt.jsonl")])
def test_missing_file(left_out: str, file: str, tmp_path: Path) -> None:
    error = refuses(f"kilt:{write(tmp_path, **{left_out: None})}", DataError)
    assert error.file == tmp_path / file
    assert "KILT benchmark" in error.fix


def test_missing_folder_and_foreign_settings(tmp_path: Path) -> None:
    assert "no such folder" in refuses(f"kilt:{tmp_path / 'nowhere'}", DataError).got
    error = refuses(f"kilt:{write(tmp_path)}", ConfigError, DatasetSettings(msmarco_documents="all"))
    assert error.got == "msmarco_documents"
    assert "msmarco-docs:FOLDER" in error.fix
