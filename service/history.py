"""A stream's last items: what was observed, what had been predicted, and how good that was."""

from __future__ import annotations

from typing import Any

import orjson

from model.codec import DamagedRecord
from model.reply import Reply
from model.reply_form import ReplyForm
from model.spec import ModelSpec
from service.bounds import SharedBounds
from service.catalogue import Catalogue
from service.compute import ComputeThread
from service.errors import ServiceError, UnknownStream
from service.store import KeptItems, Store
from service.views import iso_time


class History:
    """Reads what streams keep of their items. It needs no engine: who learns, and where, does not matter to it.

    Args:
        store: Holds the streams.
        catalogue: Knows the models.
        compute: The thread that looks.
        bounds: How many may look or wait for it at once, over all models.
    """

    def __init__(self, store: Store, catalogue: Catalogue, compute: ComputeThread, bounds: SharedBounds) -> None:
        self._store = store
        self._catalogue = catalogue
        self._compute = compute
        self._bounds = bounds

    async def read(self, model: str, stream: str, limit: int) -> bytes:
        """The last ``limit`` items that are kept, oldest first, as JSON.

        Raises:
            UnknownModel: If there is no such model.
            UnknownStream: If it has no such stream.
            Overloaded: If too many look already.
            ServiceError: If what is kept is damaged.
            StoreUnavailable: If the store did not answer.
        """
        with self._bounds.reading():
            spec = (await self._catalogue.record(model)).spec
            try:
                # One more, for the prediction that awaited the oldest.
                found = await self._store.partition(model).load_items(stream, limit + 1)
                if found is None:
                    raise UnknownStream(model, stream)
                return await self._compute.run(render, spec, stream, found, limit)
            except DamagedRecord as error:
                raise ServiceError(f"what is kept of the stream is damaged: {error}", stream=stream) from error


def render(spec: ModelSpec, stream: str, found: KeptItems, limit: int) -> bytes:
    """The last ``limit`` of the items found, each with the prediction that awaited it.

    Raises:
        DamagedRecord: If what is kept of one of them cannot be read.
    """
    form = ReplyForm(spec)
    entries: list[dict[str, Any]] = []
    awaiting: dict[str, Any] | None = None
    for kept in found.seen:
        reply = Reply.decode(spec, kept.sequence, kept.reply)
        told = form.result(reply, with_experts=False)
        if kept.sequence > found.applied - limit:
            entry = {
                "sequence": kept.sequence,
                "item": form.values(reply),
                "timestamp": None if reply.timestamp_us is None else iso_time(reply.timestamp_us),
                "prediction": awaiting,
                "score": told["score"],
            }
            entries.append(entry)
        awaiting = told["prediction"]
    return orjson.dumps({"stream": stream, "sequence": found.applied, "items": entries})
