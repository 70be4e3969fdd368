"""The compiled engine and backtrader: the same fills, the same refusals, the same equity, on random panels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_panels import random_panel, thin_panel
from sizes import size

from trading_core.backtest import backtest
from trading_core.backtest.parity import compare_results
from trading_core.model import AssetClass, ExitRules
from trading_core.portfolio import Costs, RiskLimits
from trading_core.strategies import EqualWeight, InverseVolatility, RiskPerTrade, Strategy


class Drawn(Strategy):
    "Random opinions, sparse or daily, of a part of the symbols."

    def __init__(self, seed, often, exits, sizer, symbols=None):
        self.seed, self.often, self._exits, self.given_sizer, self.symbols = seed, often, exits, sizer, symbols

    @property
    def exits(self):
        return self._exits

    @property
    def sizer(self):
        return self.given_sizer

    def signals(self, panel):
        rng = np.random.default_rng(self.seed)
        wishes = rng.choice([-0.5, 0.0, 0.4, 1.0], panel.shape, p=[0.1, 0.4, 0.2, 0.3])
        table = np.where(rng.random(panel.shape) < self.often, wishes, np.nan)
        frame = pd.DataFrame(table, panel.days, list(panel.symbols))
        if self.symbols is not None:
            frame.loc[:, [s for s in panel.symbols if s not in self.symbols]] = np.nan
        return frame


def maybe(values):
    return st.one_of(st.none(), values)


fraction = st.sampled_from([0.01, 0.03, 0.05, 0.1, 0.2])
exit_rules = st.builds(ExitRules, maybe(fraction), maybe(fraction), maybe(fraction), maybe(st.integers(1, 9)))
sizers = st.one_of(
    st.builds(EqualWeight, st.sampled_from([0.5, 0.99, 1.0]), maybe(st.sampled_from([0.05, 0.1, 0.3]))),
    st.builds(InverseVolatility, st.sampled_from([0.8, 1.0]), st.integers(2, 15), maybe(st.just(0.2))),
)
limits = maybe(
    st.builds(
        RiskLimits,
        max_weight=maybe(st.sampled_from([0.05, 0.1, 0.25])),
        max_positions=maybe(st.integers(1, 5)),
        max_order_value=maybe(st.sampled_from([2_000.0, 9_000.0])),
        cash_buffer=st.sampled_from([0.0, 0.05, 0.3]),
        max_equity=maybe(st.sampled_from([0.2, 0.5])),
        max_crypto=maybe(st.sampled_from([0.1, 0.3])),
        max_orders_per_day=maybe(st.integers(1, 4)),
        max_daily_loss=maybe(st.sampled_from([0.01, 0.03])),
        max_drawdown=maybe(st.sampled_from([0.02, 0.1])),
    )
)
costs = st.builds(
    Costs,
    rate=st.sampled_from([0.0, 0.001, 0.0025]),
    per_share=st.sampled_from([0.0, 0.005]),
    minimum=st.sampled_from([0.0, 1.0]),
    slippage_bps=st.sampled_from([0.0, 3.0, 12.5]),
    by_class=st.sampled_from(
        [{}, {AssetClass.CRYPTO: {"rate": 0.004, "slippage_bps": 20.0}}, {AssetClass.CRYPTO: {"volume_share": 0.125}}]
    ),
    volume_share=st.sampled_from([None, None, 0.003, 0.1, 0.3, 1.0]),
)


def both(strategy, panel, **options):
    fast = backtest(strategy, panel, engine="fast", **options)
    slow = backtest(strategy, panel, engine="backtrader", **options)
    found = compare_results(fast, slow, panel)
    assert found.ok, str(found)
    wishes = ["day", "symbol", "strategy", "side", "reason"]
    one, other = (r.refusals[wishes].sort_values(wishes, ignore_index=True) for r in (fast, slow))
    pd.testing.assert_frame_equal(one, other)
    pd.testing.assert_frame_equal(
        *(r.pending.sort_values("symbol", ignore_index=True).astype({"quantity": float}) for r in (fast, slow)),
        check_dtype=False, rtol=1e-9,
    )  # fmt: skip
    pd.testing.assert_series_equal(fast.last_signals, slow.last_signals)
    return fast


@settings(max_examples=size(40, 400), deadline=None)
@given(
    seed=st.integers(0, 10_000), often=st.sampled_from([0.05, 0.3, 1.0]), exits=exit_rules, sizer=sizers, limits=limits,
    costs=costs, resize=maybe(st.sampled_from([0.0, 0.05, 0.3])), cash=st.sampled_from([40.0, 5_000.0, 100_000.0]),
)  # fmt: skip
def test_one_strategy_fills_the_same_in_both_engines(seed, often, exits, sizer, limits, costs, resize, cash):
    panel = thin_panel(seed)
    strategy = Drawn(seed, often, exits, sizer)
    both(strategy, panel, costs=costs, limits=limits, resize=resize, cash=cash)


@settings(max_examples=size(20, 200), deadline=None)
@given(seed=st.integers(0, 10_000), exits=exit_rules, limits=limits, costs=costs, resize=maybe(st.just(0.1)))
def test_two_strategies_with_shares_fill_the_same_in_both_engines(seed, exits, limits, costs, resize):
    panel = thin_panel(seed)
    halves = panel.symbols[::2], panel.symbols[1::2]
    pair = {
        "zulu": (Drawn(seed, 0.2, exits, EqualWeight(), halves[0]), 0.6),
        "alpha": (Drawn(seed + 1, 0.6, ExitRules(stop_loss=0.04), RiskPerTrade(0.02), halves[1]), 0.4),
    }
    day = panel.days[len(panel.days) // 4]
    both(pair, panel, costs=costs, limits=limits, resize=resize, start=day, end=panel.days[-9])


@settings(max_examples=size(15, 150), deadline=None)
@given(seed=st.integers(0, 10_000), exits=st.builds(ExitRules, maybe(fraction)))
def test_a_symbol_that_one_strategy_holds_is_kept_from_the_other_in_both_engines(seed, exits):
    panel = random_panel(seed)

    class First(Drawn):
        def signals(self, panel):
            return super().signals(panel).where(pd.Series(panel.days.day % 2 == 0, panel.days), axis=0)

    class Second(Drawn):
        def signals(self, panel):
            return super().signals(panel).where(pd.Series(panel.days.day % 2 == 1, panel.days), axis=0)

    pair = {
        "even": (First(seed, 0.5, exits, EqualWeight()), 0.5),
        "odd": (Second(seed + 1, 0.5, exits, EqualWeight()), 0.5),
    }
    result = both(pair, panel)
    assert "other_strategy" in set(result.refusals["reason"])


@settings(max_examples=size(15, 150), deadline=None)
@given(
    seed=st.integers(0, 10_000), exits=exit_rules, limits=limits, share=st.sampled_from([0.02, 0.1, 0.5]),
    resize=maybe(st.just(0.05)),
)  # fmt: skip
def test_an_order_takes_no_more_than_its_part_of_a_bar_and_waits_in_both_engines(seed, exits, limits, share, resize):
    panel = thin_panel(seed)
    strategy = Drawn(seed, 0.08, exits, EqualWeight())
    result = both(strategy, panel, costs=Costs(volume_share=share), limits=limits, resize=resize, cash=300_000.0)
    taken = result.fills[result.fills["reason"] != "delisted"]
    for fill in taken.itertuples():
        assert fill.quantity <= share * panel.volume.at[fill.day, fill.symbol] * (1 + 1e-9) + 1e-6
    assert not taken.duplicated(["day", "symbol"]).any()
    assert (result.positions > -1e-9).all(axis=None)
    freely = backtest(strategy, panel, limits=limits, resize=resize, cash=300_000.0)
    assert len(result.fills) == 0 or not result.fills.equals(freely.fills)


def test_one_order_becomes_several_fills_and_one_round_trip():
    panel = thin_panel(11)
    symbol = max((s for s in panel.symbols if "/" in s), key=lambda s: panel.observed[s].sum())
    volumes = panel.arrays["volume"].copy(order="F")
    volumes[:, panel.symbols.index(symbol)] = 40.0
    panel = replace(panel, arrays={**panel.arrays, "volume": volumes})

    class Once(Strategy):
        def signals(self, panel):
            table = pd.DataFrame(np.nan, panel.days, list(panel.symbols))
            table.loc[panel.days[60], symbol], table.loc[panel.days[80], symbol] = 0.05, 0.0
            return table

    result = both(Once(), panel, costs=Costs(volume_share=0.5), cash=100_000.0)
    bought, sold = (result.fills[result.fills["side"] == side] for side in ("buy", "sell"))
    assert len(bought) > 2
    assert len(sold) == len(bought)
    assert (bought["quantity"].iloc[:-1] == 20).all()
    assert not result.fills["cut"].any()
    assert result.trades["quantity"].sum() == pytest.approx(bought["quantity"].sum())
    money_in = result.equity.iloc[-1] - result.equity.iloc[0]
    assert result.trades["pnl"].sum() == pytest.approx(money_in, abs=1e-6)
    assert len(result.pending) == 0


def test_what_a_refusal_tells_is_the_same_sentence_in_both_engines():
    panel = random_panel(5)
    strict = RiskLimits(
        max_weight=0.1, max_positions=3, cash_buffer=0.2, max_equity=0.3, max_orders_per_day=2, max_drawdown=0.03
    )
    strategy = Drawn(5, 0.4, ExitRules(stop_loss=0.05), EqualWeight())
    columns = ["day", "symbol", "reason", "detail"]
    told = [
        backtest(strategy, panel, engine=engine, limits=strict, cash=20_000.0).refusals[columns]
        .sort_values(columns, ignore_index=True)
        for engine in ("fast", "backtrader")
    ]  # fmt: skip
    assert len(told[0]) > 30
    pd.testing.assert_frame_equal(*told)


def test_a_wish_that_is_too_small_is_told_in_the_same_sentence_in_both_engines():
    panel, strategy = random_panel(5), Drawn(5, 0.4, ExitRules(stop_loss=0.05), EqualWeight())
    columns = ["day", "symbol", "reason", "detail"]
    told = []
    for engine in ("fast", "backtrader"):
        refusals = backtest(strategy, panel, engine=engine, cash=5.0).refusals
        told.append(refusals[columns].sort_values(columns, ignore_index=True))
    assert {"min_notional", "cash"} <= set(told[0]["reason"])
    pd.testing.assert_frame_equal(*told)


def test_a_difference_of_one_fill_is_found():
    panel = random_panel(3)
    strategy = Drawn(3, 0.3, ExitRules(), EqualWeight())
    one = backtest(strategy, panel)
    other = backtest(strategy, panel, costs=Costs(rate=0.0011))
    found = compare_results(one, other, panel)
    assert not found.ok
    assert "differ" in str(found)


@pytest.mark.parametrize("strength", [1.5, -2.0, np.inf])
def test_a_strength_beyond_one_is_refused_with_its_place_in_both_engines(strength):
    panel = random_panel(3)

    class Wild(Strategy):
        def signals(self, panel):
            table = pd.DataFrame(np.nan, panel.days, list(panel.symbols))
            table.iloc[20, 1] = strength
            return table

    told = []
    for engine in ("fast", "backtrader"):
        with pytest.raises(Exception, match="a strength is a number from -1 to 1") as refused:
            backtest(Wild(), panel, engine=engine)
        told.append(str(refused.value))
    assert told[0] == told[1]
