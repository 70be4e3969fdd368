"""Splits and dividends in backtests: the account lives in raw prices and loses nothing by them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_actions import acted_panel, drawn_actions, with_actions
from random_panels import random_panel
from sizes import size
from test_engines_agree import Drawn, both, costs, exit_rules, limits, maybe, sizers
from test_sweep import Wobble, agree

from trading_core.backtest import backtest, sweep
from trading_core.data import HybridDataNormalizer
from trading_core.model import ExitRules
from trading_core.portfolio import Costs, RiskLimits
from trading_core.strategies import EqualWeight, SmaCross, Strategy

FREE = Costs(rate=0.0, slippage_bps=0.0)


class Hold(Strategy):
    "Buys once, and sells on the last days if asked to."

    def __init__(self, sell: int | None = None, exits: ExitRules | None = None):
        self.sell, self._exits = sell, exits or ExitRules()

    @property
    def exits(self):
        return self._exits

    def signals(self, panel):
        table = np.full(panel.shape, np.nan)
        table[0] = 1.0
        if self.sell is not None:
            table[self.sell] = 0.0
        return pd.DataFrame(table, panel.days, list(panel.symbols))


def one_share(closes, split=None, dividend=None, opens=None):
    "A panel of one share with flat bars."
    days = pd.bdate_range("2024-03-04", periods=len(closes), tz="UTC")
    opens = closes if opens is None else opens
    high, low = np.maximum(opens, closes), np.minimum(opens, closes)
    table = pd.DataFrame({"open": opens, "high": high, "low": low, "close": closes, "volume": 1e6}, days).astype(float)
    split, dividend = split or {}, dividend or {}
    table["split"] = [split.get(row, 1.0) for row in range(len(closes))]
    table["dividend"] = [dividend.get(row, 0.0) for row in range(len(closes))]
    return HybridDataNormalizer().normalize({"ACME": table})


ENGINES = ["fast", "backtrader"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_split_multiplies_what_is_held_parts_of_lots_included(engine):
    panel = one_share([90.0, 90.0, 90.0, 30.0, 31.0], split={3: 3.0})
    result = backtest(Hold(), panel, engine=engine, cash=1_000.0, costs=FREE)
    assert result.fills["quantity"].tolist() == [11.1111]
    assert result.positions["ACME"].tolist() == [0.0, 11.1111, 11.1111, 33.3333, 33.3333]
    assert result.equity.iloc[-1] == pytest.approx(1_000 + 33.3333)
    [action] = result.actions.to_dict("records")
    assert (action["kind"], action["amount"], action["before"], action["after"]) == ("split", 3.0, 11.1111, 33.3333)
    reverse = one_share([10.0, 10.0, 150.0, 150.0], split={2: 1 / 15}, opens=[10.0, 10.0, 120.0, 150.0])
    result = backtest(Hold(), reverse, engine=engine, cash=1_000.0, costs=FREE)
    [action] = result.actions.to_dict("records")
    assert (action["after"], action["cash"]) == (6.666666667, 0.0)
    assert result.equity.iloc[-1] == pytest.approx(6.666666667 * 150, abs=1e-8)
    sold = backtest(Hold(sell=2), reverse, engine=engine, cash=1_000.0, costs=FREE)
    assert sold.fills["quantity"].tolist() == [100.0, 6.666666667]
    assert sold.positions["ACME"].iloc[-1] == 0.0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_dividend_is_paid_on_what_was_held_overnight(engine):
    panel = one_share([50.0, 50.0, 49.0, 49.0, 48.0], dividend={1: 1.0, 2: 1.0, 4: 1.0})
    result = backtest(Hold(sell=2), panel, engine=engine, cash=1_000.0, costs=FREE)
    assert result.actions["day"].tolist() == [panel.days[2]]  # bought in the morning of day 1, sold on day 3
    assert result.equity.iloc[-1] == 1_000.0
    assert result.trades["pnl"].tolist() == [0.0]
    assert result.metrics["win_rate"] == 0.0


@pytest.mark.parametrize("engine", ENGINES)
def test_no_stop_fires_on_a_split(engine):
    closes = [100.0, 100.0, 104.0, 25.0, 25.0, 25.0]
    stops = ExitRules(stop_loss=0.05, trailing_stop=0.06)
    panel = one_share(closes, split={3: 4.0})
    result = backtest(Hold(exits=stops), panel, engine=engine, cash=1_000.0, costs=FREE)
    assert len(result.fills) == 1
    assert result.pending.empty
    for last, reason in ((24.4, "trailing_stop"), (23.7, "stop_loss"), (24.9, None)):
        fallen = one_share([*closes[:-1], last], split={3: 4.0})
        later = backtest(Hold(exits=stops), fallen, engine=engine, cash=1_000.0, costs=FREE)
        assert later.pending["reason"].tolist() == ([reason] if reason else [])
    stopped = backtest(Hold(exits=ExitRules(stop_loss=0.05)), fallen, engine=engine, cash=1_000.0, costs=FREE)
    assert stopped.pending.empty


@pytest.mark.parametrize("engine", ENGINES)
def test_a_waiting_order_is_multiplied_and_never_comes_to_nothing(engine):
    panel = one_share([100.0, 50.0, 50.0], split={1: 2.0})
    result = backtest(Hold(), panel, engine=engine, cash=1_000.0, costs=FREE)
    assert result.fills["quantity"].tolist() == [20.0]
    assert result.actions.empty
    tiny = one_share([100.0, 1e8, 1e8], split={1: 1e-6})
    result = backtest(Hold(), tiny, engine=engine, cash=1_000.0, costs=FREE)
    assert result.fills["quantity"].tolist() == [1e-5]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_round_trip_over_a_split_with_a_dividend_tells_what_was_earned(engine):
    panel = one_share([100.0, 100.0, 25.0, 24.0, 26.0, 26.0], split={2: 4.0}, dividend={3: 0.5})
    result = backtest(Hold(sell=4), panel, engine=engine, cash=1_000.0, costs=FREE)
    [trade] = result.trades.to_dict("records")
    assert (trade["quantity"], trade["entry_price"], trade["exit_price"]) == (40.0, 25.0, 26.0)
    assert trade["pnl"] == pytest.approx(40 + 20)
    assert result.metrics["win_rate"] == 1.0
    assert result.equity.iloc[-1] == pytest.approx(1_060)
    assert "actions" in result.to_dict()


@settings(max_examples=size(20, 200), deadline=None)
@given(st.integers(0, 10_000))
def test_raw_prices_with_splits_bring_what_adjusted_prices_bring(seed):
    plain = random_panel(seed)
    fine = {symbol: replace(asset, lot=Decimal("0.00000001")) for symbol, asset in plain.assets.items()}
    plain = replace(plain, assets=fine)
    only_splits = {place: (k, 0.0) for place, (k, _) in drawn_actions(plain, seed, often=0.008).items()}
    raw = with_actions(plain, only_splits, prices=True)
    one = backtest(SmaCross(3, 9), plain, cash=1e6, costs=FREE)
    other = backtest(SmaCross(3, 9), raw, cash=1e6, costs=FREE)
    assert (one.equity / other.equity - 1).abs().max() < 1e-6
    assert len(one.fills) == len(other.fills)


@settings(max_examples=size(25, 400), deadline=None)
@given(
    panel=st.builds(
        acted_panel, st.integers(0, 10_000), prices=st.booleans(), often=st.sampled_from([0.01, 0.04, 0.2])
    ),
    strategy=st.builds(Drawn, st.integers(0, 10_000), st.sampled_from([0.05, 0.3, 1.0]), exit_rules, sizers),
    costs=costs,
    limits=limits,
    resize=maybe(st.sampled_from([0.0, 0.05, 0.2])),
    cash=st.sampled_from([1_000.0, 50_000.0, 1e7]),
)
def test_both_engines_book_the_same_actions_and_fill_the_same(panel, strategy, costs, limits, resize, cash):
    options = {"costs": costs, "limits": limits, "resize": resize, "cash": cash}
    fast = both(strategy, panel, **options)
    slow = backtest(strategy, panel, engine="backtrader", **options)
    one, other = (r.actions.sort_values(["day", "symbol", "kind"], ignore_index=True) for r in (fast, slow))
    pd.testing.assert_frame_equal(one, other, check_dtype=False, rtol=1e-9, atol=2e-8)
    dust = max(1e-8, 1e-12 * fast.positions.abs().to_numpy().max(initial=0.0))
    pd.testing.assert_frame_equal(
        fast.positions, slow.positions, check_freq=False, check_dtype=False, check_column_type=False, atol=dust
    )
    assert fast.metrics["trades"] == slow.metrics["trades"]
    one, other = (np.sort(r.trades["pnl"].to_numpy()) for r in (fast, slow))
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9 * cash)


@settings(max_examples=size(20, 200), deadline=None)
@given(st.integers(0, 10_000))
def test_the_account_is_cash_and_what_its_positions_are_worth(seed):
    panel = acted_panel(seed)
    result = backtest(Drawn(seed, 0.3, ExitRules(stop_loss=0.05, time_stop=7), EqualWeight()), panel, cash=1e5)
    signed = np.where(result.fills["side"] == "buy", -1, 1) * result.fills["quantity"] * result.fills["price"]
    cash = (signed - result.fills["fee"]).groupby(result.fills["day"]).sum()
    cash = cash.add(result.actions.groupby("day")["cash"].sum(), fill_value=0.0)
    cash = 1e5 + cash.reindex(panel.days, fill_value=0.0).cumsum()
    worth = (result.positions * panel.close[result.positions.columns]).sum(axis=1)
    np.testing.assert_allclose(cash + worth, result.equity, rtol=1e-9)
    assert (result.positions >= 0).all(axis=None)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_dividend_of_the_night_of_a_split_is_paid_on_old_shares(engine):
    panel = one_share([100.0, 100.0, 25.0, 25.0], split={2: 4.0}, dividend={2: 0.8})
    result = backtest(Hold(), panel, engine=engine, cash=1_000.0, costs=FREE)
    assert result.actions[["kind", "before", "after", "cash"]].to_numpy().tolist() == [
        ["dividend", 10.0, 10.0, 8.0],
        ["split", 10.0, 40.0, 0.0],
    ]
    assert result.equity.iloc[-1] == 1_008.0
    np.testing.assert_allclose(panel.adjusted.close["ACME"], [100.0, 100.0, 100 * 100 / 99.2, 100 * 100 / 99.2])


@settings(max_examples=size(20, 200), deadline=None)
@given(st.integers(0, 10_000))
def test_a_share_that_is_held_brings_its_price_and_what_it_paid(seed):
    panel = acted_panel(seed, prices=True, often=0.03).select(["E1"])
    fine = {symbol: replace(asset, lot=Decimal("0.00000001")) for symbol, asset in panel.assets.items()}
    panel = replace(panel, assets=fine)
    own = panel.own("E1").reindex(columns=["open", "close", "split", "dividend"])
    own = own.fillna({"split": 1.0, "dividend": 0.0})
    first = panel.days[int(panel.real[:, 0].argmax())]
    result = backtest(Hold(sell=None) if panel.real[0, 0] else Always(), panel, cash=1e6, costs=FREE)
    assume(len(result.fills) > 0)  # its only bar may be the last one
    bought = result.fills["day"].iloc[0]
    assert bought > first
    shares = own["split"][own.index > bought].cumprod()
    paid = (own["dividend"][own.index > bought] * shares / own["split"][own.index > bought]).cumsum()
    units = float(result.fills["quantity"].iloc[0])
    rest = 1e6 - units * float(result.fills["price"].iloc[0])
    wanted = units * (shares * own["close"][own.index > bought] + paid) + rest
    if len(result.fills) > 1:  # it was without a bar for so long that it was taken for gone
        wanted = wanted[wanted.index < result.fills["day"].iloc[1]]
    np.testing.assert_allclose(result.equity.reindex(wanted.index), wanted, rtol=1e-7)


class Always(Strategy):
    "Wants it each day."

    def signals(self, panel):
        return panel.close.where(panel.observed) * 0 + 1.0


@pytest.mark.parametrize("seed", range(3))
def test_every_row_of_a_sweep_is_that_of_a_backtest_with_actions(seed):
    panel = acted_panel(seed, prices=seed != 1, often=0.05)
    grid = {"seed": [seed, seed + 20], "stop": [None, 0.04], "trail": [0.05, None], "clock": [None, 4]}
    terms = {"costs": Costs(rate=0.001, minimum=1, slippage_bps=5), "start": panel.days[30], "resize": 0.1}
    agree(sweep(Wobble, grid, panel, **terms), Wobble, panel, **terms)
    terms = {"limits": RiskLimits(max_weight=0.25, max_positions=2, cash_buffer=0.1)}
    agree(sweep(SmaCross, {"fast": [3, 5], "slow": [9, 15]}, panel, **terms), SmaCross, panel, **terms)
    one = panel.select(["E1"])
    assert one.actions is not None
    agree(sweep(SmaCross, {"fast": [3, 5], "slow": [9, 15]}, one), SmaCross, one)
