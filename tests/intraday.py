"Invented bars of hours and minutes on the real calendars, for tests."

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from trading_core.data import HybridDataNormalizer, Panel
from trading_core.data.intervals import grid


def bars_on(index: pd.DatetimeIndex, seed: int, *, missing: float = 0.0, start: float = 100.0, move: float = 0.004):
    "A random walk on the ends of bars, some of them without a trade."
    rng = np.random.default_rng(seed)
    index = index[rng.random(len(index)) >= missing]
    close = start * np.exp(move * rng.standard_normal(len(index))).cumprod()
    open_ = np.append(start, close[:-1]) * np.exp(move / 3 * rng.standard_normal(len(index)))
    high, low = np.maximum(open_, close) * 1.001, np.minimum(open_, close) * 0.999
    volume = 100.0 * rng.integers(1, 1000, len(index))
    return pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": volume}, index)


def mixed_panel(
    interval: str, first: str, last: str, *, seed: int = 0, stocks: int = 4, coins: int = 2, missing: float = 0.03
) -> Panel:
    "Stocks of New York and coins, each on its own marks."
    marks = {name: grid(name, interval, first, last) for name in ("XNYS", "24/7")}
    made = {f"S{n}": bars_on(marks["XNYS"], 100 * seed + n, missing=missing) for n in range(stocks)}
    made |= {f"C{n}/USD": bars_on(marks["24/7"], 100 * seed + 50 + n, missing=missing) for n in range(coins)}
    return HybridDataNormalizer().normalize(made, interval=interval)


def csv_market(folder: Path, bars: Mapping[str, pd.DataFrame], start: str) -> str:
    "Put hours into files; the section of the settings that reads them."
    (folder / "data").mkdir()
    for symbol, own in bars.items():
        ended = own.set_axis(pd.DatetimeIndex(own.index).strftime("%Y-%m-%dT%H:%M:%SZ")).rename_axis("time")
        ended.to_csv(folder / "data" / f"{symbol.replace('/', '-')}.csv")
    return f"[market]\nsource = csv\npath = data\ninterval = 1h\nlabel = end\nstart = {start}\n"
