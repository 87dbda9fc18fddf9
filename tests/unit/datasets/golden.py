"""What the golden tests of sources look at: how many, and the first, tenth and last record."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness.datasets import DatasetSettings, load
from harness.errors import HarnessError
from harness.types import Dataset, Passage, Query, Split

WHOLE = DatasetSettings()


def passages(dataset: Dataset) -> tuple[int, Passage, Passage, Passage]:
    """Return the number of passages, the first, the tenth and the last."""
    corpus = dataset.corpus
    return len(corpus), corpus[0], corpus[9], corpus[len(corpus) - 1]


def asked(split: Split) -> tuple[int, Query, Query, Query]:
    """Return the number of queries, the first, the tenth and the last."""
    return len(split), split.queries[0], split.queries[9], split.queries[-1]


def refuses(name: str, kind: type[HarnessError], settings: DatasetSettings = WHOLE) -> Any:
    """Load what cannot be loaded; the message must say what was expected, what came and what to do."""
    with pytest.raises(kind) as caught:
        load(name, settings)
    error = caught.value
    assert error.expected and error.got and error.fix
    assert re.search(r"expected .*\n +got .*\n +do ", str(error))
    return error
