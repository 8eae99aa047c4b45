"""What the store keeps of a model beside its weights: the spec as created and as it is now."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Self

import orjson

from model.codec import is_count
from model.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A model's specs and age.

    Args:
        spec: As it is now.
        created_spec: As it was created.
        created_us: When; microseconds since 1970 UTC.
        importing: Whether what it has learned is still being written: until then there is no such model for anybody.
    """

    spec: ModelSpec
    created_spec: ModelSpec
    created_us: int
    importing: bool = False

    @classmethod
    def new(cls, spec: ModelSpec) -> Self:
        """The record of a model created now."""
        return cls(spec, spec, time.time_ns() // 1000)

    def with_spec(self, spec: ModelSpec) -> Self:
        """The same model under another spec."""
        return replace(self, spec=spec)

    def unfinished(self) -> Self:
        """The same model while it is being imported."""
        return replace(self, importing=True)

    def is_of(self, spec: ModelSpec) -> bool:
        """Whether to create a model of ``spec`` would give this one: by the spec it was created with, or has now."""
        return spec in (self.spec, self.created_spec)

    def encode(self) -> bytes:
        """As JSON; :meth:`decode` is its inverse."""
        return orjson.dumps(
            {
                "spec": self.spec.to_dict(),
                "created_spec": self.created_spec.to_dict(),
                "created_us": self.created_us,
                "importing": self.importing,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read :meth:`encode`'s bytes.

        Raises:
            ValueError: If they are no such record.
        """
        record = orjson.loads(data)
        try:
            spec, created_spec = (ModelSpec.from_dict(record[name]) for name in ("spec", "created_spec"))
            created_us, importing = record["created_us"], record.get("importing", False)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a model's record: {error}") from error
        if not is_count(created_us) or not isinstance(importing, bool):
            raise ValueError("not a model's record: it has no age")
        return cls(spec, created_spec, created_us, importing)
