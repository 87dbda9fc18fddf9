from __future__ import annotations

import json
import string
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import datasets, experiment, plan
from harness.datasets.settings import DatasetSettings
from harness.errors import ConfigError, DataError, DependencyError, UnknownNameError
from harness.experiment import Experiment, fingerprint
from harness.lm.training import TrainingSettings
from harness.measures import DEFAULT
from harness.overrides import parse_setting
from harness.progress import Progress
from harness.types import Corpus, Dataset, Passage, Query, Split
from harness.validation import dotted, validated

TOML = """
name = "trial"
title = "A trial"
seeds = [0, 1]
[limits]
time_s = 60
[datasets."vital-articles/500"]
max_passage_words = 60
[systems.bm25]
[systems.okapi]
system = "bm25-rank"
"""


@pytest.fixture
def trial(tmp_path: Path) -> Experiment:
    return read(tmp_path, TOML)


def read(folder: Path, text: str) -> Experiment:
    file = folder / "trial.toml"
    file.write_text(text, encoding="utf-8")
    return experiment.load(str(file))


def dataset(name: str = "tiny", queries: int = 3, checksum: str = "c1") -> Dataset:
    corpus = Corpus.from_passages(Passage(f"d{i}", "", f"word{i}", f"d{i}") for i in range(4))
    asked = tuple(Query(f"q{i}", f"word{i}") for i in range(queries))
    test = Split("test", asked, {f"q{i}": {f"d{i}": 1} for i in range(queries)})
    return Dataset(name, corpus, Split("train"), Split("dev"), test, {"name": name, "checksum": checksum})


class TestLoad:
    def test_every_key_is_read_and_the_rest_has_defaults(self, trial: Experiment) -> None:
        assert (trial.name, trial.title, trial.seeds) == ("trial", "A trial", (0, 1))
        assert (trial.limits.time_s, trial.limits.memory_gb) == (60.0, 16.0)
        assert (trial.latency.queries, trial.latency.warmup, trial.batch.size) == (20, 3, 32)
        assert (trial.split, trial.depth, trial.primary, trial.limit) == ("test", 100, "RR@5", None)
        assert trial.measures == DEFAULT
        assert trial.datasets == {"vital-articles/500": DatasetSettings(max_passage_words=60)}
        assert {label: choice.system for label, choice in trial.systems.items()} == {
            "bm25": "bm25",
            "okapi": "bm25-rank",
        }
        assert trial.systems["okapi"].settings() == {}

    def test_systems_keep_their_order_and_settings(self, tmp_path: Path) -> None:
        found = read(tmp_path, TOML + '[systems.a]\nsystem = "dsi"\ndocids = "naive"\nbeams = [1, 2]\n')
        assert list(found.systems) == ["bm25", "okapi", "a"]
        assert found.systems["a"].settings() == {"docids": "naive", "beams": [1, 2]}

    def test_table_gives_the_same_experiment_again(self, trial: Experiment) -> None:
        assert Experiment.from_table(json.loads(json.dumps(trial.table())), "json") == trial

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("limits.tim_s = 1", ["limits.tim_s", "limits.time_s"]),
            ("depht = 10", ["depht", "write depth"]),
            ('datasets."vital-articles/500".words = 1', ['datasets."vital-articles/500".words', "max_passage_words"]),
            ('limits.memory_gb = "much"', ["limits.memory_gb = 'much'", "number"]),
            ("limits.time_s = 0", ["limits.time_s = 0", "greater than 0"]),
            ("limits.time_s = inf", ["limits.time_s", "finite"]),
            ('depth = "10"', ["depth = '10'", "integer"]),
            ("depth = 10.5", ["depth = 10.5"]),
            ('seeds = "0"', ["seeds = '0'"]),
            ("seeds = [0, 0]", ["seeds", "once only"]),
            ("seeds = [-1]", ["seeds.0 = -1"]),
            ("seeds = []", ["seeds"]),
            ('split = "tset"', ["split = 'tset'", "'test'"]),
            ("systems.bm25 = 3", ["systems.bm25 = 3"]),
            ('systems."a/b" = {}', ["a/b"]),
            ("depth = 2020-01-01", ["depth"]),
        ],
    )
    def test_one_message_names_path_value_and_remedy(self, tmp_path: Path, text: str, said: list[str]) -> None:
        base = 'name = "trial"\n' + text + '\ndatasets."vital-articles/500".max_passage_words = 60\n'
        base += "" if text.startswith("systems.bm25") else "systems.bm25 = {}\n"
        with pytest.raises(ConfigError) as caught:
            read(tmp_path, base)
        assert all(part in str(caught.value) for part in [*said, "trial.toml"])

    @pytest.mark.parametrize("missing", ["name", "datasets", "systems"])
    def test_what_is_needed_is_asked_for(self, missing: str) -> None:
        table: dict[str, Any] = {"name": "a", "datasets": {"d": {}}, "systems": {"bm25": {}}}
        del table[missing]
        with pytest.raises(ConfigError, match=f"no {missing}"):
            Experiment.from_table(table, "a.toml")

    def test_all_slips_are_told_at_once(self) -> None:
        table = {"name": "a", "datasets": {"d": {}}, "systems": {"bm25": {}}, "dept": 1, "limits": {"time": 2}}
        with pytest.raises(ConfigError) as caught:
            Experiment.from_table(table, "a.toml")
        assert "dept" in caught.value.got
        assert "limits.time" in caught.value.got

    @pytest.mark.parametrize("name", ["", "../up", ".hidden", "a b", "x/y"])
    def test_names_that_are_no_folder_are_refused(self, name: str) -> None:
        with pytest.raises(ConfigError, match="name = "):
            Experiment.from_table({"name": name, "datasets": {"d": {}}, "systems": {"bm25": {}}}, "a.toml")

    def test_broken_toml_names_file_and_line(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"(?s)trial\.toml.*line 2"):
            read(tmp_path, 'name = "a"\ntitle = \n')

    def test_other_bytes_than_utf8_name_file_and_line(self, tmp_path: Path) -> None:
        (tmp_path / "a.toml").write_bytes(b'name = "a"\ntitle = "\xff"\n')
        with pytest.raises(ConfigError, match=r"(?s)UTF-8.*a\.toml.*line 2"):
            experiment.load(str(tmp_path / "a.toml"))

    def test_missing_file_and_folder(self, tmp_path: Path) -> None:
        for path in (tmp_path / "none.toml", tmp_path):
            with pytest.raises(ConfigError, match="smoke"):
                experiment.load(str(path))

    def test_unknown_name_suggests_a_near_one(self) -> None:
        with pytest.raises(UnknownNameError, match="use 'quick'"):
            experiment.load("quik")


