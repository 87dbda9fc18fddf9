"""Hostile files in the formats of published sets: KILT, Self-Retrieval, NQ320K, MS MARCO documents, SQuAD."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import strategies as st

from harness.datasets import DatasetSettings
from harness.datasets.sampling import fraction
from tests.property.hostile import (
    ANY_JSON,
    NASTY,
    TEXTS,
    damaged,
    fuzz,
    lines,
    mostly,
    objects,
    place,
    put,
    try_to_load,
    unchanged,
    written,
)

NUMBERS = st.sampled_from(
    ["0", "1", "2", "-1", '"1"', "1.5", "9" * 4000, "9" * 5000, "null", "true", "1e999", str(2**63)]
)
PAGES = mostly(st.sampled_from(['"1"', "2", '"3"', "4"]), NUMBERS | written(TEXTS), 15)
TEXT = written(mostly(st.sampled_from(["A text. And more of it.", "words"]), TEXTS, 6))
SOME = st.sampled_from(["0", "1", "null"])
NUMBER = mostly(SOME, NUMBERS, 10)


def array(values: st.SearchStrategy[str], most: int = 3, least: int = 0) -> st.SearchStrategy[str]:
    """Write a JSON array of JSON values."""
    return st.lists(values, min_size=least, max_size=most).map(lambda found: f"[{', '.join(found)}]")


def whole(rows: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """Write a file that is one JSON array, or nearly."""
    ends = mostly(st.sampled_from(["]", "]\n"]), st.sampled_from(["", ",]", "]]", "] []", "]\0"]), 15)
    return st.tuples(st.lists(rows, min_size=1, max_size=4), ends).map(
        lambda t: ("[" + ",\n".join(t[0]) + t[1]).encode("utf-8", "surrogatepass")
    )


def encoded(rows: Any, array: bool = False) -> bytes:
    """Write sound rows: one array (or what else it is), or one a line."""
    return (json.dumps(rows) if array else "".join(json.dumps(row) + "\n" for row in rows)).encode()


SPAN = objects(
    {
        "wikipedia_id": PAGES,
        "start_paragraph_id": NUMBER,
        "start_character": NUMBER,
        "end_paragraph_id": NUMBER,
        "end_character": NUMBER,
    }
)
KILT = st.fixed_dictionaries(
    {
        "kilt_knowledgesource.json": lines(
            objects({"wikipedia_id": PAGES, "wikipedia_title": TEXT, "text": array(TEXT)}), 1
        ),
        "nq-dev-kilt.jsonl": lines(
            objects({"id": TEXT, "input": TEXT, "output": array(objects({"answer": TEXT, "provenance": array(SPAN)}))}),
            1,
        ),
    },
    optional={
        "nq-train-kilt.jsonl": lines(objects({"id": TEXT, "input": TEXT, "output": array(objects({"answer": TEXT}))}))
    },
)
SOUND_KILT: Mapping[str, bytes] = {
    "kilt_knowledgesource.json": encoded(
        [{"wikipedia_id": str(n), "wikipedia_title": f"P{n}", "text": [f"P{n}\n", "Some text. More."]} for n in (1, 2)]
    ),
    "nq-dev-kilt.jsonl": encoded(
        [{"id": "q", "input": "?", "output": [{"answer": "x", "provenance": [{"wikipedia_id": "1"}]}]}]
    ),
}

CONTEXT = objects({"wikipedia_id": PAGES, "chunk_id": NUMBER})
ASKED = objects(
    {"id": TEXT, "query": TEXT, "answers": array(objects({"answer": TEXT, "context": array(CONTEXT)})) | ANY_JSON}
)
RELEASE = st.fixed_dictionaries(
    {
        "docs.json": whole(objects({"wikipedia_id": PAGES, "title": TEXT, "chunks": array(TEXT)})),
        "train.json": lines(ASKED),
        "test.json": lines(ASKED, 1),
    }
)
SOUND_RELEASE: Mapping[str, bytes] = {
    "docs.json": encoded([{"wikipedia_id": n, "title": "T", "chunks": ["one", "two"]} for n in (1, "x")], True),
    "train.json": b"",
    "test.json": encoded(
        [{"query": "?", "answers": {"answer": "a", "context": [{"wikipedia_id": "1", "chunk_id": 1}]}}]
    ),
}

PAIR = st.tuples(TEXT, mostly(NUMBER | array(NUMBER), ANY_JSON)).map(lambda t: f"[{t[0]}, {t[1]}]")
GENRET = st.fixed_dictionaries({"corpus_lite.json": whole(TEXT), "train.json": whole(PAIR), "dev.json": whole(PAIR)})
SOUND_GENRET: Mapping[str, bytes] = {
    "corpus_lite.json": encoded(["one text", "another", "one text"], True),
    "train.json": encoded([["first?", 0]], True),
    "dev.json": encoded([["second?", [1, 2]]], True),
}

PLAIN = mostly(st.sampled_from(["0", "1", "2", "a text"]), TEXTS | st.sampled_from(['"', '"a""b"', '"x" y', "'"]), 8)


def rows(*columns: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """Write rows of columns separated by tabs; now and then there is one column more."""
    more = mostly(st.just(""), st.just("\t\t"), 20)
    return lines(st.tuples(st.tuples(*columns), more).map(lambda t: "\t".join(t[0]) + t[1]), 1)


IDS = mostly(st.sampled_from(["0", "1", "2"]), st.sampled_from(NASTY), 15)
NCI = st.fixed_dictionaries(
    {
        "NQ_doc_content.tsv": rows(IDS, PLAIN, PLAIN, PLAIN, PLAIN, PLAIN, PLAIN),
        "nq_train_doc_newid.tsv": rows(PLAIN, IDS, IDS, PLAIN),
        "nq_dev_doc_newid.tsv": rows(PLAIN, IDS, IDS, PLAIN),
    }
)
SOUND_NCI: Mapping[str, bytes] = {
    "NQ_doc_content.tsv": b"0\t\t\tA text\t\t\ten\n1\t\t\tAnother\t\t\ten\n",
    "nq_train_doc_newid.tsv": b'"a ""quoted"" question"\tx1\t0\t0-1\n',
    "nq_dev_doc_newid.tsv": b"which?\tx2\t1\t0-2\n",
}

GRADE = mostly(st.just("1"), st.sampled_from(["0", "x", "NaN", "9" * 5000]), 15)
JUDGED = lines(st.tuples(IDS, st.just("0"), IDS, GRADE).map(" ".join), 1)
MSMARCO = st.fixed_dictionaries(
    {
        "msmarco-docs.tsv": rows(IDS, PLAIN, PLAIN, PLAIN),
        "msmarco-doctrain-queries.tsv": rows(IDS, PLAIN),
        "msmarco-docdev-queries.tsv": rows(IDS, PLAIN),
        "msmarco-doctrain-qrels.tsv": JUDGED,
        "msmarco-docdev-qrels.tsv": JUDGED,
    }
)
SOUND_MSMARCO: Mapping[str, bytes] = {
    "msmarco-docs.tsv": b"D1\thttp://a\tTitle\tBody\nD2\thttp://b\tOther\tBody too\n",
    "msmarco-doctrain-queries.tsv": b"1\tfirst?\n",
    "msmarco-docdev-queries.tsv": b"2\tsecond?\n",
    "msmarco-doctrain-qrels.tsv": b"1 0 D1 1\n",
    "msmarco-docdev-qrels.tsv": b"2 0 D1 1\n",
}

TEST_IDS = [str(n) for n in range(99) if fraction(f"self-retrieval-splits-v1|set|{n}") >= 0.7]
"""Ids of questions that fall to the test split of set.json."""
QIDS = mostly(st.sampled_from(TEST_IDS) | st.integers(0, 9).map(str), NUMBERS | written(TEXTS), 15)
QUESTION = objects(
    {
        "id": QIDS,
        "question": TEXT,
        "answers": array(objects({"text": TEXT}), 2, 1),
        "is_impossible": mostly(st.just("false"), st.sampled_from(["true", "null", "0"]), 8),
    }
)
PARAGRAPH = objects({"context": TEXT, "qas": array(QUESTION, 2, 1)})
ARTICLE = objects({"title": TEXT, "paragraphs": array(PARAGRAPH, 2, 1)})
SQUAD = st.fixed_dictionaries({"set.json": lines(objects({"data": array(ARTICLE, 2, 1)}), 1, 1)})
SOUND_SQUAD: Mapping[str, bytes] = {
    "set.json": encoded(
        {
            "data": [
                {
                    "title": "A_%C3%A9",
                    "paragraphs": [
                        {
                            "context": f"Text {n}",
                            "qas": [{"id": str(n), "question": f"{n}?", "answers": [{"text": str(n)}]}],
                        }
                        for n in range(9)
                    ],
                }
            ]
        },
        True,
    )
}


@st.composite
def hurt(draw: st.DrawFn, sound: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Damage one file of a sound set, now and then take another away."""
    one = draw(st.sampled_from(sorted(sound)))
    gone = draw(mostly(st.none(), st.sampled_from(sorted(sound)), 20))
    return {name: draw(damaged(raw)) if name == one else raw for name, raw in sound.items() if name != gone}


