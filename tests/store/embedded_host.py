"""A service reduced to its embedded store, to be interrupted and killed by tests.

Prints the store's URL and pid, waits for an interrupt, and then says whether the store still answers.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from service.store import Store
from service.store.embedded import EmbeddedServer


async def main() -> None:
    """Run until interrupted."""
    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    server = EmbeddedServer(Path(sys.argv[1]))
    async with server as url:
        store = await Store.connect(url, timeout_s=5.0, kept_replies=4)
        print(url, server.pid, flush=True)
        await interrupted.wait()
        await store.ping()
        print("the store answers", flush=True)
        await store.close()


asyncio.run(main())