class TestLike:
    """A system with the settings of another of the experiment."""

    BASE = TOML + '[systems.a]\nsystem = "dsi"\ndocid = "naive"\ntraining.tokens = 10\ntraining.epochs = 2\n'

    def test_own_settings_stand_above_those_of_the_other_tables_within_tables_too(self, tmp_path: Path) -> None:
        found = read(tmp_path, self.BASE + '[systems.b]\nlike = "a"\ntraining.tokens = 20\ndocid = "random"\n')
        assert found.systems["b"].system == "dsi"
        assert found.systems["b"].settings() == {"docid": "random", "training": {"tokens": 20, "epochs": 2}}
        assert found.systems["a"].settings() == {"docid": "naive", "training": {"tokens": 10, "epochs": 2}}

    def test_it_is_the_same_experiment_as_one_that_writes_everything_out(self, tmp_path: Path) -> None:
        short = read(tmp_path, self.BASE + '[systems.b]\nlike = "a"\ndocid = "random"\n')
        long = self.BASE + '[systems.b]\nsystem = "dsi"\ndocid = "random"\ntraining.tokens = 10\ntraining.epochs = 2\n'
        assert short.fingerprint() == read(tmp_path, long).fingerprint()

    def test_the_other_may_stand_behind_it_and_be_like_a_third(self, tmp_path: Path) -> None:
        found = read(tmp_path, TOML + '[systems.c]\nlike = "b"\nk1 = 2\n[systems.b]\nlike = "bm25"\nb = 0.5\n')
        assert list(found.systems) == ["bm25", "okapi", "c", "b"]
        assert (found.systems["c"].system, found.systems["c"].settings()) == ("bm25", {"b": 0.5, "k1": 2})

    def test_chosen_alone_it_keeps_what_it_has_of_the_other(self, tmp_path: Path) -> None:
        found = read(tmp_path, self.BASE + '[systems.b]\nlike = "a"\n').with_overrides(systems=["b"])
        assert found.systems["b"].settings() == {"docid": "naive", "training": {"tokens": 10, "epochs": 2}}

    def test_the_command_line_cannot_make_one_like_another(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"systems\.okapi\.like = 'bm25'"):
            read(tmp_path, TOML).with_overrides(sets=["systems.okapi.like=bm25"])

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ('b = {like = "aa"}', ["b is like 'aa'", "bm25, okapi, a"]),
            ("b = {like = 3}", ["b is like 3"]),
            ('b = {like = "b"}', ["b is like b:"]),
            ('b = {like = "c"}\nc = {like = "d"}\nd = {like = "b"}', ["b is like c is like d is like b"]),
            ('b = {like = "c"}\nc = 3', ["systems.c = 3"]),
            ('b = {like = "standart/dsi"}', ["b is like 'standart/dsi'", "shipped experiments:", "standard"]),
            ('b = {like = "standard/aa"}', ["b is like 'standard/aa'", "experiment 'standard'", "bm25, dense"]),
            ('b = {like = "/a"}', ["b is like '/a'", "shipped experiments:"]),
        ],
    )
    def test_what_is_like_nothing_is_refused(self, tmp_path: Path, text: str, said: list[str]) -> None:
        with pytest.raises(ConfigError) as caught:
            read(tmp_path, "\n".join(f"systems.{line}" for line in text.split("\n")) + "\n" + self.BASE)
        assert all(part in str(caught.value) for part in said)

    def test_the_other_may_be_of_a_shipped_experiment_and_like_a_third_there(self, tmp_path: Path) -> None:
        table = '[systems.b]\nlike = "index-beside/dense-judged"\njudge.training.tokens = 3\n'
        shipped = experiment.load("index-beside").systems["bm25-judged"]
        found = read(tmp_path, TOML + table).systems["b"]
        expected = shipped.settings()
        expected["first"] = "dense"
        expected["judge"] = expected["judge"] | {"training": expected["judge"]["training"] | {"tokens": 3}}
        assert (found.system, found.settings()) == ("self-rerank", expected)

    def test_a_label_alone_is_of_its_own_experiment_also_where_others_have_it(self, tmp_path: Path) -> None:
        table = '[systems.dsi]\nlike = "standard/dsi"\nbeam_size = 3\n[systems.c]\nlike = "dsi"\n'
        assert read(tmp_path, TOML + table).systems["c"].settings()["beam_size"] == 3

    def test_shipped_experiments_like_each_other_in_a_circle_are_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = {name: tmp_path / f"{name}.toml" for name in ("one", "two")}
        files["one"].write_text('[systems.a]\nlike = "two/a"\n')
        files["two"].write_text('[systems.a]\nlike = "one/a"\n')
        monkeypatch.setattr(experiment, "_shipped_files", lambda: files)
        with pytest.raises(ConfigError, match="b is like one/a is like two/a is like one/a"):
            read(tmp_path, TOML + '[systems.b]\nlike = "one/a"\n')

    def test_keys_of_100_parts_and_chains_of_a_thousand_systems_are_read(self, tmp_path: Path) -> None:
        deep = ".".join(["x"] * 100)
        chain = "".join(f'[systems.s{i}]\nlike = "s{i + 1}"\n{deep}.y{i} = 1\n' for i in range(3))
        found = read(tmp_path, TOML + chain + f'[systems.s3]\nsystem = "dsi"\n{deep}.z = 1\n')
        below = found.systems["s0"].settings()
        for _ in range(100):
            below = below["x"]
        assert below == {"y0": 1, "y1": 1, "y2": 1, "z": 1}
        many = "".join(f'[systems.s{i}]\nlike = "s{i + 1}"\n' for i in range(1000))
        assert read(tmp_path, TOML + many + '[systems.s1000]\nsystem = "dsi"\n').systems["s0"].system == "dsi"


