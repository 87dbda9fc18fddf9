"""The sources of datasets: one line each; a source's module is imported when a name asks for it.

A source's module has `load(given, settings) -> Dataset`, where `given` is the name without the prefix. It returns the
passages as they are given: cutting, sampling, counts and the checksum are the same for all and come after it.
"""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple, Protocol, cast

from harness.datasets.settings import DatasetSettings
from harness.errors import ConfigError
from harness.types import Dataset


class Source(NamedTuple):
    """Where datasets come from: names that begin with `prefix:`; `form` and `line` are what a list of names shows.

    settings: what it reads of the settings that only some sources read; the others are refused, not passed over.
    """

    prefix: str
    form: str
    line: str
    module: str
    settings: tuple[str, ...] = ()


class SourceModule(Protocol):
    """What the module of a source has."""

    def load(self, given: str, settings: DatasetSettings) -> Dataset:
        """Read the dataset `given`; its card has source, licence, description, protocol and notes.

        Raises:
            DataError: the data cannot be used; names the file and the line.
            DependencyError: a package is missing.
        """


SOURCES: tuple[Source, ...] = (
    Source(
        "beir",
        "beir:PATH",
        "corpus.jsonl, queries.jsonl and qrels/test.tsv in a folder, .zip or .tar.gz",
        "harness.datasets.beir",
    ),
    Source(
        "texts",
        "texts:FOLDER",
        "a folder of .txt and .md files, without queries",
        "harness.datasets.texts",
    ),
    Source(
        "table",
        "table:FILE",
        "a .csv, .tsv or .jsonl file, a row a passage; columns behind '?' (text=body&title=name) or in its settings",
        "harness.datasets.table",
        ("columns",),
    ),
    Source(
        "squad",
        "squad:FILE",
        "a .json file of SQuAD 1.1 or 2.0, XQuAD or another set in their format",
        "harness.datasets.squad",
        ("name",),
    ),
    Source(
        "irds",
        "irds:ID",
        "a collection of ir_datasets, such as irds:beir/scifact/test",
        "harness.datasets.irds",
    ),
    Source(
        "hf",
        "hf:NAME",
        "a dataset of the Hugging Face hub, or a folder of the library datasets; tables and columns in its settings",
        "harness.datasets.hf",
        ("tables", "columns"),
    ),
    Source(
        "kilt",
        "kilt:FOLDER",
        "the knowledge source of KILT and its questions of NQ or TriviaQA (kilt:FOLDER/nq)",
        "harness.datasets.kilt",
        ("kilt_passage_words",),
    ),
    Source(
        "release",
        "release:FOLDER",
        "docs.json, train.json and test.json of the official Self-Retrieval release",
        "harness.datasets.release",
    ),
    Source(
        "nq320k",
        "nq320k:FOLDER",
        "NQ320K as the authors of NCI or GenRet ship it",
        "harness.datasets.nq320k",
        ("nq320k_documents",),
    ),
    Source(
        "msmarco-docs",
        "msmarco-docs:FOLDER",
        "documents of MS MARCO in the samples of Ultron",
        "harness.datasets.msmarco_docs",
        ("msmarco_documents",),
    ),
)


def names() -> list[tuple[str, str]]:
    """List the forms of all sources with one line each."""
    return [(source.form, source.line) for source in SOURCES]


def of(name: str) -> tuple[Source, str] | None:
    """Split a name into its source and what is given to it; None where it begins with no source's prefix.

    >>> source, given = of("beir:sets/mine")
    >>> source.prefix, given
    ('beir', 'sets/mine')
    >>> of("sets/mine")
    """
    prefix, colon, given = name.partition(":")
    found = [source for source in SOURCES if colon and source.prefix == prefix]
    return (found[0], given) if found and given else None


def suits(name: str, settings: DatasetSettings) -> None:
    """Refuse settings that only other sources read than that of `name`.

    Raises:
        ConfigError: with the sources that read the setting.
    """
    found = of(name)
    own = found[0].settings if found else ()
    fields = type(settings).model_fields
    for key in sorted({key for source in SOURCES for key in source.settings}.difference(own)):
        if getattr(settings, key) != fields[key].default:
            readers = ", ".join(source.form for source in SOURCES if key in source.settings)
            raise ConfigError(f"settings that {name} reads", key, f"remove it; it is for {readers}")


def load(source: Source, given: str, settings: DatasetSettings) -> Dataset:
    """Import a source's module and read the dataset `given`."""
    return cast(SourceModule, import_module(source.module)).load(given, settings)
