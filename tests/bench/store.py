"""The store against pyarrow, in one run: `python tests/bench/store.py [--small]`.

500 symbols × 20 years from the store into a panel, against pyarrow reading the same bytes into one table (aim: at most 2 times as
long, at most twice the panel's memory); one missing day for 500 symbols (aim: one request); 5,000 symbols (aim: open within
0.3 s; the cost of a panel grows with what is asked for, not with what is there).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from trading_core.data import BarStore
from trading_core.data.panel import FIELDS
from trading_core.data.sources import Source
from trading_core.data.store_files import Versions, publish, write_file
from trading_core.data.store_index import cover, enter_file, note
from trading_core.data.store_ranges import DAY
from trading_core.sessions import sessions

DAYS = sessions("XNYS", "2006-01-03", "2025-12-31")
COLUMNS = ["time", *FIELDS]


def walk(rng: np.random.Generator, days: pd.DatetimeIndex) -> Versions:
    "Bars of a price that goes anywhere, in whole cents."
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.02, len(days)))), 2) + 0.01
    opened = np.round(close * (1 + rng.normal(0, 0.005, len(days))), 2) + 0.01
    high, low = np.maximum(opened, close) + 0.01, np.minimum(opened, close) - 0.005
    volume = rng.integers(1000, 10**7, len(days)).astype(float)
    nothing = np.ones(len(days)), np.zeros(len(days))
    return Versions(days.asi8, np.full(len(days), 7), np.stack([opened, high, low, close, volume, *nothing]))


def filled(folder: Path, symbols: Sequence[str], days: pd.DatetimeIndex) -> BarStore:
    "A store as it is after it was put together."
    store, rng = BarStore(folder), np.random.default_rng(7)
    shelf = store.shelf()
    shelf.index.make()

    def rows(some: Sequence[str]) -> Iterator[tuple[str, Versions]]:
        return ((symbol, walk(rng, days)) for symbol in some)

    for at in range(0, len(symbols), 800):
        made = write_file(shelf.folder / f"{at:016d}-0-bench.parquet", rows(symbols[at : at + 800]), {})
        publish(made)
        with shelf.index.writing() as line:
            enter_file(line, made)
    with shelf.index.writing() as line:
        cover(line, {s: [(int(days[0].value // DAY), int(days[-1].value // DAY))] for s in symbols})
        note(line, dict.fromkeys(symbols, True))
        line.execute("insert into learnt values (7, 0, 0, 0)")
    return store


def seconds(work: Callable[[], Any]) -> tuple[float, float]:
    "Wall and processor time; what `work` returns is dropped at once."
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def panel_against_table(store: BarStore, symbols: Sequence[str], rounds: int = 15) -> None:
    files = sorted(str(path) for path in store.shelf().folder.glob("*.parquet"))
    sides = {
        "panel": lambda: store.panel(symbols),
        "table of the same columns": lambda: pq.read_table(files, columns=COLUMNS),
        "table of all columns": lambda: pq.read_table(files),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, work in sides.items():
            times[name].append(seconds(work))
    wall = {name: float(np.min([w for w, _ in found])) for name, found in times.items()}
    cpu = {name: float(np.median([c for _, c in found])) for name, found in times.items()}
    size = sum(Path(file).stat().st_size for file in files) / 1e6
    print(f"{len(symbols)} symbols, {size:.1f} MB: " + "; ".join(f"{n} {t * 1e3:.0f} ms" for n, t in wall.items()))
    for name in ("table of the same columns", "table of all columns"):
        print(f"  panel / {name}: {wall['panel'] / wall[name]:.2f} (processor time {cpu['panel'] / cpu[name]:.2f})")


MEMORY = """
import json, sys, threading, time
from trading_core.data import BarStore
def anonymous():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")) * 1024
store = BarStore(sys.argv[1])
store.panel(store.symbols()[:3])
before, most, done = anonymous(), 0, False
def watch():
    global most
    while not done:
        most = max(most, anonymous())
        time.sleep(0.001)
