"""Every setting of the service, with its unit and bound; the only home of their defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ENV_PREFIX = "STEPAHEAD_"

LogLevel = Literal["debug", "info", "warning", "error"]


class BadSetting(ValueError):
    """One or more settings are malformed or out of bounds; the message is one line and names each."""


class Settings(BaseSettings):
    """What ``stepahead serve`` can be told, by flag or by ``STEPAHEAD_`` environment variable."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one.")
    data_dir: Path = Field(
        Path("stepahead-data"), description="Where the embedded store keeps everything; unused with a Redis URL."
    )
    appendfsync: Literal["everysec", "always"] = Field(
        "everysec",
        description="When the embedded store forces what it wrote to disk: everysec, so that a power failure can lose "
        "the last second, or always, so that it loses nothing that was acknowledged.",
    )
    redis_url: SecretStr | None = Field(
        None,
        description="External store, or a server of a cluster: redis://, rediss:// or unix://. Without it the service "
        "starts its own.",
    )
    instance: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,128}$",
        description="Name of this process, where several share an external store. One that starts again under its old "
        "name takes its models back at once; without a name it waits for its old lease to run out.",
    )
    lease_s: float = Field(
        10.0,
        ge=0.5,
        le=300,
        description="Silence of an instance after which another may take over its models, in seconds.",
    )
    api_keys: SecretStr | None = Field(
        None, description="Keys that callers must send as 'Authorization: Bearer KEY', comma separated; none: open."
    )
    max_batch: int = Field(256, ge=1, le=65_536, description="Most streams in a micro-batch.")
    max_queue: int = Field(65_536, ge=1, le=10_000_000, description="Most items waiting per model.")
    max_queue_per_stream: int = Field(10_000, ge=1, le=10_000_000, description="Most items waiting per stream.")
    max_queue_total: int = Field(262_144, ge=1, le=10_000_000, description="Most items waiting over all models.")
    max_wait_s: float = Field(
        10.0, gt=0, le=3600, description="Longest that an item is expected to wait, in seconds; past it none is taken."
    )
    max_reads: int = Field(64, ge=1, le=65_536, description="Most reads of streams in progress or waiting.")
    max_open_models: int = Field(
        1000, ge=1, le=1_000_000, description="Most models in memory; those idle longest give way to others."
    )
    max_models_bytes: int = Field(
        2**30, ge=2**20, le=2**50, description="Most memory of all models' weights and counts, in bytes."
    )
    model_idle_s: float = Field(
        300.0, gt=0, le=10**9, description="Seconds without use after which a model leaves memory; the store keeps it."
    )
    max_connections: int = Field(
        1000, ge=1, le=1_000_000, description="Most connections; on further ones only health checks are answered."
    )
    body_timeout_s: float = Field(
        60.0, gt=0, le=3600, description="Longest that a request's body may take to arrive, in seconds."
    )
    max_items_per_request: int = Field(10_000, ge=1, le=1_000_000, description="Most items in one request.")
    max_body_bytes: int = Field(4 * 2**20, ge=1024, le=2**30, description="Largest request body, in bytes.")
    max_frame_bytes: int = Field(
        4 * 2**20,
        ge=1024,
        le=2**30,
        description="Largest message of a WebSocket and longest line of a streamed body, in bytes.",
    )
    max_window_items: int = Field(
        1024,
        ge=1,
        le=1_000_000,
        description="Most items taken in from one lasting connection before their answers are written.",
    )
    heartbeat_s: float = Field(
        15.0, gt=0, le=3600, description="Seconds of silence after which a lasting connection is shown to be alive."
    )
    slow_reader_s: float = Field(
        60.0, gt=0, le=3600, description="Longest that a lasting connection's other side may read nothing, in seconds."
    )
    allowed_origins: str | None = Field(
        None,
        description="Sites whose pages may call from a browser beside the service's own, comma separated, as "
        "https://example.com; or *.",
    )
    max_head_bytes: int = Field(64 * 2**10, ge=1024, le=2**24, description="Largest head of a request, in bytes.")
    head_timeout_s: float = Field(
        30.0, gt=0, le=3600, description="Longest wait for the end of a request's head, in seconds."
    )
    max_horizon: int = Field(
        1000, ge=1, le=10_000, description="Most items a prediction may reach ahead; each takes a few milliseconds."
    )
    kept_replies: int = Field(
        64, ge=1, le=65_536, description="Replies and items kept per stream, for resends and its history."
    )
    belief_cache_bytes: int = Field(
        256 * 2**20, ge=0, le=2**50, description="Memory for the beliefs used last, of all models, in bytes; 0: none."
    )
    snapshot_every_updates: int = Field(
        1000, ge=1, le=1_000_000, description="Weight updates after which the weights are snapshotted."
    )
    max_snapshots: int = Field(16, ge=0, le=1000, description="Snapshots kept per stream, and per model.")
    max_archive_bytes: int = Field(
        256 * 2**20, ge=1024, le=2**32, description="Largest file of an export or import, in bytes."
    )
    store_timeout_s: float = Field(5.0, gt=0, le=300, description="Longest wait for the store, in seconds.")
    drain_delay_s: float = Field(
        0.0, ge=0, le=3600, description="Seconds that it takes items, and says it is not ready, before it drains."
    )
    drain_timeout_s: float = Field(
        30.0, gt=0, le=3600, description="Longest wait at the end for accepted items, in seconds."
    )
    threads: int = Field(1, ge=1, le=1024, description="CPU threads that one learning step may use.")
    device: Literal["cpu", "cuda", "auto"] = Field(
        "cpu", description="Where networks compute: cpu, cuda, or auto, which is cuda where there is one."
    )
    log_level: LogLevel = Field("info", description="Least severe message logged: debug, info, warning or error.")

    @field_validator("redis_url")
    @classmethod
    def _is_a_stores_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"(rediss?|unix)://.", value.get_secret_value()):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        if value is not None:
            from service.store.client import check_url  # noqa: PLC0415 - help needs no redis

            check_url(value.get_secret_value())
        return value

    @field_validator("device")
    @classmethod
    def _is_there(cls, value: Literal["cpu", "cuda", "auto"]) -> Literal["cpu", "cuda"]:
        if value == "cpu":
            return value
        from model.device import choose  # noqa: PLC0415 - torch takes seconds, and the default needs none of it

        return choose(value)

    @field_validator("api_keys")
    @classmethod
    def _has_usable_keys(cls, value: SecretStr | None) -> SecretStr | None:
        # Whoever sets keys wants the service closed: a value that yields no key must not leave it open.
        if value is not None:
            keys = [key.strip() for key in value.get_secret_value().split(",")]
            if not all(keys):
                raise ValueError("holds an empty key")
            if not all(key.isascii() and key.isprintable() and " " not in key for key in keys):
                raise ValueError("keys are printable ASCII without spaces")
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _has_origins(cls, value: str | None) -> str | None:
        for origin in () if value in {None, "*"} else str(value).split(","):
            if not re.fullmatch(r"https?://[^/?#\s@*]+", origin.strip()):
                raise ValueError(f"{origin.strip()!r} is no origin as https://example.com or http://localhost:3000")
        return value

    @model_validator(mode="after")
    def _a_request_fits_the_queue(self) -> Self:
        for bound in ("max_queue", "max_queue_total"):
            if self.max_items_per_request > getattr(self, bound):
                raise ValueError(f"max_items_per_request must not be over {bound}: such a request could never be taken")
        return self

    @classmethod
    def load(cls, **given: Any) -> Settings:
        """Settings from the environment, overridden by ``given``.

        Raises:
            BadSetting: If any is malformed or out of bounds.
        """
        try:
            return cls(**given)
        except ValidationError as error:
            raise BadSetting("; ".join(_line(dict(e)) for e in error.errors(include_url=False))) from None

    @property
    def keys(self) -> tuple[str, ...]:
        """The accepted API keys; empty where no key is asked for."""
        return () if self.api_keys is None else tuple(k.strip() for k in self.api_keys.get_secret_value().split(","))

    @property
    def origins(self) -> tuple[str, ...]:
        """The sites whose pages may call beside the service's own; ``*`` stands for all."""
        given = (self.allowed_origins or "").split(",")
        return tuple(origin.strip().lower() for origin in given if origin.strip())

    @property
    def store_place(self) -> str:
        """Where data is kept, for people: no password in it."""
        if self.redis_url is None:
            return f"{self.data_dir.absolute()} (embedded store)"
        url = urlsplit(self.redis_url.get_secret_value())
        return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"


def env_name(field: str) -> str:
    """The environment variable of a setting."""
    return ENV_PREFIX + field.upper()


def flag_name(field: str) -> str:
    """The command line flag of a setting."""
    return "--" + field.replace("_", "-")


def _line(error: dict[str, Any]) -> str:
    """One error as ``NAME=value (--flag): what is wrong``; a secret's value is left out."""
    message = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:
        return message
    field = str(error["loc"][0]).lower().removeprefix(ENV_PREFIX.lower())
    secret = "Secret" in str(Settings.model_fields[field].annotation) if field in Settings.model_fields else True
    value = "" if secret else f"={str(error['input'])[:80]!r}"
    return f"{env_name(field)}{value} ({flag_name(field)}): {message}"
