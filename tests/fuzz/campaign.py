"""One run of schemathesis over the service's own OpenAPI document: what is generated, what is checked, what came of it.

Generated requests seldom meet a model that is there, so most are steered to a few names, and items to the fields that
they have. Networks are kept small: how much a large one costs is no subject here.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis import engine
from schemathesis.checks import CheckContext, load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.transport import Response
from schemathesis.engine.events import EngineFinished, FatalError, NonFatalError, ScenarioFinished
from schemathesis.generation.case import Case
from schemathesis.hooks import HookContext
from schemathesis.openapi.loaders import from_asgi, from_url
from schemathesis.schemas import APIOperation, BaseSchema

from model.spec import NAME_PATTERN
from service.schemas import check_stream_name
from tests.fuzz.ground import FIELDS, MODEL, STATES, STREAMS, Ground
from tests.fuzz.hosted import ANSWER_S, Hosted

SEED = 20_260_101
MODELS = (MODEL, MODEL, MODEL, "n")
MAX_UNITS = 6
MAX_LAYERS = 2

UNAVAILABLE = frozenset({"store_unavailable", "draining"})
"""The only codes that a status over 499 may come with."""

OF_PATHS = frozenset({"not_found", "method_not_allowed"})
"""Codes that are no call's own: the path that came was not the one that was meant."""


@dataclass
class Outcome:
    """What a run found.

    Args:
        requests: How many were answered, by operation and status.
        failures: Each with the request that shows it.
    """

    requests: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def n_requests(self) -> int:
        """Requests answered."""
        return self.requests.total()


def config(examples: int, *, seed: int = SEED, **project: Any) -> SchemathesisConfig:
    """The run's configuration: under one seed the same requests each time."""
    return SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "request-timeout": ANSWER_S,
            "continue-on-failure": True,
            "generation": {"max-examples": examples, "deterministic": True, "no-shrink": True, "database": "none"},
            "checks": {
                # What a document cannot say, so that a request may fit it and still be refused: what is printable, that
                # names differ, that a category takes either values or capacity, that an item's fields are the model's.
                "positive_data_acceptance": {"expected-statuses": ["2xx", "401", "404", "409", "422", "429"]},
                # These see a failure where the model was made anew meanwhile.
                "use_after_free": {"enabled": False},
                "ensure_resource_availability": {"enabled": False},
            },
            "operations": [
                # A bad observation among many gets its error in its place, under 200; files are put in whatever was
                # generated.
                *(
                    {"include-path": path, "checks": {"negative_data_rejection": {"enabled": False}}}
                    for path in (
                        "/v1/models/{model}/observations",
                        "/v1/models/{model}/archive",
                        "/v1/models/{model}/streams/{stream}/archive",
                    )
                ),
            ],
            **project,
        }
    )


def in_process(app: Hosted, config: SchemathesisConfig, **headers: str) -> BaseSchema:
    """The document of an application in this process."""
    return from_asgi("/openapi.json", app, config=config, headers=headers)


def over_sockets(url: str, config: SchemathesisConfig) -> BaseSchema:
    """The document of a server; what is answered for as long as its caller likes is left out."""
    return from_url(f"{url}/openapi.json", config=config).exclude(path_regex="/events$")