thread = threading.Thread(target=watch); thread.start()
panel = store.panel()
done = True; thread.join()
size = sum(a.nbytes for a in (*panel.arrays.values(), panel.real, *panel.by_day.values()))
print(json.dumps([most - before, size]))
"""
OPEN = """
import json, sys, time
from trading_core.data import BarStore
import pyarrow.parquet
began = time.perf_counter()
store = BarStore(sys.argv[1])
names = store.symbols()
opened = time.perf_counter() - began
bars = store.bars(names[len(names) // 2])
print(json.dumps([opened, time.perf_counter() - began, len(names)]))
"""


def child(program: str, folder: Path) -> list[float]:
    done = subprocess.run([sys.executable, "-c", program, str(folder)], check=True, capture_output=True, text=True)
    found: list[float] = json.loads(done.stdout)
    return found


class Vendor(Source):
    "Counts what it is asked."

    name, simulated = "vendor", True

    def __init__(self) -> None:
        self.requests = self.symbol_days = 0

    def bars_many(self, symbols: Sequence[str], start: Any, end: Any, interval: str) -> dict[str, pd.DataFrame]:
        days = DAYS[(start is None or start <= DAYS) & (end >= DAYS)] if start is not None else DAYS[end >= DAYS]
        self.requests, self.symbol_days = self.requests + 1, self.symbol_days + len(days) * len(symbols)
        flat = pd.DataFrame(dict.fromkeys(FIELDS, 10.0), days)
        return dict.fromkeys(symbols, flat) if len(days) else {}

    def now(self) -> pd.Timestamp:
        return pd.Timestamp("2025-12-31", tz="UTC") + pd.Timedelta(hours=3)


def one_missing_day(folder: Path, symbols: Sequence[str]) -> None:
    vendor = Vendor()
    store = BarStore(folder, vendor)
    store.fetch(symbols, "2024-01-02", "2025-12-29")
    before = vendor.requests, vendor.symbol_days
    took, _ = seconds(lambda: store.fetch(symbols, "2024-01-02", "2025-12-30"))
    asked = vendor.requests - before[0], vendor.symbol_days - before[1]
    print(
        f"one missing day for {len(symbols)} symbols: {asked[0]} request, {asked[1]} bars, kept in {took * 1e3:.0f} ms"
    )


def growing(store: BarStore, symbols: Sequence[str]) -> None:
    for count in (1, 50, 500, len(symbols)):
        some = symbols[:: max(1, len(symbols) // count)][:count]
        some_together = symbols[:count]
        wide = min(seconds(lambda s=some: store.panel(s))[0] for _ in range(5))
        near = min(seconds(lambda s=some_together: store.panel(s))[0] for _ in range(5))
        print(f"  {count:5d} symbols: {near * 1e3:7.1f} ms side by side, {wide * 1e3:7.1f} ms spread out")


def main() -> None:
    small = "--small" in sys.argv
    many = [f"S{n:04d}" for n in range(500 if small else 5000)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = filled(folder / "500", many[:500], DAYS)
        panel_against_table(store, many[:500])
        most, size = child(MEMORY, folder / "500")
        print(f"  memory at most {most / 1e6:.0f} MB for a panel of {size / 1e6:.0f} MB: {most / size:.2f}")
        one_missing_day(folder / "vendor", many[:500])
        began = time.perf_counter()
        large = filled(folder / "large", many, DAYS[-1260:])
        print(f"{len(many)} symbols × 1,260 days were written in {time.perf_counter() - began:.1f} s")
        opened, first, there = child(OPEN, folder / "large")
        print(
            f"  opened with its list of {there:.0f} symbols in {opened * 1e3:.0f} ms, the first bars after {first * 1e3:.0f} ms"
        )
        growing(large, many)


if __name__ == "__main__":
    main()
