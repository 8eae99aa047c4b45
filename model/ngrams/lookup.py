"""The table of contexts: looking one up, and counting in it.

A context is the last one to N tokens of a category field; its key is a 64-bit hash of field and tokens. Counts lie in
rows of eight 32-bit numbers: the key (two), when it was last counted in, and up to five pairs of slot and count. A
context with more successors goes on in further rows, under keys made from its own and the link's number. Rows are found
by linear probing over at most ``WINDOW`` places; where these are taken, the row not counted in for longest gives way.
"""

from __future__ import annotations

import math

import numpy as np

from model.kernels import part

N_PAIRS = 5
ROW = 3 + N_PAIRS
BEGIN, MISSING = -2, -1
"""Tokens that are no slot: before a stream's first item, and a missing value."""

CLASSES, PARAMETERS = 3, 3
"""Classes of contexts by their number of successors; parameters of each order and class."""

LINKS = 52
"""Most rows of one context; of more successors than fit, the last ones give way to each other."""

WINDOW = 64
MAX_COUNT = 255
"""A context whose count would pass this has all its counts halved, so that a new regime counts."""

LEAST = 1e-9
"""Least probability in a logarithm or a weight."""

_COUNT_BITS = 15
_COUNT = (1 << _COUNT_BITS) - 1
_FIRST_DISCOUNT = 0.75  # of the counts without context

_EXACT = 1e-6  # of sums of shares that were rounded


def are_shares(weights: np.ndarray) -> bool:
    """Whether weights (…, E) that came from outside are each a share of 1."""
    return bool((weights >= 0).all() and (np.abs(weights.sum(-1) - 1) <= _EXACT).all())


def are_rows(rows: np.ndarray, n_used: int) -> bool:
    """Whether rows (U, 8) that came from outside are ``n_used`` of those that counting leaves.

    A count of 0 would take a discount from nothing, and so lead to a negative probability; a larger one than there may
    be would be carried over into its slot.
    """
    pairs = rows[:, ROW - N_PAIRS :]
    counts = pairs & _COUNT
    counted = (counts >= 1) & (counts <= MAX_COUNT)
    return bool(len(rows) == n_used and (rows[:, 0] & 1).all() and (counted | (pairs == 0)).all())


@part
def _mixed(x: np.uint64) -> np.uint64:
    """A bijection of 64 bits in which each depends on all (the finaliser of SplitMix64, Steele et al. 2014)."""
    x = np.uint64(x)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@part
def _joined(key: np.uint64, number: int) -> np.uint64:
    """The key of a key and a number; never 0, which marks an empty row."""
    return _mixed(np.uint64(key) ^ (np.uint64(number + 3) * np.uint64(0x9E3779B97F4A7C15))) | np.uint64(1)


@part
def find(rows: np.ndarray, key: np.uint64) -> int:
    """Where the row with this key is; where there is none, minus one minus the place it would take."""
    low, high = np.uint32(key & np.uint64(0xFFFFFFFF)), np.uint32(key >> np.uint64(32))
    mask = rows.shape[0] - 1
    at = np.int64(high) & mask
    oldest = at
    for _ in range(WINDOW):
        row = rows[at]
        if row[0] == low and row[1] == high:
            return int(at)
        if row[0] == 0:
            return int(-1 - at)
        if row[2] < rows[oldest, 2]:
            oldest = at
        at = (at + 1) & mask
    return int(-1 - oldest)


@part
def successors(rows: np.ndarray, context: np.uint64, n_slots: int, slots: np.ndarray, counts: np.ndarray) -> int:
    """Fill in the slots and counts of a context; how many there are."""
    n = 0
    for link in range(LINKS):
        at = find(rows, _joined(context, link))
        if at < 0:
            return n
        for k in range(3, ROW):
            pair = rows[at, k]
            if pair == 0:
                return n
            slot = pair >> _COUNT_BITS
            if slot < n_slots:
                slots[n], counts[n] = slot, pair & _COUNT
                n += 1
    return n


@part
def _halve(rows: np.ndarray, context: np.uint64) -> None:
    for link in range(LINKS):
        at = find(rows, _joined(context, link))
        if at < 0:
            return
        for k in range(3, ROW):
            pair = rows[at, k]
            if pair == 0:
                return
            rows[at, k] = (pair >> _COUNT_BITS << _COUNT_BITS) | ((pair & _COUNT) + 1) // 2


@part
def count_in(rows: np.ndarray, state: np.ndarray, context: np.uint64, slot: int) -> bool:
    """Count the slot in a context; whether the context knew it."""
    single = np.uint32((slot << _COUNT_BITS) | 1)
    at = 0
    for link in range(LINKS):
        key = _joined(context, link)
        at = find(rows, key)
        if at < 0:
            at = -1 - at
            state[0] += rows[at, 0] == 0
            rows[at] = 0
            rows[at, 0], rows[at, 1] = np.uint32(key & np.uint64(0xFFFFFFFF)), np.uint32(key >> np.uint64(32))
            rows[at, 2], rows[at, 3] = np.uint32(state[1]), single
            return False
        rows[at, 2] = np.uint32(state[1])  # also on the way to a later row, which is found through this one
        for k in range(3, ROW):
            pair = rows[at, k]
            if pair == 0:
                rows[at, k] = single
                return False
            if pair >> _COUNT_BITS == slot:
                if pair & _COUNT >= MAX_COUNT:
                    _halve(rows, context)
                rows[at, k] += np.uint32(1)
                return True
    least = 3
    for k in range(4, ROW):
        if rows[at, k] & _COUNT < rows[at, least] & _COUNT:
            least = k
    rows[at, least] = single
    return False


@part
def contexts(tokens: np.ndarray, field: int, keys: np.ndarray) -> int:
    """Fill in the keys of the contexts of one token and more; how many: none reaches before the first item."""
    key = _mixed(np.uint64(field + 1))
    for n in range(tokens.shape[0]):
        key = _joined(key, tokens[n])
        keys[n] = key
        if tokens[n] == BEGIN:
            return n + 1
    return int(tokens.shape[0])


@part
def class_of(n_successors: int) -> int:
    """The class of a context with so many successors."""
    return 0 if n_successors == 1 else 1 if n_successors < 4 else 2


@part
def discounts(smoothing: np.ndarray) -> tuple[float, float, float]:
    """Discount of single and of larger counts, and the concentration."""
    single, larger = 1 / (1 + math.exp(-smoothing[0])), 2 / (1 + math.exp(-smoothing[1]))
    return single, larger, math.exp(smoothing[2])


@part
def possible(slot: int, n: int, n_known: int, is_open: bool) -> bool:
    """Whether the slot has a value, or is the open vocabulary's last one."""
    return slot < n_known or (is_open and slot == n - 1)


@part
def without_context(counts: np.ndarray, n_known: int, is_open: bool, out: np.ndarray) -> None:
    """Fill in the probabilities of all slots whatever went before."""
    n, total, kinds, places = counts.shape[0], 0.0, 0, 0
    for v in range(n):
        if possible(v, n, n_known, is_open):
            total += counts[v]
            kinds += counts[v] > 0
            places += 1
    spread = (_FIRST_DISCOUNT * kinds + 1) / (total + 1) / max(places, 1)
    for v in range(n):
        out[v] = 0.0
        if possible(v, n, n_known, is_open):
            out[v] = spread + max(counts[v] - _FIRST_DISCOUNT, 0.0) / (total + 1)
