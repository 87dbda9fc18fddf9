"""Titles that a model writes: greedy, once for each corpus, also after an interruption."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.datasets import DatasetSettings, load, titles
from harness.datasets.titlewriter import AFTER, BEFORE, MOST_TOKENS, BackboneWriter
from harness.types import Corpus, Dataset, Passage, Split
from tests.lm_models import tiny_folder


class Echo:
    """Writes the first word, and remembers what it was asked."""

    def __init__(self, identity: str = "echo", fails_after: int | None = None) -> None:
        self.identity = identity
        self.asked: list[str] = []
        self.fails_after = fails_after

    def titles(self, openings: Sequence[str]) -> list[str]:
        if self.fails_after is not None and len(self.asked) >= self.fails_after:
            raise KeyboardInterrupt
        self.asked += openings
        return [opening.split(maxsplit=1)[0] if opening else "" for opening in openings]


class Told:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int | None, str]] = []
        self.done: list[int] = []

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        self.phases.append((name, total, unit))

    def advance(self, amount: int = 1) -> None:
        self.done.append(amount)

    def record(self, row: dict[str, float | int | str]) -> None: ...


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SELF_RETRIEVAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "titles"


def dataset(*passages: Passage) -> Dataset:
    return Dataset("set", Corpus.from_passages(passages), Split("train"), Split("dev"), Split("test"))


CUT = dataset(
    Passage("a.0", "", "first words of a", "a"),
    Passage("a.1", "", "second passage", "a"),
    Passage("b", "Given", "has one", "b"),
    Passage("c", " ", "third", "c"),
)


def test_documents_without_a_title_get_one_for_all_their_passages() -> None:
    writer = Echo()
    filled, said = titles.fill(CUT, writer)
    assert [(p.docid, p.title) for p in filled.corpus] == [
        ("a.0", "first"),
        ("a.1", "first"),
        ("b", "Given"),
        ("c", "third"),
    ]
    assert [p.text for p in filled.corpus] == [p.text for p in CUT.corpus]
    assert writer.asked == ["first words of a", "third"]
    assert said == "2 documents without one: from their first 100 words by echo"


def test_where_every_document_has_a_title_nothing_is_written(cache: Path) -> None:
    titled = dataset(Passage("b", "Given", "has one", "b"))
    assert titles.fill(titled, Echo()) == (titled, "all as given")
    assert not cache.exists()


def test_an_opening_is_a_hundred_words() -> None:
    words = [f"w{n}" for n in range(120)]
    assert titles.untitled(dataset(Passage("a", "", "  ".join(words), "a")).corpus) == {"a": " ".join(words[:100])}


@pytest.mark.parametrize(
    ("written", "title"),
    [("\n  A  title\nand more", "A title"), (" \n\t", "one two three four five six seven eight"), ("x", "x")],
)
def test_a_title_is_one_line_and_never_empty(written: str, title: str) -> None:
    class Fixed(Echo):
        def titles(self, openings: Sequence[str]) -> list[str]:
            return [written for _ in openings]

    assert titles.kept(["one two three four five six seven eight nine"], Fixed()) == [title]


def test_what_was_written_once_is_not_written_again(cache: Path) -> None:
    titles.fill(CUT, Echo())
    again, told = Echo(), Told()
    filled, _ = titles.fill(CUT, again, told)
    assert [p.title for p in filled.corpus] == ["first", "first", "Given", "third"]
    assert again.asked == told.phases == []
    other = Echo("another model")
    titles.fill(CUT, other)
    assert other.asked
    titles.fill(dataset(*list(CUT.corpus)[:2]), again)
    assert again.asked == ["first words of a"]
    assert len(list(cache.iterdir())) == 3


def test_writing_goes_on_where_it_was_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(titles, "_BLOCK", 2)
    openings = [f"word{n} of a text" for n in range(5)]
    with pytest.raises(KeyboardInterrupt):
        titles.kept(openings, Echo(fails_after=4))
    rest, told = Echo(), Told()
    assert titles.kept(openings, rest, told) == [f"word{n}" for n in range(5)]
    assert rest.asked == openings[4:]
    assert told.phases == [("titles", 5, "documents")]
    assert told.done == [4, 1]


@pytest.mark.parametrize("damage", ["", "{", '{"a": 1}', "[1, 2]", "\x00\xff"])
def test_a_damaged_cache_is_written_anew(damage: str) -> None:
    openings = ["one two", "three four"]
    path = titles.cache_file(openings, Echo())
    path.parent.mkdir(parents=True)
    path.write_bytes(damage.encode("latin-1"))
    assert titles.kept(openings, Echo()) == ["one", "three"]
    assert json.loads(path.read_text()) == ["one", "three"]


def test_a_backbone_writes_the_likeliest_tokens(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny_folder(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():  # weights so far apart that different openings end in different titles
        for parameter in model.parameters():
            parameter.mul_(6.0) if parameter.ndim > 1 else None
    model.save_pretrained(folder)
    openings = ["Cats purr.", "Dogs bark at night.", ""]
    written = BackboneWriter(folder).titles(openings)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for opening, title in zip(openings, written, strict=True):
        prompt = tokenizer(f"{BEFORE}{opening}{AFTER}", return_tensors="pt")
        with torch.inference_mode():
            expected = model.generate(**prompt, do_sample=False, max_new_tokens=MOST_TOKENS)
        assert title == tokenizer.decode(expected[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    assert len(set(written)) > 1


def test_the_writer_is_another_where_its_files_are(tmp_path: Path) -> None:
    one, two = BackboneWriter(tiny_folder(tmp_path / "one")), BackboneWriter(tiny_folder(tmp_path / "two", seed=1))
    assert one.identity == BackboneWriter(str(tmp_path / "one")).identity
    assert one.identity.startswith("one (")
    assert one.identity != two.identity
    before = two.identity
    (tmp_path / "two" / "config.json").touch()
    assert two.identity != before
    assert BackboneWriter("someone/model").identity.startswith("someone/model, greedy")
    assert str(tmp_path) not in one.identity


def test_a_dataset_with_titles_written_on_request(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "d", "text": "Cats purr."}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "who?"}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    model, told = tiny_folder(tmp_path / "model"), Told()
    found = load(str(folder), DatasetSettings(generate_titles=model), told)
    assert found.corpus[0].title
    assert found.card["protocol"]["titles"].startswith("1 documents without one: ")
    assert ("titles", 1, "documents") in told.phases
    plain = load(str(folder))
    assert plain.corpus[0].title == ""
    assert plain.card["checksum"] != found.card["checksum"]
