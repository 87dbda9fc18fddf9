"""Runs of outside systems: every way a file can be bad, what is decided where it is doubtful, and what is told."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import outside, trecfile
from harness.datasets.files import PLENTY_BYTES
from harness.errors import ConfigError, DataError, HarnessError, UnknownNameError
from harness.experiment import Experiment, OutsideRun
from harness.outside import Outside, Source
from harness.overrides import apply, parse_run
from harness.ranking import validate
from harness.types import Corpus, Dataset, Hit, Passage, Query, Run, Split

DOCIDS = ("d1", "d2", "d3", "50%", "a b")
QUERIES = Split(
    "test", tuple(Query(qid, "?") for qid in ("q1", "q2", "q3")), {q: {"d1": 1} for q in ("q1", "q2", "q3")}
)
CORPUS = Corpus.from_passages(Passage(docid, "", "text", docid) for docid in DOCIDS)
NONE = Split("none")
DATASET = Dataset("set", CORPUS, NONE, NONE, QUERIES)


def read(tmp_path: Path, text: str | bytes, depth: int = 3, dataset: Dataset = DATASET) -> tuple[Outside, Run]:
    path = tmp_path / "other.trec"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return outside.read(Source("colbert", "set", str(path)), dataset, dataset.test, depth)


def fails(tmp_path: Path, text: str | bytes) -> DataError:
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    assert caught.value.file == tmp_path / "other.trec"
    return caught.value


def test_hits_of_the_evaluated_queries_are_read_in_the_one_order(tmp_path: Path) -> None:
    text = "q2 Q0 d1 0 7 t\r\n\nq1\t0\td1\t1\t0.5\tt\nq1 Q0 d3 2 .5 t\nq1 Q0 d2 3 5e-1 t\n"
    found, run = read(tmp_path, text)
    assert run == {"q1": [Hit("d3", 0.5), Hit("d2", 0.5), Hit("d1", 0.5)], "q2": [Hit("d1", 7.0)]}
    assert list(run) == ["q1", "q2"]
    assert found.sha256 == trecfile.sha256(tmp_path / "other.trec")
    about, missing = found.notes
    assert about.startswith(
        f"colbert on set is an outside run: its hits were read from other.trec (SHA-256 {found.sha256[:12]}…)"
    )
    assert missing == "colbert on set: 1 of 3 queries have no hit in the file and count as 0."


def test_a_packed_file_reads_the_same_whatever_it_is_called(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbfq1 Q0 d1 1 2.5 t\n"
    assert read(tmp_path, gzip.compress(text))[1] == read(tmp_path, text)[1] == {"q1": [Hit("d1", 2.5)]}


def test_what_is_decided_is_told(tmp_path: Path) -> None:
    lines = [
        "q1 Q0 d1 1 1.0 t",
        "q1 Q0 d2 2 2.0 t",
        "q1 Q0 d3 3 0.0 t",
        "train7 Q0 nowhere 1 1.0 t",
        "q2 Q0 d1 1 1.0 t",
    ]
    found, run = read(tmp_path, "\n".join(lines), depth=2)
    assert run == {"q1": [Hit("d2", 2.0), Hit("d1", 1.0)], "q2": [Hit("d1", 1.0)]}
    assert [note.partition("set: ")[2] for note in found.notes[1:]] == [
        "1 of 3 queries have no hit in the file and count as 0.",
        "hits for 1 queries that are not evaluated were passed over.",
        "more than 2 hits for 1 queries, of which the first 2 count.",
        "ranks contradict scores for 1 queries; the scores decide.",
    ]


@pytest.mark.parametrize(
    ("ranks", "contradict"),
    [((1, 2, 3), False), ((0, 1, 1), False), ((1, 1, 1), False), ((2, 1, 3), True), ((3, 2, 1), True)],
)
def test_ranks_are_held_against_scores_wherever_the_lines_stand(
    tmp_path: Path, ranks: tuple[int, int, int], contradict: bool
) -> None:
    hits = [f"q1 Q0 {docid} {rank} {score} t" for docid, rank, score in zip(DOCIDS, ranks, (9, 8, 7), strict=False)]
    # The hit in the middle comes last, so that no two neighbours in the file need to disagree.
    for lines in (hits, [hits[0], hits[2], hits[1]]):
        notes = " ".join(read(tmp_path, "\n".join(lines))[0].notes)
        assert ("ranks contradict scores for 1 queries" in notes) == contradict


def test_ids_with_white_space_are_percent_encoded_and_others_are_not(tmp_path: Path) -> None:
    _, run = read(tmp_path, "q1 Q0 a%20b 1 3 t\nq1 Q0 50% 2 2 t\nq2 Q0 50%25 1 1 t\n")
    assert run == {"q1": [Hit("a b", 3.0), Hit("50%", 2.0)], "q2": [Hit("50%", 1.0)]}


def test_an_id_that_may_mean_two_passages_is_refused(tmp_path: Path) -> None:
    both = Corpus.from_passages(Passage(docid, "", "", docid) for docid in ("50%", "50%25"))
    with pytest.raises(DataError, match="'50%25', which may be '50%' too") as caught:
        read(tmp_path, "q1 Q0 50%25 1 1 t\n", dataset=Dataset("set", both, NONE, NONE, QUERIES))
    assert caught.value.line == 1


BAD = {
    "five columns": ("q1 Q0 d2 1 1.0", "5 columns"),
    "a blank in a docid": ("q1 Q0 a b 1 1.0 t", '"%20"'),
    "columns swapped": ("q1 Q0 d2 1.5 1 t", "a whole number in column 4, the rank"),
    "a rank of a thousand digits": (f"q1 Q0 d2 {'9' * 5000} 1 t", "(5000 characters)"),
    "a score in words": ("q1 Q0 d2 1 high t", "a finite score in column 5"),
    "NaN": ("q1 Q0 d2 1 nan t", "a finite score in column 5"),
    "infinity": ("q1 Q0 d2 1 -inf t", "a finite score in column 5"),
    "too large": ("q1 Q0 d2 1 1e999 t", "a finite score in column 5"),
    "a number as Python alone writes it": ("q1 Q0 d2 1 1_0 t", "a finite score in column 5"),
    "an unknown docid": ("q1 Q0 D1 1 1.0 t", "docids of the corpus (5 passages: 'd1', …)"),
    "a docid twice": ("q1 Q0 d1 2 0.5 t", "'d1' again, first used in line 1"),
    "not UTF-8": (b"q1 Q0 d\xff 1 1.0 t", "0xff"),
    "NUL": ("q1 Q0 d\0 1 1.0 t", "a NUL byte"),
    "a line without end": ("q1 " * 30_000, "65,536 bytes"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_named(tmp_path: Path, name: str) -> None:
    line, said = BAD[name]
    raw = line if isinstance(line, bytes) else line.encode()
    error = fails(tmp_path, b"q1 Q0 d1 1 1.0 t\n" + raw + b"\n")
    assert error.line == 2
    assert said in str(error)
    assert len(str(error)) < 700


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no hit at all"),
        ("t1 Q0 d1 1 1 t\nt2 Q0 d1 1 1 t\n", "hits for 2 other queries ('t1', 't2')"),
        (gzip.compress(b"q1 Q0 d1 1 1 t\n" * 99)[:-9], "a whole archive"),
        (gzip.compress(b"q1 Q0 d1 1 1 %b\n" % (b"t" * 60_000) * (PLENTY_BYTES // 50_000)), "made to fill a disk"),
    ],
)
def test_a_file_of_no_use_is_refused(tmp_path: Path, text: str | bytes, said: str) -> None:
    error = fails(tmp_path, text)
    assert said in str(error)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "absent.trec", "no such file"), (tmp_path, "directory")):
        with pytest.raises(DataError, match=said) as caught:
            outside.read(Source("colbert", "set", str(path)), DATASET, QUERIES, 3)
        assert caught.value.file == path


LINES = st.builds(
    " ".join,
    st.lists(
        st.sampled_from(["q1", "q2", "Q0", "d1", "d2", "1", "2", "0.5", "nan", "t", "%", "\0", "é", ""]), max_size=8
    ),
)


@given(st.one_of(st.binary(max_size=60), st.lists(LINES, max_size=5).map(lambda lines: "\n".join(lines).encode())))
def test_whatever_is_in_the_file_it_is_a_valid_run_or_one_message(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    try:
        _, run = read(tmp_path_factory.mktemp("fuzz"), raw)
    except HarnessError as error:
        assert error.expected and error.got and error.fix
    else:
        validate(run, CORPUS.row_of, 3)


def run_of(**table: Any) -> OutsideRun:
    return OutsideRun.model_validate(table)


class TestSources:
    """Which file is of which dataset."""

    def test_either_name_of_a_dataset_will_do(self) -> None:
        names = {"beir:sets/fiqa": "fiqa", "vital-articles/500": "vital-articles/500"}
        runs = {
            "a": run_of(files={"fiqa": "a1", "vital-articles/500": "a2"}),
            "b": run_of(files={"beir:sets/fiqa": "b1"}),
        }
        assert outside.sources(runs, names) == [
            Source("a", "fiqa", "a1"),
            Source("a", "vital-articles/500", "a2"),
            Source("b", "fiqa", "b1"),
        ]
        assert outside.sources({"a": run_of(file="f")}, {"beir:sets/fiqa": "fiqa"}) == [Source("a", "fiqa", "f")]

    def test_one_file_for_two_datasets_is_refused_with_the_way_out(self) -> None:
        with pytest.raises(ConfigError, match="--run a@x=FILE --run a@y=FILE"):
            outside.sources({"a": run_of(file="f")}, {"x": "x", "y": "y"})

    def test_other_datasets_are_refused_with_near_names(self) -> None:
        with pytest.raises(UnknownNameError, match=r"'fiqq'\n.*use 'fiqa'"):
            outside.sources({"a": run_of(files={"fiqq": "f"})}, {"fiqa": "fiqa"})

    def test_two_files_for_one_dataset_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="'f' and 'g'"):
            outside.sources({"a": run_of(files={"beir:x": "f", "x": "g"})}, {"beir:x": "x"})


TABLE: dict[str, Any] = {
    "name": "e",
    "datasets": {"x": {}, "y": {}},
    "systems": {"bm25": {}, "random": {}},
    "runs": {"a": {"files": {"x": "ax", "y": "ay"}}, "b": {"files": {"y": "by"}}},
}


def runs_of(experiment: Experiment) -> dict[str, dict[str, str] | str]:
    return {label: run.file or run.files for label, run in experiment.runs.items()}


class TestOptions:
    """Outside runs in TOML and on the command line."""

    @pytest.fixture
    def trial(self) -> Experiment:
        return Experiment.from_table(TABLE, "e.toml")

    def test_runs_are_added_and_replaced(self, trial: Experiment) -> None:
        found = trial.with_overrides(runs=["c@x=cx", "c@y=c=y", "b@x=bx"])
        assert runs_of(found) == {"a": {"x": "ax", "y": "ay"}, "b": {"x": "bx"}, "c": {"x": "cx", "y": "c=y"}}
        assert runs_of(trial)["b"] == {"y": "by"}

    def test_files_for_datasets_that_are_not_run_are_left_out(self, trial: Experiment) -> None:
        assert runs_of(trial.with_overrides(datasets=["x"])) == {"a": {"x": "ax"}}
        assert runs_of(trial.with_overrides(datasets=["x"], runs=["b=f"])) == {"a": {"x": "ax"}, "b": "f"}

    def test_systems_choose_among_runs_too(self, trial: Experiment) -> None:
        found = trial.with_overrides(systems=["bm25,b"], runs=["c@x=cx"])
        assert (list(found.systems), runs_of(found)) == (["bm25"], {"b": {"y": "by"}, "c": {"x": "cx"}})

    def test_a_run_changes_the_fingerprint(self, trial: Experiment) -> None:
        assert trial.with_overrides(runs=["a@x=other"]).fingerprint() != trial.fingerprint()

    @pytest.mark.parametrize("given", ["colbert", "=f", "colbert=", "@x=f", "colbert@=f", ""])
    def test_other_forms_are_refused(self, given: str) -> None:
        with pytest.raises(ConfigError, match=r"NAME@DATASET=FILE"):
            parse_run(given)

    def test_two_files_for_one_place_are_refused(self) -> None:
        for runs in (["a=f", "a=g"], ["a@x=f", "a@x=g"]):
            with pytest.raises(ConfigError, match="'f' and 'g'"):
                apply(TABLE, runs=runs)

    @pytest.mark.parametrize(
        ("run", "said"),
        [
            ({}, "either a file, or files by dataset"),
            ({"file": "f", "files": {"x": "g"}}, "either a file, or files by dataset"),
            ({"file": ""}, "runs.a.file"),
            ({"fil": "f"}, "write runs.a.file"),
        ],
    )
    def test_a_run_has_either_a_file_or_files(self, run: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigError) as caught:
            Experiment.from_table({**TABLE, "runs": {"a": run}}, "e.toml")
        assert said in str(caught.value)
