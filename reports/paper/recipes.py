"""What each table and figure of the paper holds, which experiment fills it here, and which row stands beside which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.errors import UnknownNameError

HITS = {"hits@1": "Success@1", "hits@5": "Success@5", "mrr@5": "RR@5"}
"""Last part of a published column -> how the same is measured here."""

PASSAGES = "Natural Questions and TriviaQA of KILT, passages of at most 200 words"

Shape = Literal["rows", "beams", "sizes", "capacity", "reranking", "corpus size"]
"""How it is drawn: row by row, beam by beam, sizes of data sets, or one of the three figures."""


@dataclass(frozen=True)
class Recipe:
    """One table or figure.

    title: what it shows. setting: on what the published numbers were got. experiment: shipped one that fills it on a
    laptop; others: shipped ones whose results fill it too. afterwards: arguments of the command to give when the run
    is done, "{run}" for its folder; on_a_laptop: what is added to them there. measures: end of a published column ->
    measure here. counterparts: published row -> label of the system here. differs: what sets the two apart whatever
    was measured; shipped: what does besides where one of `experiments` was. What settings tell is in neither
    (reports.paper.departures). paper_scale: names of the experiments that redo it at full size (reports.paper.scale).
    """

    kind: Literal["table", "figure"]
    number: int
    title: str
    setting: str
    shape: Shape = "rows"
    experiment: str | None = None
    others: tuple[str, ...] = ()
    afterwards: tuple[str, ...] = ()
    on_a_laptop: tuple[str, ...] = ()
    measures: Mapping[str, str] = field(default_factory=lambda: HITS)
    counterparts: Mapping[str, str] = field(default_factory=dict)
    differs: tuple[str, ...] = ()
    shipped: tuple[str, ...] = ()
    paper_scale: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Say it as people do: "Table 1"."""
        return f"{self.kind.capitalize()} {self.number}"

    @property
    def slug(self) -> str:
        """Name of its files: "table-1"."""
        return f"{self.kind}-{self.number}"

    @property
    def then(self) -> tuple[str, ...]:
        """Arguments of the command to give on a laptop when the run is done, "{run}" for its folder."""
        return (*self.afterwards, *self.on_a_laptop)

    @property
    def experiments(self) -> tuple[str, ...]:
        """Experiments whose results may fill it, the first choice first."""
        return tuple(name for name in (self.experiment, *self.others) if name)