def run(schema: BaseSchema, ground: Ground) -> Outcome:
    """Send all that is generated from a document.

    Args:
        schema: The document.
        ground: What requests are steered to; it is made good where a request took from it.
    """

    def after_call(_context: HookContext, case: Case, response: Response) -> None:
        taken = case.method == "DELETE" and response.status_code == 204
        if taken or (case.method == "PATCH" and response.status_code == 200):
            ground.prepare()

    def map_path_parameters(context: HookContext, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if path_parameters is None else steered(context.operation, path_parameters, ground)

    def map_body(context: HookContext, body: Any) -> Any:
        if context.operation.path.endswith("/archive") and context.operation.method == "put":
            named = zlib.crc32(repr(body).encode())
            return body if named % 4 == 0 else ground.file(of_stream="{stream}" in context.operation.path)
        return with_fields_of_models(body)

    load_all_checks()
    for hook in (map_path_parameters, map_body, map_query, after_call):
        schema.hook(hook)
    ground.prepare()
    outcome = Outcome()
    for event in engine.from_schema(schema).execute():
        match event:
            case ScenarioFinished():
                _take_in(outcome, event)
            case FatalError(exception=error):
                raise error
            case NonFatalError():
                outcome.failures.append(f"{event.label}: {event.value!r}")
            case EngineFinished():
                outcome.failures += [f"after the run: {failure}" for failure in event.failures or ()]
    return outcome


def _take_in(outcome: Outcome, event: ScenarioFinished) -> None:
    recorder = event.recorder
    for case_id, interaction in recorder.interactions.items():
        status = interaction.response.status_code if interaction.response is not None else "none"
        outcome.requests[f"{recorder.cases[case_id].value.operation.label} {status}"] += 1
    for checks in recorder.checks.values():
        for check in checks:
            if check.failure_info is not None:
                found, sample = check.failure_info.failure, check.failure_info.code_sample
                outcome.failures.append(f"{recorder.label}: {check.name}: {found.title}: {found.message}\n  {sample}")


@schemathesis.check
def errors_are_named(_context: CheckContext, response: Response, case: Case) -> None:
    """Every error is the contract's object under a documented code; over 499 only the store's absence or the end."""
    if response.status_code < 400:
        return
    error = json.loads(response.content)["error"]
    for name in ("code", "message", "request_id"):
        assert isinstance(error[name], str)
        assert error[name]
    assert response.headers["x-request-id"] == [error["request_id"]]
    assert response.status_code < 500 or error["code"] in UNAVAILABLE, error
    documented = case.operation.definition.raw["responses"].get(str(response.status_code))
    if documented is not None and error["code"] not in OF_PATHS:
        assert f"`{error['code']}`" in documented["description"], error


@schemathesis.check
def numbers_are_finite(_context: CheckContext, response: Response, _case: Case) -> None:
    """No reply holds what JSON has no word for."""
    if response.headers.get("content-type") == ["application/json"]:
        json.loads(response.content, parse_constant=_refuse)


@schemathesis.serializer("application/x-ndjson")
def lines_of(_context: object, value: Any) -> bytes:
    """A text as it is; what was to be none is one line of JSON."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode(errors="surrogatepass")


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} in a reply")


def steered(operation: APIOperation, path_parameters: dict[str, Any], ground: Ground) -> dict[str, Any]:
    """Steer three of four good names to models and streams that may be there, and snapshots to those that are.

    What an import is to create is steered to names that are free, and a part of what else creates a model.
    """
    found, path = dict(path_parameters), operation.path
    for name, known in (("model", MODELS), ("stream", STREAMS)):
        if _can_name(name, found.get(name)):
            number = zlib.crc32(found[name].encode("utf-8", "replace"))
            if number % 4 and not (operation.method == "delete" and path == "/v1/models/{model}"):
                found[name] = known[number // 4 % len(known)]
    if operation.method == "put" and path == "/v1/models/{model}" and _can_name("model", found.get("model")):
        found["model"] = ground.new_or(found["model"])
    if operation.method == "put" and path.endswith("/archive"):
        new = "stream" if "{stream}" in path else "model"
        if new in found and (zlib.crc32(repr(found[new]).encode()) % 4 or ground.has_named(found[new])):
            found.update({"model": MODEL, new: ground.new_name()})
    if isinstance(found.get("snapshot"), str) and zlib.crc32(found["snapshot"].encode("utf-8", "replace")) % 4:
        stream = found.get("stream")
        if stream is None or stream in STREAMS:
            found.update({"model": MODEL, "snapshot": ground.snapshot(stream)})
    return found


def _can_name(what: str, value: Any) -> bool:
    """Whether a model or a stream may be called that."""
    if what == "model":
        return isinstance(value, str) and re.fullmatch(NAME_PATTERN, value) is not None
    try:
        return isinstance(value, str) and bool(check_stream_name(value))
    except ValueError:
        return False


def map_query(_context: HookContext, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """A horizon that is allowed is a near one: each item ahead costs milliseconds."""
    horizon = (query or {}).get("horizon")
    if query is not None and isinstance(horizon, int) and 20 < horizon <= 1000:
        return {**query, "horizon": horizon % 20 + 1}
    return query


def with_fields_of_models(body: Any) -> Any:
    """Give items the fields of the models, and keep networks small."""
    if not isinstance(body, dict):
        return body
    for name, most in (("hidden", MAX_UNITS), ("layers", MAX_LAYERS), ("window", MAX_UNITS)):
        if isinstance(body.get(name), int) and body[name] >= 1:
            body[name] = 1 + body[name] % most
    observations = body.get("observations")
    for observation in [body, *(observations if isinstance(observations, list) else ())]:
        item = observation.get("item") if isinstance(observation, dict) else None
        if isinstance(item, dict):
            observation["item"] = dict(_assigned(*part) for part in item.items())
    return body


def _assigned(name: str, value: Any) -> tuple[str, Any]:
    """Most values go to a field that takes them, some to any."""
    number = zlib.crc32(repr((name, value)).encode())
    if number % 5 == 0:
        return FIELDS[number // 5 % len(FIELDS)], value
    if isinstance(value, str):
        return ("state", STATES[number // 7 % len(STATES)]) if number % 2 else ("activity", value)
    return "load", value
