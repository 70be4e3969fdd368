"""Raw prices with dividends, put into more shares, against dividend-adjusted prices: where they part, and by how much.

Adjusted prices put a dividend into shares at the evening before its day, less the dividend. An account cannot: the cash is
there in the morning of the day, is decided on at its close and buys at the open of the next one. So each dividend earns
(1 + dividend / next open) × (1 − dividend / close before) more or less than the adjusted prices say, some 2e-5 of the
account, and nothing else may differ. What is left is that the shares are counted by the close and bought at the open: below
1e-6 a dividend. The account has a hundred million, as what is less than a dollar is not put into shares.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trading_core.backtest import backtest
from trading_core.data import HybridDataNormalizer, Panel, SimulatedBars
from trading_core.data.adjusting import adjusted
from trading_core.portfolio import Costs
from trading_core.strategies import Strategy

FREE = Costs(rate=0.0, slippage_bps=0.0)
PAYERS = ["AQVA", "GRYD", "HYDU", "LUXO"]


class Always(Strategy):
    "All of the account, each day."

    def signals(self, panel: Panel) -> pd.DataFrame:
        return panel.close.where(panel.observed) * 0 + 1.0


def growth(bars: pd.DataFrame, engine: str = "fast") -> float:
    "What an account that is always invested comes to, with lots that are almost none."
    panel = HybridDataNormalizer().normalize({"ACME": bars})
    fine = {name: replace(asset, lot=Decimal("1e-8")) for name, asset in panel.assets.items()}
    result = backtest(Always(), replace(panel, assets=fine), cash=1e8, costs=FREE, resize=0.0, engine=engine)
    return float(result.equity.iloc[-1])


def a_day_later(raw: pd.DataFrame) -> float:
    "By which factor dividends that are put into shares a day later change what the adjusted prices say."
    close, opens = raw["close"].to_numpy(), raw["open"].to_numpy()
    paid, ratio = raw["dividend"].to_numpy(), raw["split"].to_numpy()
    rows = np.flatnonzero(paid > 0)
    rows = rows[(rows > 1) & (rows < len(raw) - 1)]  # who buys at the second open owns nothing before
    later = (1 + paid[rows] / ratio[rows] / opens[rows + 1] / ratio[rows + 1]) * (1 - paid[rows] / close[rows - 1])
    return float(later.prod())


@pytest.fixture(scope="module")
def shares() -> dict[str, pd.DataFrame]:
    market = SimulatedBars(today="2024-01-01", actions=True)
    return {name: market.bars(name, "2013-01-02") for name in PAYERS}


@pytest.mark.parametrize("engine", ["fast", "backtrader"])
@pytest.mark.parametrize("name", PAYERS)
def test_eleven_years_of_dividends_come_to_the_adjusted_prices_but_for_a_day(shares, name: str, engine: str):
    raw = shares[name]
    apart = growth(raw, engine) / growth(adjusted(raw, "total"), engine)
    assert (raw["dividend"] > 0).sum() > 30
    assert abs(apart - 1) < 1e-3
    assert apart / a_day_later(raw) == pytest.approx(1, abs=2e-5)


def test_a_dividend_that_is_forgotten_or_paid_twice_is_noticed(shares):
    raw = shares["AQVA"]
    total, day = growth(adjusted(raw, "total")), raw.index[raw["dividend"] > 0][5]
    for times in (0.0, 2.0):
        wrong = raw.copy()
        wrong.loc[day, "dividend"] *= times
        assert abs(growth(wrong) / total / a_day_later(raw) - 1) > 5e-3


def test_a_dividend_and_a_split_of_one_day_come_to_the_adjusted_prices():
    days = pd.bdate_range("2024-01-02", periods=12, tz="UTC").drop("2024-01-15")
    close = np.array([100, 101, 102, 101, 50, 51, 50.5, 52, 52, 53, 52.5])
    bars = pd.DataFrame({"open": close, "high": close, "low": close, "close": close, "volume": 1e6}, days)
    raw = bars.assign(split=1.0, dividend=0.0)
    raw.loc[days[4], ["split", "dividend"]] = 2.0, 1.0
    assert growth(raw) / growth(adjusted(raw, "total")) / a_day_later(raw) == pytest.approx(1, abs=1e-4)


def test_two_years_of_real_dividends_come_to_the_adjusted_prices_but_for_a_day(real_data: Path):
    actions = pd.read_csv(real_data / "equities_actions_raw.csv", parse_dates=["ex_date"])
    table = pd.read_csv(real_data / "equities_daily_raw.csv.gz", parse_dates=["date"])
    seen = 0
    for symbol, own in table.groupby("symbol"):
        days = pd.DatetimeIndex(own["date"], tz="UTC")
        raw = own.set_index(days)[["open", "high", "low", "close", "volume"]].assign(split=1.0, dividend=0.0)
        for action in actions[actions["symbol"] == symbol].itertuples():
            name = "split" if action.kind == "split" else "dividend"
            value = 1 / action.price_factor if name == "split" else action.prev_close * (1 - action.price_factor)
            raw.loc[pd.Timestamp(action.ex_date, tz="UTC"), name] = value
        if (raw["dividend"] > 0).any():
            apart = growth(raw) / growth(adjusted(raw, "total"))
            assert abs(apart - 1) < 1e-3, symbol
            assert apart / a_day_later(raw) == pytest.approx(1, abs=3e-5), symbol
            seen += 1
    assert seen > 40
