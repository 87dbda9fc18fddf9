"""Search vectors by inner product with FAISS, without its two traps: padding with -1 and arbitrary ties."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from harness.errors import ConfigError, RunFolderError, StorageError

Array = np.ndarray[Any, Any]
Kind = Literal["flat", "hnsw", "ivf-pq"]
SPARE = 8
"""Vectors fetched beyond k, so that ties at the cut are seen without asking twice."""
NEIGHBOURS = 32
EF_CONSTRUCTION = 200
EF_SEARCH = 128
PROBES = 32
CODES = 256
"""ivf-pq: centroids a sub-vector (8 bits); k-means needs at least as many vectors."""


class Nearest(NamedTuple):
    """The vectors nearest to one query: all that belong to the best k or tie with the k-th; not sorted."""

    scores: Array
    """(found,) float32 inner products."""
    numbers: Array
    """(found,) int64 vector numbers, in the order they were added."""


def load_faiss() -> Any:
    """Import FAISS after torch: both bring an OpenMP runtime, and the other order crashes on some platforms."""
    import torch  # noqa: F401
    import faiss  # isort: skip

    return faiss


def build(kind: Kind, width: int, chunks: Iterable[Array], seed: int) -> Any:
    """Build a FAISS index over vectors.

    Args:
        kind: "flat" compares with every vector; "hnsw" walks a graph of 32 neighbours; "ivf-pq" looks into 32 of
            about 4 sqrt(n) cells and keeps a vector as one byte for every 8 numbers, so its scores are estimates.
        width: numbers per vector.
        chunks: arrays of (n, width) float32; flat and hnsw hold one chunk at a time beside the index.
        seed: of the k-means of ivf-pq.

    Raises:
        ConfigError: ivf-pq with fewer than 256 vectors.
    """
    faiss = load_faiss()
    if kind == "ivf-pq":
        return _ivf_pq(width, np.concatenate(list(chunks)), seed)
    if kind == "flat":
        index = faiss.IndexFlatIP(width)
    else:
        index = faiss.IndexHNSWFlat(width, NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = EF_CONSTRUCTION
    for chunk in chunks:
        # Threads insert into an HNSW graph in any order, and another order is another graph.
        with _one_thread(faiss) if kind == "hnsw" else contextlib.nullcontext():
            index.add(chunk)
    return index


def _ivf_pq(width: int, vectors: Array, seed: int) -> Any:
    if len(vectors) < CODES:
        raise ConfigError(
            f"at least {CODES} different passages for index = 'ivf-pq'", f"{len(vectors)}", "use index = 'flat'"
        )
    faiss = load_faiss()
    cells = min(int(4 * len(vectors) ** 0.5), len(vectors) // 4)
    parts = next(parts for parts in range(max(width // 8, 1), 0, -1) if width % parts == 0)
    index = faiss.IndexIVFPQ(faiss.IndexFlatIP(width), width, cells, parts, 8, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = index.pq.cp.seed = seed
    # FAISS would warn on the terminal below 39 vectors a centroid.
    index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1
    index.nprobe = min(PROBES, cells)
    index.train(vectors)
    index.add(vectors)
    return index


@contextlib.contextmanager
def _one_thread(faiss: Any) -> Iterator[None]:
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def nearest(index: Any, queries: Array, k: int) -> list[Nearest]:
    """Find each query's `k` best vectors and every vector that ties with the k-th.

    FAISS keeps some of the vectors that tie at the cut, whichever; so more are fetched until the last one fetched
    scores below the k-th. An approximate index may find fewer than `k`.

    Args:
        index: a FAISS index by inner product.
        queries: (queries, width) float32.
        k: at least 1; may exceed the vectors.
    """
    total = int(index.ntotal)
    k = min(k, total)
    found: list[Nearest | None] = [None] * len(queries)
    open_ = np.arange(len(queries))
    fetch = min(k + SPARE, total)
    while len(open_):
        if hasattr(index, "hnsw"):
            index.hnsw.efSearch = max(EF_SEARCH, fetch)
        scores, numbers = index.search(queries[open_], fetch)
        settled = (scores[:, -1] < scores[:, k - 1]) | (numbers[:, -1] < 0) | (fetch == total)
        for place in np.flatnonzero(settled).tolist():
            real = numbers[place] >= 0
            found[open_[place]] = Nearest(scores[place][real], numbers[place][real])
        open_ = open_[~settled]
        fetch = min(2 * fetch, total)
    return [one for one in found if one is not None]


def stored_bytes(index: Any) -> int:
    """Count the bytes of an index as FAISS writes it, without holding a copy."""
    faiss = load_faiss()
    total = 0

    def count(chunk: bytes) -> None:
        nonlocal total
        total += len(chunk)

    writer = faiss.PyCallbackIOWriter(count)
    faiss.write_index(index, writer)
    del writer  # flushes what it still buffers
    return total


def save(index: Any, path: Path) -> None:
    """Write an index.

    Raises:
        StorageError: the file system refused.
    """
    faiss = load_faiss()
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        raise StorageError(
            f"to write the vectors to {path}", str(error), "free some room or choose a writable folder"
        ) from error


def load(path: Path) -> Any:
    """Read an index that `save` wrote.

    Raises:
        RunFolderError: the file is absent or damaged.
    """
    faiss = load_faiss()
    try:
        return faiss.read_index(str(path))
    except RuntimeError as error:
        raise RunFolderError(f"a FAISS index at {path}", str(error), "build the model again") from error
