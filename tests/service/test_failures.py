"""What errors become on the wire."""

from __future__ import annotations

import json

import pytest
from starlette.exceptions import HTTPException

from service import errors
from service.api.failures import respond

# The contract's table, DESIGN of the interface: code -> status.
CONTRACT = {
    errors.UnknownModel("m"): ("unknown_model", 404),
    errors.UnknownStream("m", "s"): ("unknown_stream", 404),
    errors.UnknownSnapshot("1"): ("unknown_snapshot", 404),
    errors.DamagedSnapshot("1", "torn"): ("damaged_snapshot", 500),
    errors.WeightsLost("m:0"): ("weights_lost", 500),
    errors.UnreadableFormat("the snapshot", "newer"): ("unreadable_format", 500),
    errors.ModelExists("m"): ("model_exists", 409),
    errors.SequenceGap("s", 3, 5): ("sequence_gap", 409),
    errors.SequenceStale("s", 3, 1): ("sequence_stale", 409),
    errors.InvalidItem("bad"): ("invalid_item", 422),
    errors.InvalidSpec("bad"): ("invalid_spec", 422),
    errors.InvalidRequest("bad"): ("invalid_request", 422),
    errors.BodyTooLarge(10): ("body_too_large", 413),
    errors.Malformed("no HTTP"): ("invalid_request", 400),
    errors.HeadTooLarge(10): ("head_too_large", 431),
    errors.RequestTimeout("headers", 1.0): ("request_timeout", 408),
    errors.Unauthorized(): ("unauthorized", 401),
    errors.Overloaded("full"): ("overloaded", 429),
    errors.StoreUnavailable("away"): ("store_unavailable", 503),
    errors.LeaseLost("m:0"): ("store_unavailable", 503),
    errors.TakenOver("m", 8): ("store_unavailable", 503),
    errors.NotFound("no such call"): ("not_found", 404),
    errors.MethodNotAllowed("not so"): ("method_not_allowed", 405),
    errors.Draining(): ("draining", 503),
    errors.ServiceError("broken"): ("internal", 500),
}


@pytest.mark.parametrize(("error", "expected"), CONTRACT.items(), ids=lambda value: type(value).__name__)
def test_errors_are_the_contracts(error: errors.ServiceError, expected: tuple[str, int]) -> None:
    """Each error has the contract's code and status, a message and the request's id."""
    response = respond(error, "r-1")
    body = json.loads(response.body)["error"]
    assert (body["code"], response.status_code) == expected
    assert body["request_id"] == "r-1"
    assert body["message"]
    assert ("retry-after" in response.headers) == (response.status_code in {429, 503})
    assert response.headers.get("retry-after") == (str(body["retry_after_s"]) if "retry_after_s" in body else None)


def test_a_message_is_never_long() -> None:
    """Whatever it was made of, a message is cut, and names in it sooner."""
    for error in (errors.InvalidSpec("k" * 10_000), errors.UnknownStream("m", "s" * 10_000)):
        assert len(error.message) <= errors.MAX_MESSAGE
    assert len(errors.UnknownModel("m" * 10_000).message) < 2 * errors.MAX_ECHO


def test_a_gap_says_what_is_expected() -> None:
    """``sequence_gap`` carries ``expected`` and ``received``."""
    body = json.loads(respond(errors.SequenceGap("s", 3, 5), "r").body)["error"]
    assert (body["expected"], body["received"]) == (3, 5)


def test_what_has_no_name_is_internal() -> None:
    """An unforeseen error is answered ``internal`` and tells nothing of the inside."""
    response = respond(RuntimeError("secret detail"), "r")
    assert response.status_code == 500
    assert json.loads(response.body)["error"]["code"] == "internal"
    assert b"secret" not in bytes(response.body)


def test_headers_of_an_http_error_are_kept() -> None:
    """A refused method's answer says which are allowed."""
    assert respond(HTTPException(405, headers={"Allow": "GET"}), "r").headers["allow"] == "GET"
