"""The synchronous client against the real service."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import httpx
import pytest

from stepahead import (
    Client,
    InvalidItem,
    InvalidSpec,
    Model,
    ModelExists,
    NoAnswer,
    Reply,
    Unauthorized,
    UnknownModel,
    UnknownStream,
)

FIELDS: dict[str, Any] = {"temperature": "real", "state": ["idle", "busy"], "activity": {"capacity": 8}}
HIDDEN = 8
N_SHARED, N_ROUNDS = 20, 6


@pytest.fixture
def model(client: Client, name: str) -> Iterator[Model]:
    """A small model."""
    yield client.create_model(name, FIELDS, hidden=HIDDEN)
    client.delete_model(name)


def test_health(client: Client) -> None:
    """A running service is ready."""
    assert client.health() == {"status": "ready"}


def test_create_is_idempotent(client: Client, model: Model) -> None:
    """The same spec again is the same model, another one an error."""
    assert client.create_model(model.name, FIELDS, hidden=HIDDEN).info().spec["hidden"] == HIDDEN
    with pytest.raises(ModelExists) as caught:
        client.create_model(model.name, {"x": "real"})
    assert caught.value.status == 409
    assert caught.value.request_id


def test_models_are_listed_changed_and_deleted(client: Client, name: str) -> None:
    """A model's life."""
    client.create_model(name, {"x": "real"}, hidden=HIDDEN)
    assert name in [info.name for info in client.models()]
    assert client.update_model(name, learning_rate=0.001).spec["learning_rate"] == 0.001
    with pytest.raises(InvalidSpec):
        client.update_model(name, hidden=16)
    client.delete_model(name)
    with pytest.raises(UnknownModel):
        client.model(name).info()


def test_observe_numbers_scores_and_predicts(client: Client, model: Model) -> None:
    """The first item has no score, the second has one; another handle goes on where this one stopped."""
    stream = model.stream("site 7 ä%?")
    first = stream.observe(temperature=61.5, state="idle", activity="heat")
    second = stream.observe({"temperature": 62, "state": None}, timestamp=datetime.now(timezone.utc))
    assert first.score is None
    assert second.score is not None
    assert set(second.score.fields) == {"temperature"}
    assert second.score.drift is not None
    assert (second.score.drift.drifting, second.score.drift.level, second.score.drift.fields) == (False, 0, ())
    assert second.score["temperature"].error == pytest.approx(62 - first.prediction["temperature"].mean)
    assert first.prediction["activity"].top == "heat"
    with Client(str(client._http.base_url)) as other:
        assert other.model(model.name).stream("site 7 ä%?").observe(temperature=62).sequence == 3


def test_refused_item_changes_nothing(model: Model) -> None:
    """The next one takes its place."""
    stream = model.stream("s")
    stream.observe(temperature=1.0)
    with pytest.raises(InvalidItem):
        stream.observe(temperature="warm")
    assert stream.observe(temperature=1.0).sequence == 2


def test_stream_can_be_looked_at(model: Model) -> None:
    """Summary, forecast, belief; and deleted it is gone."""
    stream = model.stream("s")
    with pytest.raises(UnknownStream):
        stream.summary()
    for celsius in (60.0, 61.0, 62.0):
        stream.observe(temperature=celsius, state="busy")
    summary, forecast, belief = stream.summary(), stream.predict(horizon=4), stream.belief()
    assert (summary.sequence, summary.items) == (3, 3)
    assert summary.drift is not None
    assert (summary.drift.drifting, summary.drift.count, summary.drift.since) == (False, 0, None)
    assert summary.persistence_rmse == pytest.approx(1.0)
    assert summary.fields["temperature"].scored == 2
    assert summary.created_at is not None
    assert (forecast.sequence, [step.sequence for step in forecast.steps]) == (4, [4, 5, 6, 7])
    assert belief.sequence == 3
    assert len(belief.hidden[0]) == HIDDEN
    assert set(belief.gates) >= {"input", "forget", "output"}
    assert belief.before is not None
    assert belief.after is not None
    stream.delete()
    assert stream.observe(temperature=60.0).sequence == 1


