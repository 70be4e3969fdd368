"""How long it takes to hide and to swap the future at every day of eight years of real data, strategy by strategy.

TRADING_REAL_DATA=<folder> python tests/bench/certificate.py [PROCESSES] [STRATEGY ...]
"""

import os
import sys
import time
from pathlib import Path

from trading_core.data import CsvBars, load_panel
from trading_core.strategies import check_causal, load_strategy

OURS = ["Momentum", "MeanReversion", "SmaCross", "MacdTrend", "RsiReversion", "EquityReversal", "CryptoReversal"]


def main(processes: int, names: list[str]) -> None:
    folder = Path(
        os.environ.get("TRADING_REAL_DATA", "") or sys.exit("Set TRADING_REAL_DATA to the recorded market data.")
    )
    source = CsvBars([folder / "equities_daily.csv.gz", folder / "crypto_daily.csv.gz"])
    panel = load_panel(source, source.symbols(), "2013-01-01", "2020-12-31")
    print(f"{panel!r}, {processes} process(es), load {os.getloadavg()[0]:.1f}", flush=True)
    for name in names:
        began = time.perf_counter()
        told = check_causal(load_strategy(name), panel, processes=processes)
        wall = time.perf_counter() - began
        days = f"{len(told.days):,} of {told.possible:,} days, {told.whole:,} with the whole history"
        print(f"{name:16} {'ok' if told.ok else 'LEAK':4} {days}; {wall:.1f} s", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1, sys.argv[2:] or OURS)
