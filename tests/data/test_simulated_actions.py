"""The invented market with splits and dividends earns what it earned without."""

from __future__ import annotations

import numpy as np
import pandas as pd

from trading_core.backtest import backtest
from trading_core.data import SimulatedBars, load_panel
from trading_core.data.adjusting import adjusted
from trading_core.data.simulated import PAYERS, SPLITS
from trading_core.portfolio import Costs
from trading_core.report import actions_section
from trading_core.strategies import SmaCross

PLAIN, ACTING = SimulatedBars(today="2025-01-01"), SimulatedBars(today="2025-01-01", actions=True)


def test_total_returns_are_what_they_were():
    for symbol in (*SPLITS, *PAYERS):
        raw, plain = ACTING.bars(symbol), PLAIN.bars(symbol)
        assert not raw["close"].equals(plain["close"])
        np.testing.assert_allclose(adjusted(raw, "total")["close"], plain["close"], rtol=1e-10)
    pd.testing.assert_frame_equal(ACTING.bars("MERL"), PLAIN.bars("MERL"))


def test_more_days_change_no_earlier_one():
    for symbol in (*SPLITS, *PAYERS):
        later = SimulatedBars(today="2026-02-01", actions=True).bars(symbol, end="2024-12-31")
        pd.testing.assert_frame_equal(later, ACTING.bars(symbol), check_freq=False)


def test_a_backtest_on_raw_prices_trades_as_on_adjusted_ones():
    symbols, free = ["KODE", "TAZO"], Costs(rate=0.0, slippage_bps=0.0)
    one, other = (
        backtest(SmaCross(20, 50), load_panel(source, symbols, "2018-01-02"), costs=free) for source in (PLAIN, ACTING)
    )
    assert one.fills["day"].equals(other.fills["day"])
    assert abs(one.equity.iloc[-1] / other.equity.iloc[-1] - 1) < 1e-4
    assert other.actions["kind"].eq("split").any()
    assert "Splits and dividends" in actions_section(other.actions)
    assert actions_section(one.actions) == ""
