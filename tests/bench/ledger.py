"""How long a big book takes: `python tests/bench/ledger.py [FILLS ...]`, by default 100,000 and 1,000,000.

A ledger file of so many fills is made; then one fill is booked and the positions and the FIFO profit are read, and the whole book
is made anew from its fills. Aims for a million: at most 100 ms, and at most 20 s; ten times the fills, ten times the rebuild.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from statistics import median

import pandas as pd

from trading_core.ledger import Ledger
from trading_core.model import Fill, Side

SYMBOLS = [f"S{n:03d}" for n in range(200)]
START = pd.Timestamp("2015-01-01", tz="UTC")


def history(count: int, seed: int = 7) -> Iterator[Fill]:
    "Fills of some years: buys of many sizes, and sales of what is there."
    rng, held = random.Random(seed), dict.fromkeys(SYMBOLS, 0)
    days = [START + pd.Timedelta(days=n) for n in range(4000)]
    for n in range(count):
        symbol, price = rng.choice(SYMBOLS), Decimal(rng.randrange(10**3, 10**6)) / 10**4
        sale = held[symbol] and rng.random() < 0.5
        units = rng.randint(1, held[symbol]) if sale else rng.randint(1, 10**6)
        held[symbol] += -units if sale else units
        side, fee = (Side.SELL if sale else Side.BUY), Decimal(rng.randrange(10**6)) / 10**8
        quantity = Decimal(units) / 10**4
        yield Fill(f"v{n:07d}", f"o{n:07d}", symbol, side, quantity, price, fee, days[n * len(days) // count])


def timed(what: str, work: object) -> float:
    began = time.perf_counter()
    work()  # type: ignore[operator]
    took = time.perf_counter() - began
    print(f"  {what:<46} {took * 1000:>10,.1f} ms")
    return took


def measure(count: int, folder: Path) -> tuple[float, float]:
    "Seconds for positions and profit after an append, and for the whole rebuild."
    print(f"{count:,} fills")
    with Ledger.open(folder / f"{count}.db", "bench") as ledger:
        ledger.bind("csv", "alpaca", Decimal(10**9))
        fills = list(history(count))
        timed("booked in one go", lambda: ledger.add_fills(fills))
        last = fills[-1].day
        appends = []
        for n in range(5):
            new = Fill(f"new{n}", f"new{n}", "S000", Side.BUY, Decimal(1), Decimal(10), Decimal(0), last)
            began = time.perf_counter()
            ledger.add_fills([new])
            booked = time.perf_counter()
            ledger.positions(), ledger.cash(), sum(ledger.realised().values())
            appends.append(time.perf_counter() - began)
            print(
                f"  append {1000 * (booked - began):.1f} ms, positions and profit {1000 * (time.perf_counter() - booked):.1f} ms"
            )
        before = ledger.positions(), ledger.cash(), ledger.realised()
        rebuilt = timed("whole rebuild", ledger.rebuild)
        assert before == (ledger.positions(), ledger.cash(), ledger.realised())
    return median(appends), rebuilt


def main() -> None:
    counts = [int(arg.replace(",", "")) for arg in sys.argv[1:]] or [100_000, 1_000_000]
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            append, rebuild = measure(count, Path(folder))
            print(
                f"  => append + positions + profit {append * 1000:.1f} ms; rebuild {rebuild:.1f} s, {rebuild / count * 1e6:.1f} µs a fill"
            )


if __name__ == "__main__":
    main()
