"""Keeping values of open vocabularies in their slots after weight updates were lost.

Beliefs name values by slot. A slot that the recovered vocabulary does not know would be given to the next new value,
and what beliefs say of the lost one would pass for it. So it is filled: with the value's name where a redo record still
tells it, else with a value that has none and that no item is of.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.belief import Beliefs, belief_dtype
from model.codec import DamagedRecord
from model.items import Vocabulary
from model.redo import Redo
from model.spec import ModelSpec
from service.compute import ComputeThread
from service.store import Partition

READ_BYTES = 8 * 2**20
"""Beliefs that one read returns, in bytes."""


def values_met(
    spec: ModelSpec, vocabulary: Vocabulary, page: Sequence[tuple[int, bytes]]
) -> tuple[Vocabulary, list[tuple[int, DamagedRecord]]]:
    """Add the values that redo records met, each in the slot that it had.

    Args:
        spec: The model's.
        vocabulary: Of the records before them, as far as it is known; not changed.
        page: Versions and records, in order; any may be damaged.

    Returns:
        The vocabulary after them, and versions and errors of those that cannot be read.
    """
    unreadable: list[tuple[int, DamagedRecord]] = []
    for version, record in page:
        try:
            found = Redo.decode(spec, record)
        except DamagedRecord as error:
            unreadable.append((version, error))
        else:
            if any(found.novel):
                vocabulary = vocabulary.padded(found.known).grown(found.novel)
    return vocabulary, unreadable


async def known_to_beliefs(partition: Partition, compute: ComputeThread, spec: ModelSpec) -> list[int]:
    """How many values of each category field any belief knows; reads them all where a vocabulary is open.

    Raises:
        StoreUnavailable: If the store did not answer.
    """
    known = np.zeros(len(spec.categories), np.int64)
    if not any(field.is_open for field in spec.categories):
        return list(known.tolist())
    limit = max(1, READ_BYTES // belief_dtype(spec).itemsize)
    after = ""
    while names := await partition.list_streams(after, limit):
        stored = await partition.load(names)
        beliefs = [stream.belief for stream in stored if stream is not None]
        known = np.maximum(known, await compute.run(_most_known, spec, beliefs))
        after = names[-1]
    return list(known.tolist())


def _most_known(spec: ModelSpec, encoded: Sequence[bytes]) -> np.ndarray:
    """The most values (C,) that one of the beliefs knows; those that cannot be read are passed over."""
    most = np.zeros(len(spec.categories), np.int64)
    for belief in encoded:
        try:
            most = np.maximum(most, Beliefs.decode(spec, [belief]).records["n_known"][0])
        except DamagedRecord:
            continue
    return most
