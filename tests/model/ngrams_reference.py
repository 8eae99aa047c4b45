"""The counts' prediction and learning once more, in plain Python: dicts, no hashing, no rows, no compiled loop."""

from __future__ import annotations

import math
from collections import defaultdict

BEGIN = -2
RATE, BOUND, MOST = 0.1, 5.0, 255


class Reference:
    """Interpolated Kneser-Ney smoothing of one category field with update exclusion; contexts of up to ``order``.

    Args:
        n_slots: Of the field, whose last one stands for values not known.
        order: Tokens of the longest context.
    """

    def __init__(self, n_slots: int, order: int) -> None:
        self.n_slots, self.order = n_slots, order
        self.counts: dict[tuple[int, ...], dict[int, int]] = defaultdict(dict)
        self.singles = [0] * n_slots
        start = (math.log(0.75 / 0.25), math.log(0.45 / 0.55), math.log(0.1))
        self.parameters = {(n, kind): list(start) for n in range(1, order + 1) for kind in range(3)}
        self.squares = {key: [1e-2] * 3 for key in self.parameters}

    def contexts(self, past: list[int]) -> list[tuple[int, ...]]:
        """Contexts of one token and more, the newest token first; the first item has ``BEGIN`` before it."""
        tokens = [*reversed(past), BEGIN]
        return [tuple(tokens[:n]) for n in range(1, min(self.order, len(tokens)) + 1)]

    def discounted(self, context: tuple[int, ...]) -> tuple[dict[int, float], float, float]:
        """What is left of each count, the mass taken, and the total."""
        single, larger, concentration = self.read(context)
        counts = self.counts[context]
        left = {slot: count - (single if count == 1 else larger) for slot, count in counts.items()}
        total = sum(counts.values()) + concentration
        return left, total - sum(left.values()), total

    def key(self, context: tuple[int, ...]) -> tuple[int, int]:
        """Order and class of a context."""
        n = len(self.counts[context])
        return len(context), 0 if n == 1 else 1 if n < 4 else 2

    def read(self, context: tuple[int, ...]) -> tuple[float, float, float]:
        """Discounts and concentration."""
        a, b, c = self.parameters[self.key(context)]
        return 1 / (1 + math.exp(-a)), 2 / (1 + math.exp(-b)), math.exp(c)

    def without_context(self, possible: list[int]) -> dict[int, float]:
        """Probabilities whatever went before."""
        total = sum(self.singles[v] for v in possible)
        kinds = sum(self.singles[v] > 0 for v in possible)
        spread = (0.75 * kinds + 1) / (total + 1) / len(possible)
        return {v: spread + max(self.singles[v] - 0.75, 0) / (total + 1) for v in possible}

    def predict(self, past: list[int], n_known: int) -> list[float]:
        """Probabilities of all slots."""
        said = self.without_context([*range(n_known), self.n_slots - 1])
        for context in self.contexts(past):
            if self.counts[context]:
                left, taken, total = self.discounted(context)
                said = {v: (left.get(v, 0) + taken * p) / total for v, p in said.items()}
        return [said.get(v, 0.0) for v in range(self.n_slots)]

    def learn(self, past: list[int], n_known: int, observed: int, named: int) -> None:
        """Move the parameters by the gradient of the log probability, then count."""
        contexts = self.contexts(past)
        said = [self.without_context([*range(n_known), self.n_slots - 1])[observed]]
        for context in contexts:
            if self.counts[context]:
                left, taken, total = self.discounted(context)
                said.append((left.get(observed, 0) + taken * said[-1]) / total)
            else:
                said.append(said[-1])
        outer = 1 / max(said[-1], 1e-9)
        for n in range(len(contexts), 0, -1):
            context = contexts[n - 1]
            if not self.counts[context]:
                continue
            single, larger, concentration = self.read(context)
            _, taken, total = self.discounted(context)
            counts, key = self.counts[context], self.key(context)
            own, ones = counts.get(observed, 0), sum(count == 1 for count in counts.values())
            slopes = (
                (ones * said[n - 1] - (own == 1)) / total * single * (1 - single),
                ((len(counts) - ones) * said[n - 1] - (own > 1)) / total * larger * (1 - larger / 2),
                (said[n - 1] - said[n]) / total * concentration,
            )
            for i, slope in enumerate(slopes):
                self.squares[key][i] += (slope * outer) ** 2
                moved = self.parameters[key][i] + RATE * slope * outer / math.sqrt(self.squares[key][i])
                self.parameters[key][i] = min(max(moved, -BOUND), BOUND)
            outer *= taken / total
        for context in reversed(contexts):
            counts = self.counts[context]
            if named in counts:
                if counts[named] >= MOST:
                    for slot in counts:
                        counts[slot] = (counts[slot] + 1) // 2
                counts[named] += 1
                break
            counts[named] = 1
        else:
            self.singles[named] += 1
        if observed != named:
            self.singles[observed] += 1
