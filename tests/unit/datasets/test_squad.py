"""The JSON format of SQuAD: what is read, merged, left out and dealt out, and what is refused and where."""

from __future__ import annotations

import copy
import doctest
import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.datasets import DatasetSettings, convert, load, squad
from harness.errors import ConfigError, DataError
from harness.types import Dataset, Passage, Query
from tests.unit.datasets.golden import asked, passages, refuses


def question(qid: Any, text: Any, *answers: Any, **more: Any) -> dict[str, Any]:
    return {"id": qid, "question": text, "answers": [{"text": a, "answer_start": 0} for a in answers], **more}


def article(title: str, *paragraphs: tuple[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {"title": title, "paragraphs": [{"context": text, "qas": asked} for text, asked in paragraphs]}


def write(path: Path, data: Any) -> Path:
    text = data if isinstance(data, str) else json.dumps({"version": "1.1", "data": data})
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def named(name: str) -> DatasetSettings:
    return DatasetSettings(name=name)


def fraction(name: str, qid: str) -> float:
    """The hash in whole, as the README of the published sets tells it."""
    return int(hashlib.sha256(f"self-retrieval-splits-v1|{name}|{qid}".encode()).hexdigest(), 16) / 2**256


def everything(dataset: Dataset) -> dict[str, tuple[Query, dict[str, int]]]:
    splits = (dataset.train, dataset.dev, dataset.test)
    return {query.qid: (query, dict(split.qrels[query.qid])) for split in splits for query in split.queries}


HUNDRED = [article("Numbers", *((f"Text {n}.", [question(f"q{n}", f"What is {n}?", str(n))]) for n in range(100)))]


@pytest.mark.parametrize("ending", [".json", ".json.gz"])
def test_golden(ending: str, tmp_path: Path) -> None:
    dataset = load(f"squad:{write(tmp_path / f'mine{ending}', HUNDRED)}", named("tens"))
    assert dataset.name == "mine"
    assert passages(dataset) == (
        100,
        Passage("sq-00000", "Numbers", "Text 0.", "sq-00000"),
        Passage("sq-00009", "Numbers", "Text 9.", "sq-00009"),
        Passage("sq-00099", "Numbers", "Text 99.", "sq-00099"),
    )
    at = {f"q{n}": fraction("tens", f"q{n}") for n in range(100)}
    test = [qid for qid, place in at.items() if place >= 0.7]
    first, tenth, last = (Query(qid, f"What is {qid[1:]}?", (qid[1:],)) for qid in (test[0], test[9], test[-1]))
    assert asked(dataset.test) == (len(test), first, tenth, last)
    assert [query.qid for query in dataset.train.queries] == [qid for qid, place in at.items() if place < 0.6]
    assert [query.qid for query in dataset.dev.queries] == [qid for qid, place in at.items() if 0.6 <= place < 0.7]
    assert dataset.test.qrels == {qid: {f"sq-{int(qid[1:]):05}": 1} for qid in test}
    assert dataset.card["notes"] == []
    assert dataset.card["protocol"]["split_rule"] == (
        "SHA-256 of 'self-retrieval-splits-v1|tens|<query id>' as a fraction: below 0.6 train, below 0.7 dev, else test"
    )


def test_the_hash_has_the_name_of_the_file_where_none_is_set(tmp_path: Path) -> None:
    write(tmp_path / "tens.json", HUNDRED)
    write(tmp_path / "ones.json", HUNDRED)
    unset, same, other = (load(f"squad:{tmp_path / name}.json") for name in ("tens", "tens", "ones"))
    assert unset.test.queries == same.test.queries != other.test.queries
    assert load(f"squad:{tmp_path / 'ones.json'}", named("tens")).card["checksum"] == unset.card["checksum"]


def test_a_file_below_the_folder_of_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "XQuAD.de.json", HUNDRED)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    dataset = load("squad:XQuAD.de.json")
    assert (dataset.name, dataset.corpus[0].docid) == ("XQuAD.de", "xq-00000")


def test_equal_passages_and_questions_are_the_first_of_them(tmp_path: Path) -> None:
    cats = [question("a", "Who  purrs?", "Cats", "Cats", " cats\n")]
    data = [
        article("Cats", ("Cats   purr.\n", cats), ("They sleep.", [question("b", "who purrs", "They")])),
        article("Others", ("CATS, purr!", [question("c", "Who PURRS", "CATS"), question("d", "Who else?", "None")])),
        article("Last", ("...", []), ("…", [])),
        *HUNDRED,
    ]
    dataset = load(f"squad:{write(tmp_path / 'mine.json', data)}")
    assert [p.docid for p in dataset.corpus][:5] == ["sq-00000", "sq-00001", "sq-00003", "sq-00004", "sq-00005"]
    assert dataset.corpus[0] == Passage("sq-00000", "Cats", "Cats purr.", "sq-00000")
    found = everything(dataset)
    assert found["a"] == (Query("a", "Who purrs?", ("Cats", "cats")), {"sq-00000": 1, "sq-00001": 1})
    assert found["d"] == (Query("d", "Who else?", ("None",)), {"sq-00000": 1})
    assert not found.keys() & {"b", "c"}
    assert dataset.card["notes"][:2] == [
        "1 of 105 passages merged with one that says the same",
        "2 of 104 questions merged with one that asks the same",
    ]


@pytest.mark.parametrize(
    ("written", "title"),
    [
        ("Sky_(United_Kingdom)", "Sky (United Kingdom)"),
        ("Caf%C3%A9_au__lait_", "Café au lait"),
        ("100%_Wolf", "100% Wolf"),
        ("A%5FB%20C", "A B C"),
        ("", ""),
    ],
)
def test_titles(written: str, title: str, tmp_path: Path) -> None:
    data = [{**HUNDRED[0], "title": written}]
    assert load(f"squad:{write(tmp_path / 'tens.json', data)}").corpus[99].title == title


def test_a_set_without_titles_and_with_numbers_as_ids(tmp_path: Path) -> None:
    data = copy.deepcopy(HUNDRED)
    del data[0]["title"]
    for number, paragraph in enumerate(data[0]["paragraphs"]):
        paragraph["qas"][0]["id"] = number
    dataset = load(f"squad:{write(tmp_path / 'tens.json', data)}")
    assert dataset.corpus[0].title == ""
    assert everything(dataset)["7"][0] == Query("7", "What is 7?", ("7",))


def test_questions_without_an_answer_are_left_out_and_counted(tmp_path: Path) -> None:
    no = {"is_impossible": True}
    more = [
        question("no1", "Impossible?", **no),
        question("no2", "An answer all the same?", "4", **no),
        {"id": "no3", "question": "Without the field?", **no},
        question("no4", "No answers?"),
        question("no5", "A blank one?", " "),
        question("yes", "What is it?", "It", "", is_impossible=False),
    ]
    dataset = load(f"squad:{write(tmp_path / 'tens.json', [*HUNDRED, article('More', ('It is.', more))])}")
    found = everything(dataset)
    assert found["yes"] == (Query("yes", "What is it?", ("It",)), {"sq-00100": 1})
    assert not [qid for qid in found if qid.startswith("no")]
    assert dataset.card["notes"] == ["5 of 106 questions left out (no answer in their paragraph)"]


def changed(change: Callable[[Any], object]) -> Any:
    data = [HUNDRED[0], article("T", ("one", []), ("two", [question("a", "A?", "a"), question("b", "B?", "b")]))]
    data = copy.deepcopy(data)
    change(data)
    return data


def paragraph(data: Any) -> Any:
    return data[1]["paragraphs"][1]


def asked_second(data: Any) -> Any:
    return paragraph(data)["qas"][1]


HERE = "data[1].paragraphs[1]"
BAD: dict[str, tuple[Callable[[Any], object], str, str]] = {
    "no article": (lambda d: d.append("x"), "'data' to be a list of objects", "data[2]: 'x'"),
    "title no text": (lambda d: d[1].update(title=4), "'title' to be a string", "data[1]: 'title': a number"),
    "a NUL in a title": (lambda d: d[1].update(title="a%00"), "text without NUL", "data[1]: a NUL character"),
    "no paragraphs": (lambda d: d[1].pop("paragraphs"), "'paragraphs' to be a list", "data[1]: no field 'paragraphs'"),
    "paragraphs no list": (lambda d: d[1].update(paragraphs={}), "'paragraphs' to be a list", "data[1]: an object"),
    "no context": (lambda d: paragraph(d).pop("context"), "'context' to be a string", f"{HERE}: no field 'context'"),
    "context no text": (lambda d: paragraph(d).update(context=["x"]), "'context' to be", f"{HERE}: 'context': a list"),
    "half a pair": (lambda d: paragraph(d).update(context="\ud800"), "whole Unicode", f"{HERE}: half a surrogate"),
    "no qas": (lambda d: paragraph(d).pop("qas"), "'qas' to be a list of objects", f"{HERE}: no field 'qas'"),
    "qas no list": (lambda d: paragraph(d).update(qas=None), "'qas' to be a list of objects", f"{HERE}: null"),
    "no question": (lambda d: asked_second(d).pop("question"), "'question' to be", f"{HERE}.qas[1]: no field"),
    "no id": (lambda d: asked_second(d).pop("id"), "'id' to be a string", f"{HERE}.qas[1]: no field 'id'"),
    "id true": (lambda d: asked_second(d).update(id=True), "'id' to be a string", "'id': true or false"),
    "a blank in an id": (lambda d: asked_second(d).update(id="b b"), "an id that", f"{HERE}.qas[1]: 'b b'"),
    "no answers": (lambda d: asked_second(d).pop("answers"), "'answers' to be a list", f"{HERE}.qas[1]: no field"),
    "an answer alone": (
        lambda d: asked_second(d).update(answers=["b"]),
        "'answers' to be a list of objects",
        f"{HERE}.qas[1].answers[0]: 'b'",
    ),
    "no text": (
        lambda d: asked_second(d).update(answers=[{"text": "b"}, {"answer_start": 4}]),
        "'text' to be a string",
        f"{HERE}.qas[1].answers[1]: no field 'text'",
    ),
    "perhaps": (lambda d: asked_second(d).update(is_impossible="no"), "true or false", f"{HERE}.qas[1]: 'no'"),
    "an id twice": (
        lambda d: asked_second(d).update(id="q3"),
        "an id of its own",
        f"{HERE}.qas[1]: 'q3' again, first used in data[0].paragraphs[3].qas[0]",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_in_the_format(case: str, tmp_path: Path) -> None:
    change, expected, got = BAD[case]
    path = write(tmp_path / "bad.json", changed(change))
    error = refuses(f"squad:{path}", DataError)
    assert expected in error.expected
    assert error.got.startswith(got) or error.got.endswith(got)
    assert error.file == path


@pytest.mark.parametrize(
    ("text", "got", "line"),
    [
        ("", "Expecting value at column 1", 1),
        ('{"data":\n [,]}', "Expecting value at column 3", 2),
        ("[1]", "a list", None),
        ("{}", "no field 'data'", None),
        ('{"data": {}}', "an object", None),
        ("[" * 100_000, "JSON that cannot be read", None),
        ('{"data": []}', "none of the 0 that have an answer", None),
        ('{"data": [{"paragraphs": [{"context": "x", "qas": []}]}]}', "none of the 0 that have an answer", None),
    ],
)
def test_what_is_no_set(text: str, got: str, line: int | None, tmp_path: Path) -> None:
    path = write(tmp_path / "bad.json", text)
    error = refuses(f"squad:{path}", DataError)
    assert got in error.got
    assert (error.file, error.line) == (path, line)


def test_no_question_falls_to_the_test_split(tmp_path: Path) -> None:
    qid = next(str(n) for n in range(100) if fraction("one", str(n)) < 0.7)
    path = write(tmp_path / "one.json", [article("T", ("text", [question(qid, "What?", "text")]))])
    error = refuses(f"squad:{path}", DataError)
    assert (error.got, error.fix) == ("none of the 1 that have an answer", "set another name, or give a larger set")
    name = next(str(n) for n in range(100) if fraction(str(n), qid) >= 0.7)
    assert len(load(f"squad:{path}", named(name)).test) == 1


def test_no_file_another_file_a_damaged_one(tmp_path: Path) -> None:
    assert refuses(f"squad:{tmp_path / 'gone.json'}", DataError).got == "no such file"
    assert refuses(f"squad:{tmp_path}", DataError).got == "a file of another kind"
    assert refuses(f"squad:{write(tmp_path / 'set.jsonl', HUNDRED)}", DataError).fix.endswith(".json or .json.gz")
    packed = write(tmp_path / "set.json.gz", HUNDRED)
    packed.write_bytes(packed.read_bytes()[:-20])
    assert "EOFError" in refuses(f"squad:{packed}", DataError).got
    (tmp_path / "latin.json").write_bytes(b'{"data":\n "caf\xe9"}')
    error = refuses(f"squad:{tmp_path / 'latin.json'}", DataError)
    assert (error.file, error.line) == (tmp_path / "latin.json", 2)


def test_a_file_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squad.checks, "LONGEST_BYTES", 1000)
    path = write(tmp_path / "long.json", "\n".join(["{"] + ["  "] * 600))
    assert refuses(f"squad:{path}", DataError).expected == "a file of at most 1,000 characters"


def test_the_name_is_read_by_no_other_source(tmp_path: Path) -> None:
    error = refuses(f"table:{tmp_path / 'a.csv'}", ConfigError, named("x"))
    assert "squad:FILE" in error.fix


def test_doctests() -> None:
    assert doctest.testmod(squad).failed == 0


def rebuilt(dataset: Dataset) -> list[dict[str, Any]]:
    """Write a set as its publishers do: a question below each passage that is relevant, of several with other ids."""
    below: dict[str, list[dict[str, Any]]] = {}
    for query, judged in everything(dataset).values():
        for number, docid in enumerate(judged):
            qid = f"{query.qid}-{number}" if number else query.qid
            below.setdefault(docid, []).append(question(qid, query.text, *query.answers, *query.answers[:1]))
    articles: dict[str, dict[str, Any]] = {}
    for passage in dataset.corpus:
        found = articles.setdefault(passage.title, article(passage.title.replace(" ", "_")))
        found["paragraphs"].append({"context": passage.text, "qas": below.get(passage.docid, [])})
    return list(articles.values())


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "file", "checksums"),
    [
        ("squad-dev", "dev-v1.1.json", {None: "dc8eab1c7fd19240", 250: "48b640564b02e471"}),
        ("xquad-en", "xquad.en.json", {None: "f16ba292cc508b60"}),
    ],
)
def test_the_sets_of_the_published_results(
    name: str, file: str, checksums: dict[int | None, str], shared_data: Path, tmp_path: Path
) -> None:
    if not (shared_data / name).is_dir():
        pytest.skip(f"{name} is not in {shared_data}")
    given = load(str(shared_data / name))
    path = write(tmp_path / file, rebuilt(given))
    made = load(f"squad:{path}", named("squad-dev"))
    assert made.card["checksum"] == given.card["checksum"]
    for split in ("train", "dev", "test"):
        assert made.split(split).queries == given.split(split).queries
    convert.write(made, tmp_path / "out")
    assert load(str(tmp_path / "out")).card["checksum"] == given.card["checksum"]
    for most, checksum in checksums.items():
        settings = DatasetSettings(name="squad-dev", max_test_queries=most)
        assert load(f"squad:{path}", settings).card["checksum"].startswith(checksum)
