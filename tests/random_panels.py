"""Random panels with halts, late listings, endings and both calendars, for the strategies' tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from trading_core.data import HybridDataNormalizer, Panel
from trading_core.sessions import sessions


def random_bars(rng: np.random.Generator, days: pd.DatetimeIndex) -> pd.DataFrame:
    "Bars on `days`; prices on a coarse grid, so that ties happen."
    close = np.maximum(1.0, np.round(50 * np.exp(rng.normal(0, 0.03, len(days)).cumsum()), 1))
    opened = np.maximum(1.0, np.round(close * (1 + rng.normal(0, 0.01, len(days))), 1))
    high = np.maximum(opened, close) + np.round(rng.uniform(0, 1, len(days)), 1)
    low = np.maximum(0.1, np.minimum(opened, close) - np.round(rng.uniform(0, 1, len(days)), 1))
    columns = {"open": opened, "high": high, "low": low, "close": close, "volume": 100.0}
    return pd.DataFrame(columns, days)


def random_panel(
    seed: int, equities: int = 7, coins: int = 3, start: str = "2023-11-01", end: str = "2024-04-30"
) -> Panel:
    "A panel in which some assets list late, some end early and some halt for days."
    rng = np.random.default_rng(seed)
    calendars = {"XNYS": sessions("XNYS", start, end), "24/7": sessions("24/7", start, end)}
    bars = {}
    for number in range(equities + coins):
        symbol, calendar = (f"E{number}", "XNYS") if number < equities else (f"C{number}/USD", "24/7")
        days = calendars[calendar]
        first = rng.integers(0, len(days) // 2) if rng.random() < 0.3 else 0
        last = rng.integers(len(days) // 2, len(days)) if rng.random() < 0.3 else len(days)
        kept = np.ones(len(days), dtype=bool)
        if rng.random() < 0.4:
            halt = rng.integers(first, last)
            kept[halt : halt + rng.integers(1, 12)] = False
        kept[:first], kept[last:] = False, False
        kept[first] = True
        bars[symbol] = random_bars(rng, days[kept])
    return HybridDataNormalizer().normalize(bars)


def thin_panel(seed: int) -> Panel:
    "A random panel with volumes of its own: none at all, too little for an order, a part of one, plenty."
    panel, rng = random_panel(seed), np.random.default_rng(seed + 77_777)
    drawn = np.select(
        [rng.random(panel.shape) < part for part in (0.15, 0.3, 0.9)],
        [0.0, np.round(rng.uniform(0, 2, panel.shape), 4), np.round(rng.lognormal(4, 1.5, panel.shape), 3)],
        rng.integers(1, 9, panel.shape) * 100.0,
    )
    volumes = np.asfortranarray(np.where(panel.real, drawn, 0.0))
    return replace(panel, arrays={**panel.arrays, "volume": volumes})


panels = st.integers(0, 10_000).map(random_panel)