class TestShipped:
    def test_names_are_file_names_and_titles_are_there(self) -> None:
        found = dict(experiment.shipped())
        assert {"quick", "smoke"} <= found.keys()
        assert all(found.values())
        assert [experiment.load(name).name for name in found] == list(found)

    def test_smoke_is_what_it_says(self) -> None:
        smoke = experiment.load("smoke")
        assert list(smoke.datasets) == ["vital-articles/500"]
        assert list(smoke.systems) == ["bm25", "oracle", "random"]

    @pytest.mark.parametrize("name", [name for name, _ in experiment.shipped()])
    def test_every_setting_is_one_its_system_has(self, name: str) -> None:
        shipped = experiment.load(name)
        for label, choice in shipped.systems.items():
            validated(plan.resolve(choice.system).config, choice.settings(), name, ("systems", label))

    @pytest.mark.parametrize("name", ["ablation-standard", "index-beside"])
    def test_what_is_said_to_be_that_of_standard_is(self, name: str) -> None:
        other, standard = experiment.load(name), experiment.load("standard")
        assert other.systems["self-retrieval"] == standard.systems["self-retrieval"]
        assert other.datasets.items() <= standard.datasets.items()
        assert (other.latency, other.measures) == (standard.latency, standard.measures)

    @pytest.mark.parametrize("name", ["quick", "standard", "full"])
    def test_language_models_of_one_experiment_read_equally_many_tokens(self, name: str) -> None:
        budgets = set()
        for choice in experiment.load(name).systems.values():
            settings = plan.resolve(choice.system).config.model_validate(choice.settings())
            training = getattr(settings, "training", None)
            if isinstance(training, TrainingSettings):
                pseudo = getattr(settings, "pseudo_queries", None)
                budgets.add(training.tokens + (pseudo.training.tokens if pseudo and pseudo.per_passage else 0))
        budgets.discard(0)
        assert len(budgets) == 1

    @pytest.mark.parametrize("name", ["quick", "full", "index-beside"])
    def test_the_judge_behind_an_index_is_taught_by_as_many_tokens_as_that_of_self_retrieval(self, name: str) -> None:
        systems = {label: choice.settings() for label, choice in experiment.load(name).systems.items()}
        own, judge = systems["self-retrieval"], systems["bm25-judged"]["judge"]
        share = own["shares"]["likelihood"] / sum(own["shares"].values())
        assert judge["training"]["tokens"] == pytest.approx(share * own["training"]["tokens"])
        assert sum(judge["shares"].values()) == judge["shares"]["likelihood"] > 0
        assert systems["bm25-judged"]["depth"] == own["judged"]
        for same in ("trim_vocabulary", "lowercase", "passage_cache_gb", "weights", "ranking"):
            assert judge[same] == own[same]
        assert judge.get("likelihood_passes") == own.get("likelihood_passes")

    def test_quick_cuts_passages(self) -> None:
        assert experiment.load("quick").datasets["vital-articles/500"].max_passage_words == 60


