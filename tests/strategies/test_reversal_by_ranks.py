"""EquityReversal looks only at the lowest of decision days; it must say what the ranks of all days say."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from random_panels import random_panel

from trading_core.data import Panel
from trading_core.strategies import EquityReversal
from trading_core.strategies.lines import decides


def by_ranks(strategy: EquityReversal, panel: Panel) -> pd.DataFrame:
    "The strengths from the ranks of every day."
    values = strategy.indicators(panel)
    rank, ranked = values["rank"].to_numpy(), values["ranked"].to_numpy()
    held = rank <= np.ceil(strategy.lowest * ranked - 1e-9)
    known = np.isfinite(rank) & decides(strategy, panel)
    return pd.DataFrame(np.where(known, held, np.nan), panel.days, list(panel.symbols))


@pytest.mark.parametrize("lowest", [1e-12, 0.1, 0.34, 0.999])
def test_the_lowest_of_decision_days_are_those_that_the_ranks_of_all_days_name(lowest: float) -> None:
    for seed in range(40):
        strategy = EquityReversal(lookback=1 + seed % 5, lowest=lowest)
        panel = random_panel(seed)
        pd.testing.assert_frame_equal(strategy.signals(panel), by_ranks(strategy, panel), check_freq=False)


def test_ties_go_to_the_first_symbols() -> None:
    panel = random_panel(3)
    flat = {name: np.where(np.isnan(array), np.nan, 100.0) for name, array in panel.arrays.items()}
    same = Panel(panel.days, panel.symbols, panel.assets, flat, panel.real)
    strategy = EquityReversal(lowest=0.5)
    strengths = strategy.signals(same)
    assert (strengths == 1).any(axis=None)
    pd.testing.assert_frame_equal(strengths, by_ranks(strategy, same), check_freq=False)
