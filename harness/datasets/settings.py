"""What a reader may choose about a dataset."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

EMBEDDED = "embedded"
"""Name of the tokeniser of the language model that comes with the installation."""

TABLE = Literal["corpus", "queries", "train", "dev", "test"]
COLUMN = Literal["docid", "title", "text", "document", "qid", "query", "answers", "judged_qid", "judged_docid", "grade"]

_THOUSANDS = {"k": 1_000, "m": 1_000_000}
_ALWAYS_WRITTEN = {"max_passage_words", "max_test_queries"}


def _spelled(value: Any) -> Any:
    """Read "10k" and "1M" as numbers; leave everything else to the checks of the field."""
    found = re.fullmatch(r"([0-9]{1,9})([km])", value.lower()) if isinstance(value, str) else None
    return int(found[1]) * _THOUSANDS[found[2]] if found else value


class Resplit(BaseModel):
    """How the queries of all splits together are split anew, by hash."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    by: Literal["query", "document"] = Field(
        default="query",
        description="query: each for itself; document: queries with a relevant passage of the same document together.",
    )
    shares: tuple[float, float, float] = Field(default=(0.6, 0.1, 0.3), description="Shares of train, dev and test.")
    seed: int = Field(default=0, ge=0, description="Another seed gives another split.")

    @field_validator("shares")
    @classmethod
    def _whole(cls, shares: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6 or shares[2] <= 0:
            raise ValueError("three shares that add up to 1, that of test above 0")
        return shares


class DatasetSettings(BaseModel):
    """How a dataset is split, sampled and cut, in this order; the same settings always give the same data."""

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
    max_passage_tokens: int | None = Field(
        default=None,
        ge=8,
        description="As max_passage_words, in tokens of `tokenizer`, counted as they stand behind a blank.",
    )
    tokenizer: str = Field(
        default=EMBEDDED, min_length=1, description='"embedded" or a Hugging Face folder; for max_passage_tokens.'
    )
    overlap: int = Field(
        default=0,
        ge=0,
        description="Repeat the end of the passage before: whole sentences of at most so many words or tokens.",
    )
    sentences: bool = Field(default=True, description="false: cut between any two words, sentence ends or not.")
    deduplicate: Literal["none", "text"] = Field(
        default="none",
        description="text: passages equal but for case, white space and punctuation become one.",
    )
    max_documents: Annotated[int | None, BeforeValidator(_spelled)] = Field(
        default=None,
        ge=1,
        description="Keep so many documents (20000, or 20k): those with relevant passages, then by hash (none: all).",
    )
    resplit: Resplit | None = Field(default=None, description="Split the queries anew (none: as given).")
    generate_titles: str | None = Field(
        default=None,
        min_length=1,
        description='Write titles for documents without one by "embedded" or another backbone, by greedy decoding.',
    )
    tables: dict[TABLE, str] | None = Field(
        default=None, description="hf: the table of each part, as SPLIT, CONFIG/SPLIT or NAME:CONFIG/SPLIT."
    )
    columns: dict[COLUMN, str] | None = Field(
        default=None, description="The column of each thing that is read, where it has another name than usual."
    )
    name: str | None = Field(
        default=None, min_length=1, description="squad: the name that is hashed with each query id (none: the file's)."
    )
    kilt_passage_words: Literal[100, 200] = Field(default=200, description="kilt: words of a passage at most.")
    nq320k_documents: Literal["title-dedup", "text-only"] = Field(
        default="title-dedup", description="nq320k: documents as shipped, or those with the same text as one."
    )
    msmarco_documents: Literal["top", "rand", "all"] = Field(
        default="top", description="msmarco-docs: those clicked in training, Ultron's random 300k, or all."
    )

    @property
    def cuts(self) -> bool:
        """Whether texts are cut."""
        return self.max_passage_words is not None or self.max_passage_tokens is not None

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        """Refuse settings of cutting that contradict each other or have nothing to act on."""
        if self.max_passage_words is not None and self.max_passage_tokens is not None:
            raise ValueError("max_passage_words or max_passage_tokens, not both")
        limit = self.max_passage_words or self.max_passage_tokens
        if limit is None and (self.overlap or not self.sentences):
            raise ValueError("overlap and sentences need max_passage_words or max_passage_tokens")
        if limit is not None and self.overlap >= limit:
            raise ValueError("overlap must be less than the limit of a passage")
        if self.max_passage_tokens is None and self.tokenizer != EMBEDDED:
            raise ValueError("tokenizer needs max_passage_tokens")
        return self

    @model_serializer(mode="wrap")
    def _as_used(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # An experiment's fingerprint covers this table. What came after the first fingerprints were published stands
        # in it only where it is used, so that they stay what they are.
        fields, written = type(self).model_fields, handler(self)
        return {k: v for k, v in written.items() if k in _ALWAYS_WRITTEN or getattr(self, k) != fields[k].default}
