"What max_daily_loss and max_orders_per_day mean on bars shorter than a day: the UTC day, alike in both engines."

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intraday import mixed_panel
from sizes import size
from test_engines_agree import Drawn, both, exit_rules, maybe

from trading_core.backtest import backtest
from trading_core.data import HybridDataNormalizer, Panel
from trading_core.data.intervals import grid
from trading_core.model import ExitRules
from trading_core.portfolio import Costs, RiskLimits
from trading_core.sessions import bar_days
from trading_core.strategies import EqualWeight, Strategy

FREE = Costs(rate=0.0, slippage_bps=0.0)


@lru_cache(maxsize=8)
def panel_of(interval: str, seed: int) -> Panel:
    first, last = ("2024-07-01", "2024-07-09") if interval == "1h" else ("2024-07-02", "2024-07-05")
    return mixed_panel(interval, first, last, seed=seed, missing=0.1)


day_limits = st.builds(
    RiskLimits,
    max_orders_per_day=maybe(st.integers(1, 12)),
    max_daily_loss=maybe(st.sampled_from([0.002, 0.005, 0.02])),
    max_drawdown=maybe(st.just(0.03)),
    max_positions=maybe(st.integers(1, 4)),
)


@settings(max_examples=size(30, 300), deadline=None)
@given(
    interval=st.sampled_from(["1h", "15m"]), seed=st.integers(0, 3), often=st.sampled_from([0.05, 0.3, 1.0]),
    exits=exit_rules, limits=day_limits, share=st.sampled_from([None, 0.01]), resize=maybe(st.just(0.1)),
)  # fmt: skip
def test_both_engines_mean_the_same_day(interval, seed, often, exits, limits, share, resize):
    panel = panel_of(interval, seed)
    strategy = Drawn(seed, often, exits, EqualWeight())
    begin = panel.days[7]  # in the middle of a day
    result = both(strategy, panel, costs=Costs(volume_share=share), limits=limits, resize=resize, start=begin)
    if limits.max_orders_per_day is not None and share is None:
        bought = result.fills.query("side == 'buy'")
        decided = bar_days(
            panel.days[panel.days.searchsorted(pd.DatetimeIndex(bought["day"].array)) - 1]
        )  # an order may have waited longer
        later = bar_days(pd.DatetimeIndex(bought["day"].array))
        alone = pd.Series(later[decided == later]).value_counts()
        assert alone.max() <= limits.max_orders_per_day if len(alone) else True


def hourly(prices: dict[str, list[float]], first: str, last: str) -> Panel:
    "Coins whose hours open where the one before closed."
    marks = grid("24/7", "1h", first, last)
    made = {}
    for symbol, given_prices in prices.items():
        close = np.concatenate([given_prices, np.full(len(marks) - len(given_prices), given_prices[-1])])
        open_ = np.append(close[0], close[:-1])
        high, low = np.maximum(open_, close), np.minimum(open_, close)
        made[symbol] = pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": 1e9}, marks)
    return HybridDataNormalizer().normalize(made, interval="1h")


class Told(Strategy):
    "Wishes by row."

    exits = ExitRules()

    def __init__(self, wishes):
        self.wishes = wishes

    def signals(self, panel):
        table = pd.DataFrame(np.nan, panel.days, list(panel.symbols))
        for (row, symbol), strength in self.wishes.items():
            table.iloc[row, table.columns.get_loc(symbol)] = strength
        return table


