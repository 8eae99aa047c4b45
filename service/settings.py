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
    redis_url: SecretStr | None = Field(
        None, description="External store: redis://, rediss:// or unix://. Without it the service starts its own."
    )
    api_keys: SecretStr | None = Field(
        None, description="Keys that callers must send as 'Authorization: Bearer KEY', comma separated; none: open."
    )
    max_batch: int = Field(256, ge=1, le=65_536, description="Most streams in a micro-batch.")
    max_queue: int = Field(65_536, ge=1, le=10_000_000, description="Most items waiting per model.")
    max_queue_per_stream: int = Field(10_000, ge=1, le=10_000_000, description="Most items waiting per stream.")
    max_items_per_request: int = Field(10_000, ge=1, le=1_000_000, description="Most items in one request.")
    max_body_bytes: int = Field(4 * 2**20, ge=1024, le=2**30, description="Largest request body, in bytes.")
    max_horizon: int = Field(
        1000, ge=1, le=10_000, description="Most items a prediction may reach ahead; each takes a few milliseconds."
    )
    kept_replies: int = Field(64, ge=1, le=65_536, description="Replies kept per stream for resends.")
    snapshot_every_updates: int = Field(
        1000, ge=1, le=1_000_000, description="Weight updates after which the weights are snapshotted."
    )
    max_snapshots: int = Field(16, ge=0, le=1000, description="Snapshots kept per stream, and per model.")
    store_timeout_s: float = Field(5.0, gt=0, le=300, description="Longest wait for the store, in seconds.")
    drain_timeout_s: float = Field(
        30.0, gt=0, le=3600, description="Longest wait at the end for accepted items, in seconds."
    )
    threads: int = Field(1, ge=1, le=1024, description="CPU threads that one learning step may use.")
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

    @model_validator(mode="after")
    def _a_request_fits_the_queue(self) -> Self:
        if self.max_items_per_request > self.max_queue:
            raise ValueError("max_items_per_request must not be over max_queue: such a request could never be taken")
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
