"""One run of schemathesis over the service's own OpenAPI document: what is generated, what is checked, what came of it.

Generated requests seldom meet a model that is there, so most are steered to a few names, and items to the fields that
they have. Networks are kept small: how much a large one costs is no subject here.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from collections.abc import Callable
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
from schemathesis.schemas import BaseSchema

from model.spec import NAME_PATTERN
from tests.fuzz.hosted import ANSWER_S, Hosted

SEED = 20_260_101
MODEL = "m"
"""Is made again whenever it was deleted."""

MODELS = (MODEL, "n")
STREAMS = ("s", "t", "Ж 7")
STATES = ("idle", "busy")
FIELDS = ("load", "state", "activity")
SPEC = {
    "fields": [
        {"name": "load"},
        {"name": "state", "kind": "category", "values": [*STATES]},
        {"name": "activity", "kind": "category", "capacity": 3},
    ],
    "hidden": 4,
    "window": 2,
}
MAX_UNITS = 6
MAX_LAYERS = 2

UNAVAILABLE = frozenset({"store_unavailable", "draining"})
"""The only codes that a status over 499 may come with."""


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
                {  # a bad observation among many gets its error in its place, under 200
                    "include-path": "/v1/models/{model}/observations",
                    "checks": {"negative_data_rejection": {"enabled": False}},
                },
            ],
            **project,
        }
    )


def in_process(app: Hosted, config: SchemathesisConfig, **headers: str) -> BaseSchema:
    """The document of an application in this process."""
    return from_asgi("/openapi.json", app, config=config, headers=headers)


def over_sockets(url: str, config: SchemathesisConfig) -> BaseSchema:
    """The document of a server."""
    return from_url(f"{url}/openapi.json", config=config)


def run(schema: BaseSchema, make_model: Callable[[], None]) -> Outcome:
    """Send all that is generated from a document.

    Args:
        schema: The document.
        make_model: Makes :data:`MODEL` of :data:`SPEC` where it is not there.
    """

    def after_call(_context: HookContext, case: Case, response: Response) -> None:
        if case.method == "DELETE" and response.status_code == 204 and case.operation.path == "/v1/models/{model}":
            make_model()

    load_all_checks()
    for hook in (map_path_parameters, map_body, map_query, after_call):
        schema.hook(hook)
    make_model()
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
def errors_are_named(_context: CheckContext, response: Response, _case: Case) -> None:
    """Every error is the contract's object, and none over 499 is anything but the store's absence or the end."""
    if response.status_code < 400:
        return
    error = json.loads(response.content)["error"]
    for name in ("code", "message", "request_id"):
        assert isinstance(error[name], str)
        assert error[name]
    assert response.headers["x-request-id"] == [error["request_id"]]
    assert response.status_code < 500 or error["code"] in UNAVAILABLE, error


@schemathesis.check
def numbers_are_finite(_context: CheckContext, response: Response, _case: Case) -> None:
    """No reply holds what JSON has no word for."""
    if response.headers.get("content-type") == ["application/json"]:
        json.loads(response.content, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} in a reply")


def map_path_parameters(context: HookContext, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Steer three of four good names to models and streams that may be there."""
    steered = dict(path_parameters or {})
    for name, known in (("model", MODELS), ("stream", STREAMS)):
        if isinstance(steered.get(name), str) and re.fullmatch(NAME_PATTERN, steered[name]):
            number = zlib.crc32(steered[name].encode("utf-8", "replace"))
            if number % 4 and not (context.operation.method == "delete" and name == "model"):
                steered[name] = known[number // 4 % len(known)]
    return steered if path_parameters is not None else None


def map_query(_context: HookContext, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """A horizon that is allowed is a near one: each item ahead costs milliseconds."""
    horizon = (query or {}).get("horizon")
    if query is not None and isinstance(horizon, int) and 20 < horizon <= 1000:
        return {**query, "horizon": horizon % 20 + 1}
    return query


def map_body(_context: HookContext, body: Any) -> Any:
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
            observation["item"] = dict(_steered(*part) for part in item.items())
    return body


def _steered(name: str, value: Any) -> tuple[str, Any]:
    """Most values go to a field that takes them, some to any."""
    number = zlib.crc32(repr((name, value)).encode())
    if number % 5 == 0:
        return FIELDS[number // 5 % len(FIELDS)], value
    if isinstance(value, str):
        return ("state", STATES[number // 7 % len(STATES)]) if number % 2 else ("activity", value)
    return "load", value
