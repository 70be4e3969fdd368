"""The backtrader engine with our feeds against the same engine with stock PandasData feeds: the same fills, how much sooner.

python tests/bench/feeds.py                                      # W3: 520 assets, 3,652 days; some minutes
python tests/bench/feeds.py --days 730                           # two years of it
TRADING_REAL_DATA=<folder> python tests/bench/feeds.py --real    # EquityReversal on eight years of recorded bars

Broker and strategy are the same on both sides. The stock side is `bt.Cerebro.run()` as it is, with a feed per asset that
backtrader fills from a DataFrame; the DataFrames are there before the clock starts. Ours goes through `run_panel`. Both
run in one thread; where other work takes turns with it, the processor's time is the one to read.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import backtrader as bt
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))
import workloads as w

from trading_core.backtest.event import Account, Record, run_panel
from trading_core.portfolio import Costs
from trading_core.strategies import EquityReversal, Strategy, checked_signals


def w3(n_days: int) -> tuple[Any, Strategy, Costs]:
    "W3 with its signals given."
    panel = w.w3_panel(n_days)
    days, _, close, _ = w.w3_arrays(n_days)
    table = pd.DataFrame(w.w3_wanted(days, close), panel.days, list(panel.symbols), copy=False)
    return panel, w.given(table), w.costs()


def real() -> tuple[Any, Strategy, Costs]:
    "Recorded bars of 2013 to 2020."
    from trading_core.data import CsvBars, load_panel

    folder = Path(
        os.environ.get("TRADING_REAL_DATA", "") or sys.exit("Set TRADING_REAL_DATA to the recorded market data.")
    )
    source = CsvBars([folder / "equities_daily.csv.gz", folder / "crypto_daily.csv.gz"])
    return load_panel(source, source.symbols(), "2013-01-01", "2020-12-31"), EquityReversal(), Costs()


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    asked.add_argument("--days", type=int, default=3652, help="how many days of W3")
    asked.add_argument("--real", action="store_true", help="recorded bars instead of W3")
    asked.add_argument("--rounds", type=int, default=1, help="how often each side runs; ours runs once before")
    given = asked.parse_args()
    panel, strategy, costs = real() if given.real else w3(given.days)
    strategies = {"bench": (strategy, 1.0)}
    signals = {"bench": checked_signals(strategy, panel).to_numpy(dtype=float)}
    frames = {symbol: panel.own(symbol).tz_localize(None) for symbol in panel.symbols}

    def run(stock: bool) -> tuple[float, float, Record]:
        began, before = time.perf_counter(), time.process_time()
        feeds = {s: bt.feeds.PandasData(dataname=frame) for s, frame in frames.items()} if stock else None
        record = run_panel(Account(panel, strategies, signals, costs, w.CASH), panel.first, feeds)
        return time.process_time() - before, time.perf_counter() - began, record

    print(repr(panel), flush=True)
    run(False)  # what is computed once for a panel is there for both sides
    best: dict[bool, tuple[float, float]] = {}  # stock or not: seconds of the processor and by the clock
    for _ in range(given.rounds):
        *ours, here = run(False)
        *theirs, there = run(True)
        assert here.fills == there.fills, "the feeds lead to other fills"
        assert here.equity == there.equity, "the feeds lead to another equity"
        for stock, (cpu, wall) in ((False, ours), (True, theirs)):
            best[stock] = min(best.get(stock, (cpu, wall)), (cpu, wall))
    print(f"{len(here.fills):,} fills and {len(here.equity):,} days of equity, the same on both sides")
    for stock, (cpu, wall) in best.items():
        name = "stock PandasData feeds" if stock else "ours"
        print(f"{name:24} {cpu:8.2f} s of the processor, {wall:8.2f} s by the clock")
    ratio = best[True][0] / best[False][0]
    print(f"{ratio:.2f} × less of the processor, {best[True][1] / best[False][1]:.2f} × by the clock")


if __name__ == "__main__":
    main()
