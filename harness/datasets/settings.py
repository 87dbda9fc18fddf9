"""What a reader may choose about a dataset."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class DatasetSettings(BaseModel):
    """How a dataset is cut and sampled; the same settings always give the same passages and queries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_passage_words: int | None = Field(
        default=None,
        ge=1,
        description="Split longer texts at sentence ends into passages of at most so many words (none: uncut).",
    )
    max_test_queries: int | None = Field(
        default=None,
        ge=1,
        description="Keep so many test queries, chosen by hash; a larger number adds to a smaller one (none: all).",
    )