class TestFingerprint:
    def test_is_sha256_of_canonical_json(self) -> None:
        # printf '{"a":1,"b":[2]}' | sha256sum
        assert fingerprint({"b": [2], "a": 1}) == "0855bfc20eb6cfaa4be7d6b510c63dd22997718bddadcb1a4915cec3a16145b9"

    def test_changes_with_any_setting(self, trial: Experiment) -> None:
        changed = [trial.with_overrides(sets=[s]) for s in ("depth=50", "systems.bm25.b=0.5", "limits.time_s=61")]
        changed += [trial.with_overrides(limit=3), trial.with_overrides(seed=0), trial]
        assert len({e.fingerprint() for e in changed}) == len(changed)


class TestOverrides:
    def test_datasets_are_replaced_and_keep_settings_of_the_same_name(self, trial: Experiment) -> None:
        found = trial.with_overrides(datasets=["sets/cranfield", "vital-articles/500"]).datasets
        assert list(found.items()) == [
            ("sets/cranfield", DatasetSettings()),
            ("vital-articles/500", DatasetSettings(max_passage_words=60)),
        ]

    def test_systems_are_labels_or_registered_names(self, trial: Experiment) -> None:
        found = trial.with_overrides(systems=["okapi, oracle", "okapi"])
        assert {label: c.system for label, c in found.systems.items()} == {"okapi": "bm25-rank", "oracle": "oracle"}

    def test_unknown_system_suggests_labels_and_names(self, trial: Experiment) -> None:
        with pytest.raises(UnknownNameError, match="use 'okapi'"):
            trial.with_overrides(systems=["okapy"])

    @pytest.mark.parametrize("names", [[], [""], [" , "]])
    def test_no_system_is_refused(self, trial: Experiment, names: list[str]) -> None:
        with pytest.raises(ConfigError, match="at least one system"):
            trial.with_overrides(systems=names)

    def test_settings_seed_and_limit(self, trial: Experiment) -> None:
        found = trial.with_overrides(
            sets=[
                "systems.bm25.b=0.75",
                "limits.time_s = 5",
                'datasets."vital-articles/500".max_passage_words=40',
                "primary=nDCG@10",
                'title="a = b"',
                "seeds=[4]",
                "systems.okapi.stem=false",
            ],
            seed=7,
            limit=2,
        )
        assert found.systems["bm25"].settings() == {"b": 0.75}
        assert found.systems["okapi"].settings() == {"stem": False}
        assert found.limits.time_s == 5.0
        assert found.datasets["vital-articles/500"].max_passage_words == 40
        assert (found.primary, found.title, found.seeds, found.limit) == ("nDCG@10", "a = b", (7,), 2)

    def test_the_original_stays_as_it_was(self, trial: Experiment) -> None:
        before = trial.fingerprint()
        trial.with_overrides(sets=["systems.bm25.b=1.0"], seed=9)
        assert trial.fingerprint() == before

    @pytest.mark.parametrize(
        ("setting", "said"),
        [
            ("depth", "dotted.key=value"),
            ("=3", "dotted.key=value"),
            ("a b=3", "dotted.key=value"),
            ("datasets.vital-articles/500.max_passage_words=1", "quote a part"),
            ("title=", "TOML value"),
            ('title="open', "TOML value"),
            ("seeds=[1", "TOML value"),
            ("systems.dense.model=x", "known: bm25, okapi"),
            ("datasets.other.max_passage_words=1", "vital-articles/500"),
            ("name.first=x", "a table at name"),
            ("limits=5", "limits = 5"),
            ("limits.tim_s=5", "write limits.time_s"),
            ("limits.time_s=soon", "limits.time_s = 'soon'"),
        ],
    )
    def test_a_bad_setting_is_explained(self, trial: Experiment, setting: str, said: str) -> None:
        with pytest.raises(ConfigError) as caught:
            trial.with_overrides(sets=[setting])
        assert said in str(caught.value)

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("0.5", 0.5),
            ("3", 3),
            ("true", True),
            ("naive", "naive"),
            ("a/b.gguf", "a/b.gguf"),
            ("1.2.3", "1.2.3"),
            ('"x=y"', "x=y"),
            ("a=b", "a=b"),
            ("[1, 2]", [1, 2]),
            ("{a = 1}", {"a": 1}),
            ("1\nb = 2", "1\nb = 2"),
        ],
    )
    def test_values_are_toml_or_bare_words(self, text: str, value: object) -> None:
        assert parse_setting(f"systems.x.y={text}") == (["systems", "x", "y"], value)

    def test_quoted_parts_may_hold_the_equals_sign(self) -> None:
        assert parse_setting('datasets."a=b".x=1') == (["datasets", "a=b", "x"], 1)

    @given(st.lists(st.text(string.ascii_letters + string.punctuation + " éß😀", min_size=1), min_size=1, max_size=4))
    def test_what_dotted_writes_is_read_back(self, path: list[str]) -> None:
        assert parse_setting(f"{dotted(path)}=1") == (path, 1)