@pytest.mark.parametrize("engine", ["fast", "backtrader"])
def test_three_hours_that_lose_two_per_cent_each_are_a_day_that_loses_six(engine):
    # all in one coin from row 1 on; the fall is in the hours that end at 21:00, 22:00 and 00:00, the last of the day
    fall = [100.0] * 20 + [98.0, 96.0, 96.0, 94.0, 94.0, 93.0]
    panel = hourly({"BTC/USD": fall, "ETH/USD": [10.0]}, "2024-07-01", "2024-07-02")
    strategy = Told({(0, "BTC/USD"): 1.0, (24, "BTC/USD"): 0.0, (26, "ETH/USD"): 0.5})
    for limit, halted in ((0.06, True), (0.0601, False), (0.03, True)):
        result = backtest(
            strategy, panel, engine=engine, costs=FREE, cash=10_000, limits=RiskLimits(max_daily_loss=limit)
        )
        assert bool(result.setup["halted"]) == halted
        assert (len(result.refusals) == 1) == halted
    result = backtest(strategy, panel, engine=engine, costs=FREE, cash=10_000, limits=RiskLimits(max_daily_loss=0.06))
    assert result.setup["halted"] == (
        "halted since 2024-07-02 by max_daily_loss: 9,400.00 is 6 % below the close of 2024-07-01T01:00, 10,000.00; "
        "the limit is 6 %"
    )


@pytest.mark.parametrize("engine", ["fast", "backtrader"])
def test_the_next_day_counts_from_its_evening_before(engine):
    # down by 3 % on the 1st and by another 4 % of that on the 2nd: neither day loses 5 %, though six hours do
    fall = [100.0] * 20 + [98.0, 97.0, 97.0, 97.0, 96.0, 95.0, 93.12]
    panel = hourly({"BTC/USD": fall}, "2024-07-01", "2024-07-03")
    fine, tight = (
        backtest(
            Told({(0, "BTC/USD"): 1.0}),
            panel,
            engine=engine,
            costs=FREE,
            cash=10_000,
            limits=RiskLimits(max_daily_loss=x),
        )
        for x in (0.05, 0.035)
    )
    assert not fine.setup["halted"]
    assert tight.setup["halted"] == (
        "halted since 2024-07-02T03:00 by max_daily_loss: 9,312.00 is 4 % below the evening before, 9,700.00; "
        "the limit is 3.5 %"
    )


@pytest.mark.parametrize("engine", ["fast", "backtrader"])
def test_orders_of_all_hours_of_a_day_count_together(engine):
    panel = hourly({"BTC/USD": [100.0], "ETH/USD": [10.0], "SOL/USD": [5.0]}, "2024-07-01", "2024-07-02")
    wishes = {(2, "BTC/USD"): 0.3, (5, "BTC/USD"): 0.0, (9, "ETH/USD"): 0.3}  # a purchase, a sale, the third of the day
    wishes |= {(23, "SOL/USD"): 0.3, (24, "SOL/USD"): 0.3}  # decided at 00:00, the last bar of the day, and at 01:00
    result = backtest(
        Told(wishes), panel, engine=engine, costs=FREE, cash=10_000, limits=RiskLimits(max_orders_per_day=2)
    )
    assert list(result.fills["symbol"]) == ["BTC/USD", "BTC/USD", "SOL/USD"]
    assert result.fills["day"].iloc[-1] == pd.Timestamp("2024-07-02 02:00", tz="UTC")
    assert list(result.refusals["symbol"]) == ["ETH/USD", "SOL/USD"]
    assert set(result.refusals["detail"]) == {"it would be order 3 of the day, the limit is 2"}


def test_on_daily_bars_a_row_is_a_day_as_it_always_was():
    panel = mixed_panel("1d", "2024-05-01", "2024-07-12")
    limits = RiskLimits(max_orders_per_day=1)
    result = both(Drawn(4, 0.5, ExitRules(), EqualWeight()), panel, limits=limits)
    assert result.fills.query("side == 'buy'")["day"].value_counts().max() >= 1
    assert len(result.fills.query("side == 'buy'")["day"].unique()) > 10


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("limit", [{"max_daily_loss": 0.004}, {"max_drawdown": 0.01}, {"max_daily_loss": 1e-6}])
def test_why_it_was_halted_is_what_the_breaker_says_after_every_bar(seed, limit):
    panel = panel_of("1h", seed)
    for start in (panel.days[0], panel.days[17]):
        limits = RiskLimits(**limit)
        result = backtest(Drawn(seed, 0.5, ExitRules(), EqualWeight()), panel, limits=limits, start=start)
        breaker = limits.breaker()
        assert breaker is not None
        trip = breaker.through(result.equity.items()).trip
        assert trip is not None
        assert result.setup["halted"] == str(trip)
