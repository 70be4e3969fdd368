"""EquityReversal in backtrader on eight years of real data: bulk array feeds against plain PandasData feeds, in one run.

TRADING_REAL_DATA=<folder> python tests/bench/feeds.py
"""

import os
import sys
import time
from pathlib import Path

import backtrader as bt

from trading_core.backtest.event import Account, run_panel
from trading_core.data import CsvBars, load_panel
from trading_core.portfolio import Costs
from trading_core.strategies import EquityReversal, checked_signals


def main() -> None:
    folder = Path(
        os.environ.get("TRADING_REAL_DATA", "") or sys.exit("Set TRADING_REAL_DATA to the recorded market data.")
    )
    source = CsvBars([folder / "equities_daily.csv.gz", folder / "crypto_daily.csv.gz"])
    began = time.perf_counter()
    panel = load_panel(source, source.symbols(), "2013-01-01", "2020-12-31")
    load_seconds, began = time.perf_counter() - began, time.perf_counter()
    strategies = {"equity": (EquityReversal(), 1.0)}
    signals = {"equity": checked_signals(EquityReversal(), panel).to_numpy(dtype=float)}
    signal_seconds = time.perf_counter() - began

    def run(feeds: str) -> tuple[float, list]:
        began = time.perf_counter()
        made = (
            {s: bt.feeds.PandasData(dataname=panel.own(s).tz_localize(None)) for s in panel.symbols}
            if feeds == "PandasData"
            else None
        )
        record = run_panel(Account(panel, strategies, signals, Costs(), 100_000.0), panel.first, made)
        return time.perf_counter() - began, [*record.fills, *record.equity]

    print(f"{panel!r}; read and normalised in {load_seconds:.2f} s; signals {signal_seconds:.2f} s")
    rounds = [{feeds: run(feeds) for feeds in ("arrays", "PandasData")} for _ in range(3)]
    assert all(r["arrays"][1] == r["PandasData"][1] for r in rounds), "the feeds lead to different fills or equity"
    best = {feeds: min(r[feeds][0] for r in rounds) for feeds in rounds[0]}
    whole = best["arrays"] + signal_seconds
    print(
        f"arrays {best['arrays']:.2f} s (with signals {whole:.2f} s), PandasData {best['PandasData']:.2f} s, same fills and equity"
    )
    print(f"ratio {best['PandasData'] / best['arrays']:.2f}")


if __name__ == "__main__":
    main()
