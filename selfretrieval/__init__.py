"""Self-Retrieval (Tang et al., NeurIPS 2024): one language model memorises a corpus, writes the passage and judges it.

from selfretrieval import SelfRetriever
SelfRetriever.load("runs/quick/vital-articles-500/self-retrieval/0/model").search(["who wrote ..."], k=5)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selfretrieval.retriever import SelfRetriever

__all__ = ["SelfRetriever"]


def __getattr__(name: str) -> Any:
    # Imported on first use: the command line lists this package without loading what it needs.
    if name == "SelfRetriever":
        from selfretrieval.retriever import SelfRetriever

        return SelfRetriever
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
