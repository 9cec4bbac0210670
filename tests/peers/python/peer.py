"""A peer made of `websockets`: one conversation, as a client or as a server. Says what it sees.

    peer.py connect URL SCENE [ARGUMENT...]
    peer.py serve SCENE [ARGUMENT...]

Every limit is the default. With `--pings` before the rest, it sends twenty pings a second, and leaves
when one of them is not answered.
"""

import asyncio
import sys

from blake3 import blake3
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

MIB = 1024 * 1024


def say(*words):
    print(*words, flush=True)


def pieces(total):
    """Bytes that the other side can make too, in messages of at most 1 MiB."""
    source = blake3(b"theirs")
    for start in range(0, total, MIB):
        yield source.digest(length=min(MIB, total - start), seek=start)


async def send_and_yield(ws, message):
    await ws.send(message)
    # sending does not wait where the other side takes everything: the other tasks would starve
    await asyncio.sleep(0)


async def exchange(ws, total):
    """Sends as many bytes as it receives, both at once."""
    total = int(total)

    async def send():
        for piece in pieces(total):
            await send_and_yield(ws, piece)

    async def receive():
        received = blake3()
        length = 0
        while length < total:
            message = await ws.recv()
            received.update(message)
            length += len(message)
        return received.hexdigest()

    received, _ = await asyncio.gather(receive(), send())
    say("received", received)


async def message(ws, length):
    await ws.send(blake3(b"theirs").digest(length=int(length)))


async def fragments(ws, length):
    """One message, in frames of at most 1 MiB."""
    await ws.send(pieces(int(length)))


async def text(ws, words):
    await ws.send(words)


async def listen(ws):
    largest = 0
    try:
        async for message in ws:
            largest = max(largest, len(message))
    finally:
        say("largest", largest)


async def flood(ws):
    """Sends until the other side closes."""
    while True:
        for piece in pieces(8 * MIB):
            await send_and_yield(ws, piece)


async def close(ws, *code_and_reason):
    await ws.close(*parse(code_and_reason))


async def close_amid(ws, *code_and_reason):
    """Closes while both sides send."""

    async def receive():
        async for _ in ws:
            pass

    flooding = asyncio.create_task(flood(ws))
    for _ in range(100):
        await ws.recv()
    # it does not see the answer unless it takes what is before
    receiving = asyncio.create_task(receive())
    await ws.close(*parse(code_and_reason))
    await asyncio.gather(flooding, receiving, return_exceptions=True)


def parse(code_and_reason):
    return [int(word) if word.isdigit() else word for word in code_and_reason]


SCENES = [exchange, message, fragments, text, listen, flood, close, close_amid]


async def converse(ws, scene, arguments, pings):
    say("extensions", ws.response.headers.get("Sec-WebSocket-Extensions", "none"))
    try:
        if pings:
            await ws.ping()  # a transfer may be over before the first one is due
        await scene(ws, *arguments)
        async for _ in ws:
            pass
    except ConnectionClosed:
        pass
    await ws.wait_closed()
    if pings:
        say("pings were answered" if ws.latency > 0 else "no ping was answered")
    say("closed", ws.close_code, ws.close_reason)


async def main(arguments):
    options = {}
    if arguments[0] == "--pings":
        options = {"ping_interval": 0.05, "ping_timeout": 10}
        del arguments[0]
    role = arguments.pop(0)
    url = arguments.pop(0) if role == "connect" else None
    name, *arguments = arguments
    scene = {scene.__name__: scene for scene in SCENES}[name]

    if role == "connect":
        return await converse(await connect(url, proxy=None, **options), scene, arguments, options)
    over = asyncio.Event()

    async def handle(ws):
        await converse(ws, scene, arguments, options)
        over.set()

    async with serve(handle, "127.0.0.1", 0, **options) as server:
        say("listening on", server.sockets[0].getsockname()[1])
        await over.wait()


asyncio.run(main(sys.argv[1:]))