RECIPES = (
    Recipe(
        "table",
        1,
        "Passage retrieval",
        PASSAGES,
        experiment="standard",
        others=("full", "quick"),
        counterparts={
            "BM25": "bm25",
            "BGE": "dense",
            "BGE-FT": "dense-finetuned",
            "GTR-XL + BGE-Reranker-FT": "rerank-dense",
            "DSI-XL": "dsi",
            "Self-Retrieval (StableLM)": "self-retrieval",
            "Self-Retrieval (Llama 2)": "self-retrieval-7b",
        },
        paper_scale=("paper-passages",),
    ),
    Recipe(
        "table",
        2,
        "Document retrieval on NQ320K",
        "NQ320K, one Wikipedia page a question; backbone StableLM-1.6B",
        experiment="documents",
        measures={"recall@1": "R@1", "recall@10": "R@10", "mrr@100": "RR@100"},
        counterparts={
            "BM25": "bm25",
            "GTR-Base": "dense",
            "DSI": "dsi",
            "Self-Retrieval (StableLM-1.6B)": "self-retrieval",
        },
        shipped=("documents here are leads of Wikipedia articles, cut after 512 tokens",),
        paper_scale=("paper-nq320k",),
    ),
    Recipe(
        "table",
        3,
        "Document retrieval on MS MARCO",
        "MS MARCO documents without titles, which are generated; backbone StableLM-3B",
        experiment="documents",
        measures={"recall@1": "R@1", "recall@5": "R@5", "mrr@10": "RR@10"},
        counterparts={
            "BM25": "bm25",
            "Sentence-T5": "dense",
            "DSI-Atomic": "dsi",
            "Self-Retrieval (StableLM-3B)": "self-retrieval",
        },
        differs=("dsi here writes no atomic identifiers",),
        shipped=("documents here are leads of Wikipedia articles and have titles",),
        paper_scale=("paper-msmarco",),
    ),
    Recipe(
        "table",
        4,
        "What each part is worth",
        f"{PASSAGES}; backbone StableLM-3B",
        experiment="ablation",
        counterparts={
            "base": "self-retrieval",
            "w/o indexing": "without-indexing",
            "w/o title": "without-titles",
            "w/o self-assessment": "without-assessment",
        },
        paper_scale=("paper-ablation",),
    ),
    Recipe(
        "table",
        5,
        "Answers in words: Exact Match",
        "Natural Questions and TriviaQA with 10,000 and 40,000 documents; the best passage as context",
        experiment="answering",
        afterwards=("answers", "{run}"),
        measures={"10k": "answers.exact_match", "40k": "answers.exact_match"},
        counterparts={
            "BGE-FT + StableLM-FT": "dense-reader",
            "Self-Retrieval 3B": "self-retrieval",
            "BGE-FT + Llama2-FT": "dense-reader-7b",
            "Self-Retrieval 7B": "self-retrieval-7b",
        },
        differs=("the dense search before the reader here is not fine-tuned",),
        paper_scale=("paper-answers",),
    ),
    Recipe(
        "table",
        6,
        "Sizes of the data sets",
        "the file of published numbers names no Table 6; it gives sizes of data sets without a table number, which "
        "stand here, and that they are Table 6 is not claimed",
        shape="sizes",
        experiment="standard",
        others=("full", "ablation", "answering", "corpus-size", "quick"),
    ),
    Recipe(
        "table",
        7,
        "Passages half as long",
        "Natural Questions, passages of at most 100 words instead of 200",
        experiment="short-passages",
        counterparts={"BGE-FT": "dense-finetuned", "Self-Retrieval (StableLM)": "self-retrieval"},
        shipped=("passages of short-passages as it is shipped: at most 30 words instead of the 60 of quick",),
        paper_scale=("paper-short-passages",),
    ),
    Recipe(
        "table",
        8,
        "Retrievers with a reranker behind them",
        PASSAGES,
        experiment="reranking",
        counterparts={
            "GTR-XL": "dense",
            "GTR-XL + BGE-Reranker-FT": "rerank-dense",
            "DSI-XL": "dsi",
            "DSI-XL + BGE-Reranker-FT": "rerank-dsi",
            "Self-Retrieval (StableLM)": "self-retrieval",
            "Self-Retrieval (Llama 2)": "self-retrieval-7b",
        },
        paper_scale=("paper-passages", "paper-reranking"),
    ),
    Recipe(
        "table",
        9,
        "Quality, latency and memory as the beam widens",
        "Natural Questions on one A100",
        shape="beams",
        experiment="quick",
        others=("standard", "full"),
        afterwards=("bench", "beams", "{run}"),
        on_a_laptop=("--systems", "self-retrieval,dsi", "--sizes", "1,5,10,20", "--limit", "20"),
        measures={"hits@5": "Success@5"},
        counterparts={"DSI-XL": "dsi", "Self-Retrieval": "self-retrieval"},
        differs=(
            "latency here: mean of single queries, one at a time, on the machine of `harness bench beams`",
            "index memory here: trie and passages",
            "beam of self-retrieval here: that of titles (passages, where they are written, keep a beam of their own)",
        ),
        paper_scale=("paper-passages-nq",),
    ),
    Recipe(
        "figure",
        2,
        "Capacity of the language model",
        "Natural Questions; StableLM 1.6B and 3B, Llama 2 7B and 13B, Qwen-1.5 4B, 7B and 14B",
        shape="capacity",
        experiment="capacity",
        shipped=("a backbone that was cut off after its first layers is none that was trained at that size",),
        paper_scale=("paper-capacity",),
    ),
    Recipe(
        "figure",
        3,
        "Self-assessment as a reranker",
        "TriviaQA; the first 100 of DPR-FT, SEAL and GritLM",
        shape="reranking",
        experiment="reranking",
        paper_scale=("paper-reranking",),
    ),
    Recipe(
        "figure",
        4,
        "Size of the corpus",
        "Natural Questions and TriviaQA, 10,000 to 200,000 documents; Self-Retrieval 3B and BGE-FT",
        shape="corpus size",
        experiment="corpus-size",
        paper_scale=("paper-corpus-size",),
    ),
)


def find(kind: str, number: int) -> Recipe:
    """Return the recipe of a table or figure.

    Raises:
        UnknownNameError: the paper has none of that number that could be redrawn.
    """
    found = [recipe for recipe in RECIPES if (recipe.kind, recipe.number) == (kind, number)]
    if not found:
        known = [str(recipe.number) for recipe in RECIPES if recipe.kind == kind]
        raise UnknownNameError(f"a {kind} of the paper", str(number), f"use one of {', '.join(known)}")
    return found[0]
