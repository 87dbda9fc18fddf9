"""Settings that grew after results with fingerprints had been published."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class GrowingSettings(BaseModel):
    """Settings of which those named in `added` are written only where they differ from their default.

    A cell's fingerprint covers what is written: so a result of before a setting existed keeps its fingerprint as long
    as the setting is not used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    added: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _as_used(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        table: dict[str, Any] = serialise(self)
        fields = type(self).model_fields
        return {
            name: value
            for name, value in table.items()
            if name not in self.added or getattr(self, name) != fields[name].default
        }
