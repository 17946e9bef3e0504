"""Run amqtt, a broker in pure Python, as a program: `python -m ... HOST PORT`.

For development without mosquitto: slow, and nothing it holds survives it.
"""

from __future__ import annotations

import asyncio
import sys


async def serve(host: str, port: int) -> None:
    """Serve until cancelled."""
    from amqtt.broker import Broker

    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    broker = Broker(config)
    await broker.start()
    try:
        await asyncio.Event().wait()
    finally:
        await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
