"""`harness bench scale`: what its corpora are made of, what it writes, and that nothing of it stays."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from harness import datasets
from harness.bench import scale, synthetic
from harness.bench.lines import Lines
from harness.cli import main
from harness.errors import ConfigError, DataError, StorageError
from harness.meter import rss_bytes
from harness.types import Corpus, Passage
from reports import bench as drawn

WORDS = ("river", "stone", "winter", "market", "bridge", "letter", "garden", "silver")
TEXTS = [
    Passage(
        f"r{n}",
        f"Old {a} of {b}",
        f"The {a} near {b} was built in the year {1000 + n}. Dr. Short said no. Nobody crossed the {b} before the {a} "
        f"was there for everybody to see.",
        f"r{n}",
    )
    for n, (a, b) in enumerate((a, b) for a in WORDS for b in WORDS if a != b)
]


@pytest.fixture(scope="module")
def source() -> synthetic.Source:
    return synthetic.Source.of(TEXTS)


def test_a_source_holds_sentences_of_six_to_twenty_five_words(source: synthetic.Source) -> None:
    assert len(source.titles) == 56 and source.titles[0] == "Old river of stone"
    assert source.sentences[0] == ("The river near stone was built in the year 1000.", 10)
    assert ("Dr. Short said no.", 4) not in source.sentences
    assert len(source.sentences) == 112


def test_sentences_that_would_run_into_the_next_one_are_left_out() -> None:
    text = "He was in the end sent home by his friends at Smith et al. The rest of the story is known to all of us."
    assert [s for s, _ in synthetic.Source.of([Passage("a", "", text, "a")]).sentences] == [
        "The rest of the story is known to all of us."
    ]


def test_passages_are_distinct_and_of_real_sentences(source: synthetic.Source) -> None:
    made = list(synthetic.passages(source, 1000))
    assert made == list(synthetic.passages(source, 1000))
    assert made[:600] == list(synthetic.passages(source, 600))
    assert made != list(synthetic.passages(source, 1000, seed=1))
    assert len({p.docid for p in made}) == len({p.text for p in made}) == 1000
    assert [(p.docid, p.document) for p in made[2:4]] == [("s0.2", "s0"), ("s1.0", "s1")]
    known = dict(source.sentences)
    for passage in made[:50]:
        assert 75 < len(passage.text.split()) <= synthetic.PASSAGE_WORDS
        assert " ".join(s for s in known for _ in range(passage.text.count(s)))
        rest = passage.text
        for sentence in known:
            rest = rest.replace(sentence, "")
        assert not rest.strip()


def test_a_passage_that_was_made_before_is_not_made_again() -> None:
    few = synthetic.Source(["A title"], [(" ".join([f"W{n}"] * 25), 25) for n in range(12)])
    made = [p.text for p in synthetic.passages(few, 800)]  # of 12 ** 4
    assert len(set(made)) == len(made) == 800


def test_titles_are_real_ones_and_then_mixed_from_their_halves(source: synthetic.Source) -> None:
    titles = [p.title for p in synthetic.passages(source, 600)][::3]
    assert titles[:56] == source.titles
    # Of "Old river of stone": the first half of one, the second halves of two others.
    assert all(t.startswith("Old ") and t.count(" of ") == 2 and len(t.split()) == 6 for t in titles[56:])


def test_cutting_the_texts_gives_the_passages(source: synthetic.Source, tmp_path: Path) -> None:
    synthetic.write(source, tmp_path, 700)
    made = list(synthetic.passages(source, 700))
    settings = datasets.DatasetSettings(max_passage_words=synthetic.PASSAGE_WORDS)
    whole, cut = datasets.load(str(tmp_path / "passages")), datasets.load(str(tmp_path / "texts"), settings)
    assert list(cut.corpus) == made
    assert [(p.docid, p.title, p.text) for p in whole.corpus] == [(p.docid, p.title, p.text) for p in made]
    assert len(whole.test) == synthetic.QUERIES
    assert cut.test.queries == whole.test.queries
    assert whole.test.qrels["q1"] == {"s2.0": 1} and set(cut.test.qrels["q1"]) == {"s2.0", "s2.1", "s2.2"}
    synthetic.write_corpus(source, tmp_path / "corpus.arrow", 700)
    assert list(Corpus.open(tmp_path / "corpus.arrow")) == made


def test_too_few_sentences_are_refused() -> None:
    with pytest.raises(DataError, match="2 sentences of 6 to 25 words"):
        next(synthetic.passages(synthetic.Source.of(TEXTS[:1]), 100))


def test_opening_a_corpus_reads_nothing_of_it(source: synthetic.Source, tmp_path: Path) -> None:
    synthetic.write_corpus(source, tmp_path / "small.arrow", 10)
    synthetic.write_corpus(source, tmp_path / "corpus.arrow", 40_000)
    size = (tmp_path / "corpus.arrow").stat().st_size
    assert size > 20_000_000
    assert Corpus.open(tmp_path / "small.arrow")[5].docid == "s1.2"  # whatever is imported or set up, is by now
    before, allocated = rss_bytes(), pa.total_allocated_bytes()
    start = time.perf_counter()
    corpus = Corpus.open(tmp_path / "corpus.arrow")
    assert corpus[20_000].docid == "s6666.2"
    assert time.perf_counter() - start < 1
    assert rss_bytes() - before < 3_000_000
    assert pa.total_allocated_bytes() - allocated < 100_000
    assert sum(len(passage.text) for passage in corpus) > 0.8 * size
    assert rss_bytes() - before > 0.8 * size  # what the first figure would be, were it read


def test_the_command_measures_each_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, figure = tmp_path / "scale.json", tmp_path / "scale.svg"
    command = ["bench", "scale", "--sizes", "200", "--mapped", "500", "--json", str(out), "--plot", str(figure)]
    assert main(command) == 0
    figures = json.loads(out.read_text(encoding="utf-8"))
    rows = figures["rows"]
    assert [(r["passages"], r["stage"]) for r in rows] == [
        *((200, stage) for stage in ("load", "cut", "open", "bm25", "search", "trie")),
        (500, "open"),
    ]
    assert figures["within"] is True and figures["limit_bytes"] == 6e9 and figures["passage_words"] == 100
    for row in rows:
        assert row["passages_per_s"] == pytest.approx(row["passages"] / row["seconds"])
        assert 0 < row["rss_base_bytes"] <= row["rss_peak_bytes"]
        assert row["bytes_per_passage"] > 400
    assert ["search_ms" in row for row in rows] == [False, False, False, False, True, False, False]
    said = capsys.readouterr().out
    assert said.startswith("200 passages, write: 200 passages\n") and "bytes a passage" in said
    assert "<svg" in figure.read_text(encoding="utf-8")


def rows_of(*sizes: int, stages: tuple[str, ...] = ("load", "open"), peak: int = 10**9) -> list[scale.Row]:
    return [
        {
            "passages": size,
            "stage": stage,
            "seconds": size / 1000,
            "passages_per_s": 1000.0,
            "bytes_per_passage": 600.0,
            "rss_base_bytes": 5,
            "rss_peak_bytes": peak,
        }
        for size in sizes
        for stage in stages
    ]


def test_one_stage_above_the_limit_is_told() -> None:
    assert scale.summarise(rows_of(10))["within"] is True
    assert scale.summarise([*rows_of(10), *rows_of(10, peak=6_000_000_001)])["within"] is False


def test_table_of_figures() -> None:
    rows = rows_of(30_000)
    rows[1]["search_ms"] = 4.0
    _, found = drawn.scale_table(scale.summarise(rows))
    assert found == [
        ("30\u202f000", "load", "30.0", "1\u202f000", "600", "1.00", ""),
        ("30\u202f000", "open", "30.0", "1\u202f000", "600", "1.00", "4.00"),
    ]


def test_the_time_left_grows_with_the_passages_and_is_unknown_before_each_stage_was_seen() -> None:
    tasks = [scale._Task(size, stage, "m") for size in (10, 3000) for stage in ("load", "open")]
    rows = rows_of(10)
    assert scale._left_s(rows[:1], tasks[1:]) is None
    assert scale._left_s(rows, tasks[2:]) == pytest.approx(6.0)


def test_lines_keep_apart() -> None:
    said: list[str] = []
    times = iter([0.0, 0.0, 0.0, 1.0, 6.0, 7.0])
    lines = Lines(said.append, lambda: next(times), every_s=5)
    lines.phase("read", 9, "passages")
    for _ in range(3):
        lines.advance(3)
    assert said == ["read: 9 passages", "read: 6/9 passages · 1.00/s · 3.0 s left"]


def test_a_stage_that_fails_says_why(source: synthetic.Source, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text("raise RuntimeError('no such luck')\n", encoding="utf-8")
    (tmp_path / "silent.py").write_text("print('hello'); print('[1]')\n", encoding="utf-8")
    (tmp_path / "killed.py").write_text("import os; os.kill(os.getpid(), 9)\n", encoding="utf-8")
    stages = {"failing": "no such luck", "silent": "exit code 0", "killed": "killed by signal 9"}
    for module, got in stages.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(tmp_path))
            with pytest.raises(ConfigError, match=got):
                scale.run(source, [20], stages={"load": module})


def test_too_little_room_is_told_before_anything_is_measured(
    source: synthetic.Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3_999_999_999))
    with pytest.raises(StorageError, match="4 GB of room") as error:
        scale.run(source, [10, 1_000_000])
    assert "TMPDIR" in error.value.fix


def test_wrong_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "scale", "--sizes", "0"]) == 2
    assert main(["bench", "scale", "--plot", "figure.bmp"]) == 2
    assert "expected numbers of at least 1" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(sign: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "sleeping.py").write_text("import time; time.sleep(60)\n", encoding="utf-8")
    code = (
        "import sys; from harness.cli import main; from selfretrieval import scale; scale.STAGES['load'] = 'sleeping';"
        "sys.exit(main(['bench', 'scale', '--sizes', '20', '--mapped', '0']))"
    )
    (tmp_path / "temporary").mkdir()
    places = {"TMPDIR": str(tmp_path / "temporary"), "PYTHONPATH": str(tmp_path / "modules")}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code], env={**os.environ, **places}, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        for _ in range(300):
            if list(tmp_path.glob("temporary/harness-scale-*/errors.txt")):
                break  # the stage begins
            time.sleep(0.1)
        time.sleep(0.2)
        assert process.poll() is None and list((tmp_path / "temporary").iterdir())
        process.send_signal(sign)  # to the program alone, as `kill` does
        assert process.wait(20) == 130
    finally:
        process.kill()
        process.communicate()
    assert not list((tmp_path / "temporary").iterdir())
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # the stage is gone too
