"""What was sent and what was acknowledged, byte for byte."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import orjson


def differing_bits(one: bytes, other: bytes) -> int:
    """Bits that differ, those included by which one of the two is longer."""
    n = min(len(one), len(other))
    common = int.from_bytes(one[:n], "little") ^ int.from_bytes(other[:n], "little")
    return common.bit_count() + 8 * abs(len(one) - len(other))


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One item's reply.

    Args:
        reply: Its bytes, ``duplicate`` set to false.
        version: The weights version that it names.
    """

    reply: bytes
    version: int


class Ledger:
    """The acknowledged items of every stream of every model.

    Attributes:
        replies: By model, stream and sequence.
        sent: Highest sequence that was sent, by model and stream.
        n_items: Different items that were acknowledged.
        n_duplicates: Replies that were marked ``duplicate``.
        n_rescued: Items whose first reply was so marked: they had been applied, and the answer was lost.
        n_conflicts: Bits in which a later reply to an item differed from the first.
        errors: Failed requests and refused items, by code.
        troubles: What an honest service never does, each in a line.
    """

    def __init__(self) -> None:
        self.replies: dict[str, dict[str, dict[int, Acknowledged]]] = defaultdict(lambda: defaultdict(dict))
        self.sent: Counter[tuple[str, str]] = Counter()
        self.n_items = 0
        self.n_duplicates = 0
        self.n_rescued = 0
        self.n_conflicts = 0
        self.errors: Counter[str] = Counter()
        self.troubles: list[str] = []
        self._changed = asyncio.Event()

    def send(self, model: str, stream: str, sequence: int) -> None:
        """Note an item before it leaves."""
        self.sent[model, stream] = max(self.sent[model, stream], sequence)

    def take(self, model: str, result: dict[str, Any]) -> None:
        """Note what answered one item: its reply, or an error.

        Args:
            model: The item's.
            result: As it was received; ``duplicate`` is set to false.
        """
        if "error" in result:
            self.errors[result["error"]["code"]] += 1
            return
        is_duplicate = result["duplicate"]
        self.n_duplicates += is_duplicate
        result["duplicate"] = False
        stream, sequence = result["stream"], result["sequence"]
        reply = orjson.dumps(result)
        first = self.replies[model][stream].get(sequence)
        if first is None:
            self.replies[model][stream][sequence] = Acknowledged(reply, result["prediction"]["weights_version"])
            self.n_items += 1
            self.n_rescued += is_duplicate
            self._changed.set()
        elif n_bits := differing_bits(first.reply, reply):
            self.n_conflicts += n_bits
            self.troubles.append(f"{model}, {stream!r}, item {sequence}: acknowledged with two replies")

    def last(self, model: str, stream: str) -> int:
        """The stream's last acknowledged sequence; 0 before any."""
        return max(self.replies[model][stream], default=0)

    async def reach(self, n_items: int) -> None:
        """Wait until so many items are acknowledged."""
        while self.n_items < n_items:
            self._changed.clear()
            await self._changed.wait()
