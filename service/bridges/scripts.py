"""The scripts that run inside Redis; each ``.lua`` file states its keys, arguments and answer."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

NAMES = ("take", "write", "publish", "tidy", "renew", "release")
Client = redis.Redis | redis.RedisCluster


def connect(url: str, timeout_s: float) -> Client:
    """A client of a server, or of the cluster that it belongs to; nothing is sent again behind our back.

    Raises:
        redis.RedisError: If it does not answer.
        ValueError: If the URL is none.
    """
    options: dict[str, Any] = {
        "decode_responses": True,
        "encoding_errors": "replace",
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
    }
    single = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **options)
    try:
        info: Any = single.info("cluster")
        if not info.get("cluster_enabled"):
            return single
    except BaseException:
        single.close()
        raise
    single.close()
    return redis.RedisCluster.from_url(url, **options)


class Scripts:
    """The scripts on one client."""

    def __init__(self, client: Client) -> None:
        self.client = client
        folder = resources.files("service.bridges").joinpath("lua")
        self._scripts = {
            name: client.register_script(folder.joinpath(f"{name}.lua").read_text("utf-8")) for name in NAMES
        }

    def run(self, name: str, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """Run one.

        Raises:
            redis.RedisError: As Redis answers, or does not.
        """
        return self._scripts[name](keys=list(keys), args=list(arguments))