class TestPlan:
    @pytest.fixture
    def loaded(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Replace the loader; the names it was asked for."""
        asked: list[str] = []

        def load(name: str, settings: DatasetSettings, progress: Progress) -> Dataset:
            asked.append(name)
            return dataset(name.rpartition(":")[2], checksum=f"{name} {settings.max_passage_words}")

        monkeypatch.setattr(datasets, "load", load)
        return asked

    def of(self, **keys: Any) -> Experiment:
        table = {"name": "a", "datasets": {"tiny": {}}, "systems": {"bm25": {}}, **keys}
        return Experiment.from_table(table, "a.toml")

    def test_cells_run_by_dataset_then_system_then_seed(self, loaded: list[str], tmp_path: Path) -> None:
        systems = {"random": {}, "mine": {"system": "bm25"}}
        found = plan.prepare(self.of(seeds=[3, 1], datasets={"b": {}, "x:a": {}}, systems=systems), tmp_path)
        assert [(c.dataset, c.system, c.seed) for c in found.cells] == [
            (d, s, n) for d in ("b", "a") for s in ("random", "mine") for n in (3, 1)
        ]
        last = found.cells[-1]
        assert (last.registered, last.family, last.folder) == ("bm25", "sparse", tmp_path / "a" / "mine" / "1")
        assert loaded == ["b", "x:a"]
        assert not list(tmp_path.iterdir())

    def test_settings_are_filled_in(self, loaded: list[str], tmp_path: Path) -> None:
        settings = plan.prepare(self.of(systems={"bm25": {"b": 0.5}}), tmp_path).experiment.systems["bm25"].settings()
        assert settings["b"] == 0.5
        assert settings.keys() > {"b"}

    def test_an_unknown_setting_is_named_with_its_path(self, loaded: list[str], tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"systems\.mine\.bb"):
            plan.prepare(self.of(systems={"mine": {"system": "bm25", "bb": 1.0}}), tmp_path)
        assert loaded == []

    def test_numbers_as_text_are_refused(self, loaded: list[str], tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"systems\.bm25\.b = '1'"):
            plan.prepare(self.of(systems={"bm25": {"b": "1"}}), tmp_path)

    def test_measures_are_written_formally(self, loaded: list[str], tmp_path: Path) -> None:
        found = plan.prepare(self.of(measures=["Hits@1", "MRR@5"], primary="MRR@5"), tmp_path).experiment
        assert (found.measures, found.primary) == (("Success@1", "RR@5"), "RR@5")

    @pytest.mark.parametrize(
        ("keys", "said"),
        [
            ({"measures": ["RR@5", "nonsense@3"]}, "nonsense@3"),
            ({"measures": ["RR@10"]}, "primary 'RR@5'"),
            ({"depth": 50}, "depth of at least 100"),
            ({"systems": {"data": {"system": "bm25"}}}, "'data'"),
            ({"systems": {"a": {"system": "bm25"}, "A": {"system": "bm25"}}}, "'A'"),
            ({"datasets": {"report": {}}}, "'report'"),
            ({"datasets": {"a/b": {}, "a-b": {}}}, "'a-b'"),
            ({"systems": {"bm52": {}}}, "bm25"),
        ],
    )
    def test_what_cannot_run_is_refused(
        self, loaded: list[str], tmp_path: Path, keys: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            plan.prepare(self.of(**keys), tmp_path)
        assert said in str(caught.value)

    def test_a_split_without_queries_is_refused(self, loaded: list[str], tmp_path: Path) -> None:
        with pytest.raises(DataError, match="'dev' of tiny"):
            plan.prepare(self.of(split="dev"), tmp_path)

    @pytest.mark.parametrize(
        ("name", "error"),
        [
            ("harness.plan:NOTHING", ConfigError),
            ("harness.plan:INTERVALS", ConfigError),
            ("no_such_package.module:SYSTEM", DependencyError),
            ("./mine.py:SYSTEM", ConfigError),
            (":SYSTEM", ConfigError),
            ("bm52", UnknownNameError),
        ],
    )
    def test_what_is_no_system_is_refused(self, name: str, error: type[Exception]) -> None:
        with pytest.raises(error):
            plan.resolve(name)

    def test_a_cell_fingerprint_covers_what_decides_its_figures(self, loaded: list[str], tmp_path: Path) -> None:
        def cell(**keys: Any) -> str:
            return plan.prepare(self.of(**keys), tmp_path).cells[0].fingerprint

        changes: list[dict[str, Any]] = [
            {"systems": {"bm25": {"b": 0.5}}},
            {"systems": {"bm25": {"system": "random"}}},
            {"seeds": [1]},
            {"datasets": {"tiny": {"max_passage_words": 3}}},
            {"limit": 2},
            {"depth": 200},
            {"measures": ["RR@5"]},
            {"latency": {"queries": 2}},
            {"batch": {"size": 1}},
        ]
        assert len({cell(), *(cell(**change) for change in changes)}) == len(changes) + 1

    def test_a_cell_fingerprint_leaves_out_what_does_not(self, loaded: list[str], tmp_path: Path) -> None:
        first = plan.prepare(self.of(), tmp_path).cells[0].fingerprint
        others: list[dict[str, Any]] = [
            {"title": "other"},
            {"limits": {"time_s": 1}},
            {"systems": {"label": {"system": "bm25"}}},
            {"primary": "RR@10"},
        ]
        assert {plan.prepare(self.of(**keys), tmp_path).cells[0].fingerprint for keys in others} == {first}

    def test_dev_withheld_is_noted(self, loaded: list[str], tmp_path: Path) -> None:
        found = plan.prepare(self.of(), tmp_path)
        dev = replace(found, experiment=found.experiment.with_overrides(sets=["split=dev"]))
        assert plan.DEV_WITHHELD not in found.notes()
        assert plan.DEV_WITHHELD in dev.notes()
