"""Ten thousand messages a second through `PriceStream`: none lost, and how long each takes from the sender to the callback.

python tests/bench/stream.py                        # 60 seconds, a frame for each message, receiver on one core
python tests/bench/stream.py --seconds 5 --frame 10

The sender is a process of its own, on the other core if there is one; it stamps each message just before it sends it, so that the time told holds
its own work, the socket, and everything that happens here until the callback begins. Trades, quotes and bars are mixed 60 : 39 : 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np

RATE = 10_000
MINUTE = 60_000_000_000
SYMBOLS = [f"S{number:03}" for number in range(200)]


def message(number: int, now: int, timed: Any) -> dict[str, Any]:
    "The message of that number: a trade, a quote, or a bar whose minute differs from that of every other bar of its symbol."
    symbol = SYMBOLS[number % len(SYMBOLS)]
    if number % 100 == 99:
        begin = timed(1_600_000_000_000_000_000 // MINUTE * MINUTE + number * MINUTE)
        return {"T": "b", "S": f"{symbol}/USD", "o": 1.0, "h": 1.0, "l": 1.0, "c": 1.0, "v": number, "t": begin}
    if number % 5 < 2:
        return {"T": "q", "S": symbol, "bp": 1.0, "bs": 1, "ap": 2.0, "as": 1, "t": timed(now), "z": "C"}
    return {"T": "t", "S": symbol, "p": 171.25, "s": 100, "i": number, "x": "V", "t": timed(now), "c": ["@"], "z": "C"}


async def speak(total: int, frame: int) -> None:
    "Be the venue: greet, believe everything, then say `total` messages at the rate."
    import msgpack
    from websockets.asyncio.server import ServerConnection, serve

    pack, timed, done = msgpack.packb, msgpack.Timestamp.from_unix_nano, asyncio.Event()

    async def talk(web: ServerConnection) -> None:
        await web.send(pack([{"T": "success", "msg": "connected"}]))
        await web.recv()
        await web.send(pack([{"T": "success", "msg": "authenticated"}]))
        asked: dict[str, Any] = {}
        while len(asked) < 2:
            said = msgpack.unpackb(await web.recv())
            asked |= {name: value for name, value in said.items() if name != "action"}
        await web.send(pack([{"T": "subscription", **asked}]))
        await asyncio.sleep(0.5)
        began, sent = time.perf_counter(), 0
        while sent < total:
            due = min(int((time.perf_counter() - began) * RATE), total)
            while sent + frame <= due:
                now = time.time_ns()
                await web.send(pack([message(number, now, timed) for number in range(sent, sent + frame)]))
                sent += frame
            await asyncio.sleep(0.001)
        print(json.dumps({"sent": sent, "seconds": time.perf_counter() - began}), flush=True)
        await web.wait_closed()
        done.set()

    async with serve(talk, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        print(json.dumps({"port": next(iter(server.sockets)).getsockname()[1]}), flush=True)
        await done.wait()


def on_core(number: int) -> None:
    "Stay on one core, where the system knows how."
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[number % len(cores)]})


def measure(seconds: float, frame: int = 1, most: int = 10_000) -> dict[str, Any]:
    "Listen to that many seconds; what was sent, what came, and the quantiles of the way in milliseconds."
    from trading_core.data.stream import PriceStream

    total = int(seconds * RATE) // frame * frame
    options = ["--speak", "--seconds", str(seconds), "--frame", str(frame)]
    speaker = subprocess.Popen([sys.executable, __file__, *options], stdout=subprocess.PIPE, text=True)
    assert speaker.stdout is not None
    ways: list[int] = []
    bars: list[float] = []
    try:
        port = json.loads(speaker.stdout.readline())["port"]
        stream = PriceStream("k", "s", url=f"http://127.0.0.1:{port}", most=most, extended=True, repair=None)
        note, clock = ways.append, time.time_ns
        stream.listen(lambda one: note(clock() - one.nanos), "trades", "quotes")
        stream.listen(lambda bar: bars.append(bar.volume), "bars")
        stream.subscribe(SYMBOLS, "trades", "quotes")
        used = time.process_time()
        with stream:
            told = json.loads(speaker.stdout.readline())
            until = time.monotonic() + 20
            while stream.stats().received < total and time.monotonic() < until:
                time.sleep(0.05)
            time.sleep(0.2)
            stats = stream.stats()
    finally:
        speaker.kill()
        speaker.wait()
    quantiles = np.percentile(np.array(ways) / 1e6, [50, 99, 99.9, 100]).round(2).tolist()
    return {
        **told, "received": stats.received, "delivered": stats.delivered, "called back": len(ways) + len(bars),
        "dropped": stats.dropped, "refused": stats.refused, "duplicates": stats.duplicates, "reconnects": stats.reconnects,
        "bars": len(bars), "p50": quantiles[0], "p99": quantiles[1], "p99.9": quantiles[2], "slowest": quantiles[3],
        "share of a core": round((time.process_time() - used) / told["seconds"], 2),
    }  # fmt: skip


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    asked.add_argument("--seconds", type=float, default=60.0)
    asked.add_argument("--frame", type=int, default=1, help="messages in a frame")
    asked.add_argument("--speak", action="store_true", help=argparse.SUPPRESS)
    given = asked.parse_args()
    on_core(1 if given.speak else 0)
    if given.speak:
        asyncio.run(speak(int(given.seconds * RATE) // given.frame * given.frame, given.frame))
        return 0
    told = measure(given.seconds, given.frame)
    for name, value in told.items():
        print(f"{name:<16} {value}")
    lost = told["sent"] - told["called back"]
    print(f"{lost} lost, p99 {told['p99']} ms")
    return 0 if lost == 0 and told["p99"] <= 50 else 1


if __name__ == "__main__":
    sys.exit(main())
