"""Random splits and dividends on random panels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from random_panels import random_panel

from trading_core.data import Panel

SPLITS = (2.0, 4.0, 7.0, 1.5, 0.1, 1 / 15, 0.5, 1.0215)


def with_actions(
    panel: Panel, actions: Mapping[tuple[int, str], tuple[float, float]], *, prices: bool = False
) -> Panel:
    """The panel with actions, (row, symbol) to split and dividend.

    `prices`: what it was becomes the adjusted panel, that is to say raw prices jump with each action.
    """
    split, paid = np.ones(panel.shape), np.zeros(panel.shape)
    closes = panel.arrays["close"]
    total, by_split = np.ones(panel.shape), np.ones(panel.shape)
    for (row, symbol), (k, d) in sorted(actions.items()):
        column = panel.symbols.index(symbol)
        split[row, column] = k
        by_split[row:, column] *= k
        total[row:, column] *= k
        if d:
            before = closes[row - 1, column] / total[row - 1, column] if prices else closes[row - 1, column]
            paid[row, column] = d * before  # told as a part of the price
            total[row:, column] *= 1 / (1 - d)
    arrays = dict(panel.arrays)
    if prices:
        arrays = {name: np.asfortranarray(values / total) for name, values in arrays.items()}
        arrays["volume"] = np.asfortranarray(panel.arrays["volume"] * by_split)
    made = {"split": split, "dividend": paid}
    return replace(panel, arrays=arrays, by_day=None, actions=made)


def drawn_actions(panel: Panel, seed: int, often: float = 0.04) -> dict[tuple[int, str], tuple[float, float]]:
    "Random splits, dividends and both on one day, on bars of equities that are not their first."
    rng, made = np.random.default_rng(seed + 55_555), {}
    for column, symbol in enumerate(panel.symbols):
        if "/" in symbol:
            continue
        for row in np.flatnonzero(panel.real[:, column])[1:]:
            if rng.random() < often:
                split = float(rng.choice(SPLITS)) if rng.random() < 0.6 else 1.0
                paid = float(rng.choice([0.001, 0.005, 0.03, 0.2])) if split == 1.0 or rng.random() < 0.3 else 0.0
                made[int(row), symbol] = split, paid
    return made


def acted_panel(seed: int, *, prices: bool = False, often: float = 0.04) -> Panel:
    "A random panel with random actions."
    panel = random_panel(seed)
    return with_actions(panel, drawn_actions(panel, seed, often), prices=prices)


def acted_bars(seed: int) -> dict[str, pd.DataFrame]:
    "Raw bars of many symbols, with split and dividend."
    panel = acted_panel(seed, prices=True)
    return {symbol: panel.own(symbol) for symbol in panel.symbols}
