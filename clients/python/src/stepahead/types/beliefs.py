"""A belief, laid open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stepahead.types.record import Record


@dataclass(frozen=True, slots=True)
class Belief(Record):
    """A stream's belief, as far as a person can read it: a typed view of the server's JSON in ``data``."""

    data: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The server's JSON."""
        return {**self.data}

    @property
    def sequence(self) -> int | None:
        """Of the last applied item."""
        return self.data.get("sequence")

    @property
    def hidden(self) -> list[list[float]]:
        """Hidden state: for each layer one number per unit."""
        return list(self.data["hidden"])

    @property
    def cell(self) -> list[list[float]] | None:
        """Cell state, shaped as ``hidden``; ``None`` for a cell that has none."""
        return self.data.get("cell")

    @property
    def gates(self) -> dict[str, list[list[float]]]:
        """Gates of the last advance by name (``input``, ``forget``, ``output``), each shaped as ``hidden``."""
        return dict(self.data.get("gates") or {})

    @property
    def correction(self) -> list[list[float]] | None:
        """What the last item's error added to the cell state, shaped as ``hidden``."""
        return self.data.get("correction")

    @property
    def correction_rates(self) -> list[list[float]] | None:
        """How far each unit follows its gradient, shaped as ``hidden``."""
        return self.data.get("correction_rates")

    @property
    def correction_trust(self) -> float | None:
        """Share of the corrections' effect that the prediction takes, 0 to 1."""
        return self.data.get("correction_trust")

    @property
    def observed(self) -> dict[str, Any] | None:
        """The last item."""
        return self.data.get("observed")

    @property
    def experts(self) -> dict[str, dict[str, Any]]:
        """For each field what each expert and the network say of the next item, and its share in the mix."""
        return dict(self.data.get("experts") or {})

    @property
    def before(self) -> dict[str, Any] | None:
        """The last item as decoded from the belief that predicted it, by field name."""
        return self.data.get("before")

    @property
    def after(self) -> dict[str, Any] | None:
        """The same from the corrected belief: the one that would have been better."""
        return self.data.get("after")
