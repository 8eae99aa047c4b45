"""Files that were exported and then changed: imported or refused by name, and no other model learns of it."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from tests.fuzz.files import mutated
from tests.fuzz.form import LONG
from tests.fuzz.ground import MODEL, SPEC, STATES, STREAMS
from tests.fuzz.hosted import ANSWER_S
from tests.integration.test_process import Service, serving

FILES = 50 if LONG is None else 20 * LONG
N_ITEMS = 20
WITNESS = "witness"

OFTEN = settings(
    max_examples=FILES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def item(n: int) -> dict[str, Any]:
    """The ``n``-th item of any stream here."""
    return {"load": n % 7 + 0.5, "state": STATES[n % 3 % 2], "activity": f"a{n % 5 % 3}"}


def observe(client: httpx.Client, model: str, stream: str, n: int) -> httpx.Response:
    """Send an item; what comes back."""
    return client.post(f"/v1/models/{model}/streams/{stream}/observations", json={"item": item(n)})


class Witness:
    """A model beside those that are tried: it must learn as one does that is alone.

    Args:
        client: Of the service; used from here on.
    """

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        for model in (WITNESS, "alone"):
            assert client.put(f"/v1/models/{model}", json=SPEC).status_code == 201
        self._expected = [observe(client, "alone", "s", n).content for n in range(FILES + 1)]
        self._seen = 0

    def look(self) -> None:
        """Send its next item; the reply is the one that the other model gave, to the bit."""
        assert observe(self._client, WITNESS, "s", self._seen).content == self._expected[self._seen]
        self._seen = (self._seen + 1) % len(self._expected)
        if not self._seen:
            assert self._client.delete(f"/v1/models/{WITNESS}").status_code == 204
            assert self._client.put(f"/v1/models/{WITNESS}", json=SPEC).status_code == 201


@contextmanager
def with_model(data_dir: Path) -> Iterator[tuple[Service, Witness]]:
    """A service in a process of its own, with the model that files are of, and the one beside it."""
    with serving(data_dir, "--log-level", "error") as service:
        assert service.client.put(f"/v1/models/{MODEL}", json=SPEC).status_code == 201
        for n in range(N_ITEMS):
            for stream in STREAMS:
                assert observe(service.client, MODEL, stream, n).status_code == 200
        yield service, Witness(service.client)
        assert service.process.poll() is None
        assert service.client.get("/readyz", timeout=ANSWER_S).status_code == 200


def use(client: httpx.Client, model: str, stream: str) -> None:
    """Ask all of an imported stream that there is; each answer is a proper one."""
    path = f"/v1/models/{model}/streams/{stream}"
    for call in (path, f"{path}/belief", f"{path}/prediction?horizon=3&experts=true", f"{path}/archive"):
        assert client.get(call).status_code == 200, call
    for n in range(3):
        answer = observe(client, model, stream, n)
        # A model of other fields refuses the item, one with other bounds may have no room.
        assert answer.status_code in {200, 422, 429}, answer.text
        if answer.status_code == 200:
            finite(answer.json()["prediction"])


def finite(value: Any) -> None:
    """Return if there is no null where a number of a prediction stands."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        finite(part)
    assert value is not None


def put(client: httpx.Client, path: str, data: bytes) -> bool:
    """Import a file; whether it was taken. It is refused as one that cannot be used, or it is."""
    answer = client.put(f"{path}/archive", content=data)
    if answer.status_code != 201:
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_archive"), answer.text
    return bool(answer.status_code == 201)


def tensors(data: bytes) -> dict[str, bytes]:
    """What a file's tensors hold; the order of texts in its header is any."""
    return {name: array.tobytes() for name, array in load(data).items()}


def test_changed_files_of_models_are_refused_or_of_use(tmp_path: Path) -> None:
    """A model made from one answers all calls, and no other model notices."""
    with with_model(tmp_path) as (service, witness):
        client, ended = service.client, Counter[bool]()
        data = client.get(f"/v1/models/{MODEL}/archive", params={"streams": "all"}).content

        @OFTEN
        @given(seed=st.integers(0, 2**64 - 1))
        def try_one(seed: int) -> None:
            taken = put(client, "/v1/models/tried", mutated(random.Random(seed), data))
            ended[taken] += 1
            if taken:
                streams = client.get("/v1/models/tried/streams").json()["streams"]
                for stream in streams[:1]:
                    use(client, "tried", stream["stream"])
                assert observe(client, "tried", "another", 0).status_code in {200, 422, 429}
                assert client.delete("/v1/models/tried").status_code == 204
            witness.look()

        try_one()
        assert len(ended) == 2, "some were refused, and some were of use"
        print(json.dumps({"files": ended.total(), "imported": ended[True]}))


def test_changed_files_of_streams_are_refused_or_of_use(tmp_path: Path) -> None:
    """A stream made from one answers all calls, and neither the others of its model nor other models notice."""
    with with_model(tmp_path) as (service, witness):
        client, ended = service.client, Counter[bool]()
        data = client.get(f"/v1/models/{MODEL}/streams/{STREAMS[0]}/archive").content
        frozen = {"weights": False, "state": True, "initial_state": False}
        assert client.patch(f"/v1/models/{MODEL}", json={"learn": frozen}).status_code == 200
        beside = f"/v1/models/{MODEL}/streams/{STREAMS[1]}"
        before = client.get(beside).json(), tensors(client.get(f"{beside}/archive").content)

        @OFTEN
        @given(seed=st.integers(0, 2**64 - 1))
        def try_one(seed: int) -> None:
            path = f"/v1/models/{MODEL}/streams/tried"
            taken = put(client, path, mutated(random.Random(seed), data))
            ended[taken] += 1
            if taken:
                use(client, MODEL, "tried")
                assert client.delete(path).status_code == 204
            witness.look()

        try_one()
        assert len(ended) == 2, "some were refused, and some were of use"
        assert (client.get(beside).json(), tensors(client.get(f"{beside}/archive").content)) == before
        assert observe(client, MODEL, STREAMS[1], N_ITEMS).status_code == 200
        print(json.dumps({"files": ended.total(), "imported": ended[True]}))
