"""`harness data` from outside: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = [sys.executable, "-m", "harness.cli", "data"]
HEADER = "query-id\tcorpus-id\tscore\n"
ANIMALS = ["Otters hold hands.", "Badgers dig below the oak. Badgers sleep.", "OTTERS hold hands", "Bats hear moths."]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a set of four animals and forty queries."""
    (tmp_path / "animals" / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"d{n}", "title": f"Animal {n}", "text": text} for n, text in enumerate(ANIMALS)]
    queries = [{"_id": f"q{n}", "text": f"question {n}"} for n in range(40)]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (tmp_path / "animals" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judged = "".join(f"q{n}\td{n % 4}\t1\n" for n in range(40))
    (tmp_path / "animals" / "qrels" / "test.tsv").write_text(HEADER + judged)
    return tmp_path


def environment() -> dict[str, str]:
    root = Path(__file__).resolve().parents[2]
    return {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "100", "TERM": "xterm"}


def harness(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HARNESS, *arguments], cwd=place, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )


def figures(place: Path, *arguments: str) -> dict[str, object]:
    done = harness(place, "inspect", *arguments, "--json", "figures.json")
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, object] = json.loads((place / "figures.json").read_text("utf-8"))
    return found


def test_inspect_prints_lines_and_writes_figures(place: Path) -> None:
    done = harness(place, "inspect", "animals", "--json", "out/figures.json")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"what +figure", lines[0])
    assert any(re.fullmatch(r"passages +4 of 4 documents, 0 empty", line) for line in lines)
    assert any(re.fullmatch(r"same text again +1 passages of 1 texts: d0 = d2", line) for line in lines)
    assert lines[-1] == "out/figures.json"
    found = json.loads((place / "out" / "figures.json").read_text("utf-8"))
    assert any(line.endswith(found["card"]["checksum"]) for line in lines)


def test_inspect_draws_a_table_on_a_terminal(place: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*HARNESS, "inspect", "animals"]
    with subprocess.Popen(command, cwd=place, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # so Linux ends a terminal whose other side is closed
                break
            if not piece:
                break
            written += piece
        os.close(ours)
    assert process.returncode == 0
    assert "───" in written.decode()
    assert "4 of 4 documents" in written.decode()


def test_settings_are_used(place: Path) -> None:
    found = figures(place, "animals", "--set", "deduplicate=text", "--set", "max_passage_words=4")
    # Of the five passages, those of both otters are one.
    assert found["passages"]["count"] == 4  # type: ignore[index]


def test_convert_writes_what_loads_as_the_same(place: Path) -> None:
    done = harness(place, "convert", "animals", "new/pets", "--set", "max_passage_words=5")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "new/pets"
    checksum = figures(place, "new/pets")["card"]["checksum"]  # type: ignore[index]
    assert f"5 passages; queries: 0 train, 0 dev, 40 test; checksum {checksum}" in done.stdout
    assert sorted(path.name for path in (place / "new" / "pets").iterdir()) == [
        "card.json",
        "corpus.jsonl",
        "qrels",
        "queries.jsonl",
    ]
    again = harness(place, "convert", "animals", "new/pets")
    assert again.returncode == 2
    assert "not there yet" in again.stderr
    assert [path.name for path in (place / "new").iterdir()] == ["pets"]


def test_split_deals_the_queries_out_anew(place: Path) -> None:
    done = harness(place, "split", "animals", "two", "--by", "query", "--seed", "7", "--shares", "0.5,0,0.5")
    assert (done.returncode, done.stderr) == (0, "")
    files = {path.stem: path.read_text().splitlines()[1:] for path in (place / "two" / "qrels").iterdir()}
    assert sorted(files) == ["test", "train"]
    assert min(len(files["test"]), len(files["train"])) > 10
    assert {line for lines in files.values() for line in lines} == {f"q{n}\td{n % 4}\t1" for n in range(40)}
    assert "split|7|<query id>" in json.loads((place / "two" / "card.json").read_text())["protocol"]["split_rule"]


def test_split_by_document_keeps_the_queries_of_one_together(place: Path) -> None:
    done = harness(place, "split", "animals", "two", "--by", "document", "--shares", "0.5,0.2,0.3", "--seed", "3")
    assert (done.returncode, done.stderr) == (0, "")
    files = {path.stem: path.read_text().splitlines()[1:] for path in (place / "two" / "qrels").iterdir()}
    documents = {name: {line.split("\t")[1] for line in lines} for name, lines in files.items()}
    assert sorted(name for names in documents.values() for name in names) == ["d0", "d1", "d2", "d3"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["inspect", "animals", "--set", "max_documnts=2"], "max_documents"),
        (["inspect", "animals", "--set", "max_documents=2"], "4 documents hold relevant passages"),
        (["inspect", "animals", "--set", "resplit.by=query", "--set", "resplit=5"], "resplit"),
        (["inspect", "animals", "--set", "resplit=5", "--set", "resplit.by=query"], "one value for resplit"),
        (["inspect", "anmals"], "anmals"),
        (["convert", "anmals", "out"], "anmals"),
        (["split", "animals", "out", "--shares", "0.5,0.5"], "three shares"),
        (["split", "animals", "out", "--set", "resplit.seed=7"], "use the options of this command"),
        (["split", "animals", "out", "--shares", "0.5,0.5,0.5"], "add up to 1"),
        (["split", "animals", "out", "--by", "title"], "title"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(place: Path, arguments: list[str], said: str) -> None:
    before = sorted(place.iterdir())
    done = harness(place, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(place.iterdir()) == before