def test_deletion_elsewhere_begins_a_stream_anew(client: Client, model: Model) -> None:
    """A client that does not know of it goes on with the first item."""
    stream = model.stream("s")
    stream.observe(temperature=1.0)
    with Client(str(client._http.base_url)) as other:
        other.model(model.name).stream("s").delete()
    assert stream.observe(temperature=1.0).sequence == 1


def test_streams_are_read_page_by_page(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stream comes once, in the order of names."""
    monkeypatch.setattr("stepahead._http.PAGE", 2)
    names = [f"s{i}" for i in range(5)]
    assert all(isinstance(reply, Reply) for reply in model.observe_many((n, {"temperature": 1.0}) for n in names))
    assert [(s.stream, s.sequence) for s in model.streams()] == [(n, 1) for n in names]


def test_many_items_get_their_replies_in_order(model: Model) -> None:
    """Over several requests, several items of a stream in each."""
    rows = [(f"s{i % 3}", {"temperature": float(i)}) for i in range(30)]
    replies = list(model.observe_many(rows, chunk=7))
    assert [(r.stream, r.sequence) for r in replies] == [(f"s{i % 3}", i // 3 + 1) for i in range(30)]


def test_bad_rows_are_yielded_in_their_place(model: Model) -> None:
    """The others of the stream are applied without a gap."""
    rows = [("s", {"temperature": x}) for x in (1.0, "warm", float("nan"), 2.0)]
    replies = list(model.observe_many(rows, errors="yield"))
    assert [r.sequence if isinstance(r, Reply) else type(r) for r in replies] == [1, InvalidItem, InvalidItem, 2]


def test_bad_row_is_raised_in_its_place(model: Model) -> None:
    """Replies before it are given, the rest of its stream is not applied."""
    replies = model.observe_many([("s", {"temperature": x}) for x in (1.0, "warm", 2.0)])
    assert next(replies).sequence == 1
    with pytest.raises(InvalidItem):
        next(replies)
    assert model.stream("s").summary().sequence == 1


def test_lost_answer_is_harmless(faulty_client: Callable[..., Client], faults: Any, model: Model) -> None:
    """The item is sent again, is not learned twice, and its reply says so."""
    stream = faulty_client(faults(lose_answer={2})).model(model.name).stream("s")
    replies = [stream.observe(temperature=float(i)) for i in range(4)]
    assert [(r.sequence, r.duplicate) for r in replies] == [(1, False), (2, True), (3, False), (4, False)]
    assert stream.summary().sequence == 4


def test_lost_answer_to_many_is_harmless(faulty_client: Callable[..., Client], faults: Any, model: Model) -> None:
    """A whole request is sent again, whose replies are kept."""
    model = faulty_client(faults(lose_answer={1, 3}, lose_request={2}, refuse={5})).model(model.name)
    replies = list(model.observe_many([("s", {"temperature": float(i)}) for i in range(150)]))
    assert [r.sequence for r in replies] == list(range(1, 151))
    assert model.stream("s").summary().sequence == 150


def test_error_tells_what_to_send_again(faulty_client: Callable[..., Client], faults: Any, model: Model) -> None:
    """After the last retry it is unknown what happened; the sequence settles it."""
    stream = faulty_client(faults(lose_answer={1, 2, 3, 4})).model(model.name).stream("s")
    with pytest.raises(NoAnswer) as caught:
        stream.observe(temperature=1.0)
    assert stream.observe(temperature=1.0, sequence=caught.value.data["sequence"]).duplicate
    assert stream.observe(temperature=2.0).sequence == 2


def test_threads_share_a_stream(model: Model) -> None:
    """No item is taken for another's resend."""
    replies: list[Reply] = []
    stream = model.stream("s")

    def feed() -> None:
        replies.extend(stream.observe(temperature=float(i)) for i in range(10))

    threads = [threading.Thread(target=feed) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(r.sequence for r in replies) == list(range(1, 41))
    assert not any(r.duplicate for r in replies)


@pytest.mark.parametrize("many", [False, True])
def test_clients_share_streams(service_url: str, client: Client, name: str, many: bool, assert_shared: Any) -> None:
    """Every item of every client is applied once, in its order, and gets its own reply."""
    client.create_model(name, {"x": "real"}, hidden=HIDDEN)
    replies: list[list[Reply]] = [[], []]
    start = threading.Barrier(2)
    rows = [(f"s{k}", {"x": float(i)}) for i in range(N_ROUNDS) for k in range(N_SHARED)]

    def feed(into: list[Reply]) -> None:
        with Client(service_url) as own:
            model = own.model(name)
            start.wait()
            if many:
                into.extend(model.observe_many(rows))
            else:
                into.extend(model.stream(stream).observe(item) for stream, item in rows)

    threads = [threading.Thread(target=feed, args=(into,)) for into in replies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_shared(replies, rows)
    assert {s.sequence for s in client.model(name).streams()} == {2 * N_ROUNDS}
    client.delete_model(name)


def test_what_was_never_seen_has_no_prediction(model: Model) -> None:
    """A real field is absent, an open vocabulary has no most likely value."""
    reply = model.stream("s").observe(state="busy")
    assert set(reply.prediction.fields) == {"state", "activity"}
    assert reply.prediction.category("activity").top is None


def test_rest_of_the_spec_passes_through(client: Client, name: str) -> None:
    """Without experts a belief shows none, with them each real field's."""
    stream = client.create_model(name, {"x": "real"}, experts="none", hidden=HIDDEN).stream("s")
    stream.observe(x=1.0)
    assert client.model(name).info().spec["experts"] == "none"
    assert stream.belief().experts == {}
    client.delete_model(name)
    stream = client.create_model(name, {"x": "real"}, hidden=HIDDEN).stream("s")
    for x in (1.0, 2.0):
        stream.observe(x=x)
    assert "persistence" in stream.belief().experts["x"]
    client.delete_model(name)


def test_key_is_sent() -> None:
    """As a bearer token; a wrong one is a typed error."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers.get("Authorization") == "Bearer secret":
            return httpx.Response(200, json={"models": []})
        return httpx.Response(401, json={"error": {"code": "unauthorized", "message": "no", "request_id": "r"}})

    with Client(api_key="secret", transport=httpx.MockTransport(answer)) as client:
        assert client.models() == []
    with Client(transport=httpx.MockTransport(answer)) as client, pytest.raises(Unauthorized):
        client.models()


def test_nobody_there_is_a_typed_error() -> None:
    """A refused connection names the address."""
    with Client("http://127.0.0.1:1", retries=0) as client, pytest.raises(NoAnswer, match=r"127\.0\.0\.1:1"):
        client.health()


def test_address_without_scheme_is_refused() -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match="http://"):
        Client("localhost:8000")


def test_experts_are_told_when_asked(model: Model) -> None:
    """A reply, a request of many and a prediction name each expert with its weight; unasked they name none."""
    stream, item = model.stream("s"), {"temperature": 61.5, "state": "idle"}
    assert stream.observe(item).prediction.real("temperature").experts == {}
    told = stream.observe(item, experts=True).prediction
    warmth, state = told.real("temperature"), told.category("state")
    assert sum(expert.weight for expert in warmth.experts.values()) == pytest.approx(1)
    assert sum(expert.weight * expert.mean for expert in warmth.experts.values()) == pytest.approx(warmth.mean)
    assert state.experts["network"].probabilities.keys() == state.probabilities.keys()
    assert stream.predict(experts=True).steps[0].real("temperature") == warmth
    assert stream.predict().steps[0].real("temperature").experts == {}
    (reply,) = model.observe_many([("s", item)], experts=True)
    assert set(reply.prediction.real("temperature").experts) == set(warmth.experts)