def checked(source: str, settings: Sequence[DatasetSettings]) -> Callable[[Mapping[str, bytes]], str]:
    def check(content: Mapping[str, bytes]) -> str:
        with place() as folder:
            put(folder, content)
            chosen = settings[len(content["dev.json"]) % len(settings)] if "dev.json" in content else settings[0]
            return unchanged(folder, lambda: try_to_load(source.format(folder), chosen))

    return check


PLAIN_SETTINGS = (DatasetSettings(),)
FORMATS: Mapping[str, tuple[str, st.SearchStrategy[Any], Mapping[str, bytes], Sequence[DatasetSettings]]] = {
    "kilt": ("kilt:{}", KILT, SOUND_KILT, PLAIN_SETTINGS),
    "release": ("release:{}", RELEASE, SOUND_RELEASE, PLAIN_SETTINGS),
    "nq320k of GenRet": (
        "nq320k:{}",
        GENRET,
        SOUND_GENRET,
        [DatasetSettings(), DatasetSettings(nq320k_documents="text-only")],
    ),
    "nq320k of NCI": ("nq320k:{}", NCI, SOUND_NCI, PLAIN_SETTINGS),
    "msmarco-docs": ("msmarco-docs:{}", MSMARCO, SOUND_MSMARCO, PLAIN_SETTINGS),
    "squad": ("squad:{}/set.json", SQUAD, SOUND_SQUAD, PLAIN_SETTINGS),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_any_published_set_is_loaded_or_refused(kind: str) -> None:
    source, values, sound, settings = FORMATS[kind]
    check = checked(source, settings)
    assert check(sound) == "loaded"
    seen = fuzz(kind, values | hurt(sound), check)
    assert seen["loaded"] and seen["refused"]
