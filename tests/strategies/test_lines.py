"""Lines shared by many strategies say exactly what each strategy says when it is asked alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from time import perf_counter

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st
from random_panels import panels, random_bars, random_panel

from trading_core.data import HybridDataNormalizer
from trading_core.sessions import sessions
from trading_core.strategies import MacdTrend, Momentum, SmaCross, Strategy, checked_signals
from trading_core.strategies.indicators import sma
from trading_core.strategies.lines import LineStrategy, above, decides, draw

crosses = st.tuples(st.integers(1, 15), st.integers(1, 30)).map(lambda p: SmaCross(fast=p[0], slow=p[0] + p[1]))
macds = st.tuples(st.integers(2, 10), st.integers(1, 20), st.integers(2, 9)).map(
    lambda p: MacdTrend(fast=p[0], slow=p[0] + p[1], signal=p[2])
)
momenta = st.tuples(st.integers(1, 40), st.integers(0, 30), st.sampled_from(["day", "week", "month"])).map(
    lambda p: Momentum(lookback=p[0] + p[1], skip=p[1], every=p[2])
)
families = st.one_of(*(st.lists(each, min_size=1, max_size=8) for each in (crosses, macds, momenta)))


@settings(max_examples=25, deadline=None)
@given(panels, families)
def test_lines_give_exactly_the_checked_signals(panel, strategies):
    lines = type(strategies[0]).lines(strategies, panel)
    assert lines.values.shape[1:] == panel.shape[::-1]
    assert lines.values.dtype == np.float64
    assert lines.values.flags.c_contiguous
    assert lines.upper.shape == lines.lower.shape == (len(strategies),)
    for number, strategy in enumerate(strategies):
        np.testing.assert_array_equal(lines.strength(number), checked_signals(strategy, panel).to_numpy())


@settings(max_examples=5, deadline=None)
@given(panels)
def test_lines_are_nan_without_a_bar_of_the_assets_own(panel):
    lines = SmaCross.lines([SmaCross(2, 3)], panel)
    assert np.isnan(lines.values[:, ~panel.real.T]).all()


def test_a_thousand_crossings_need_65_averages():
    panel = random_panel(1)
    pairs = list(product(range(2, 42), range(45, 166, 5)))
    lines = SmaCross.lines([SmaCross(*pair) for pair in pairs], panel)
    assert lines.values.shape[0] == 65
    assert len(set(zip(lines.upper.tolist(), lines.lower.tolist(), strict=True))) == 1000


def test_an_equal_line_of_two_strategies_is_drawn_once():
    panel = random_panel(2)
    same = [MacdTrend(5, 10, 4), MacdTrend(5, 10, 4, stop_loss=0.1), MacdTrend(5, 11, 4)]
    assert len(MacdTrend.lines(same, panel).values) == 3
    rhythms = [Momentum(20, 5, every=every) for every in ("day", "week", "month", "week")]
    assert len(Momentum.lines(rhythms, panel).values) == 4
    whole_numbers = [SmaCross(np.int64(5), 10), SmaCross(5, np.int64(10))]
    assert len(SmaCross.lines(whole_numbers, panel).values) == 2


def test_before_an_asset_is_listed_its_lines_are_nan():
    panel = random_panel(11)
    early = panel.until(panel.days[1])
    strategies = [SmaCross(1, 2), SmaCross(1, 30)]
    lines = SmaCross.lines(strategies, early)
    for number, strategy in enumerate(strategies):
        np.testing.assert_array_equal(lines.strength(number), checked_signals(strategy, early).to_numpy())


def test_no_strategies_need_no_lines():
    lines = SmaCross.lines([], random_panel(0))
    assert (len(lines.values), len(lines.upper), len(lines.lower)) == (0, 0, 0)


def test_a_subclass_with_signals_of_its_own_has_no_lines():
    class Doubter(SmaCross):
        def signals(self, panel):
            return super().signals(panel) * 0.5

    class Weekly(SmaCross):
        def calendar_days(self, calendar, start, end):
            return super().calendar_days(calendar, start, end)[::5]

    panel = random_panel(3)
    assert Doubter.lines([Doubter()], panel) is None
    assert Weekly.lines([Weekly()], panel) is None
    assert SmaCross.lines([SmaCross(), Doubter()], panel) is None
    assert Momentum.lines([Momentum(20, 5), Momentum(20, 5, top=0.2)], panel) is None


def test_a_subclass_with_lines_of_its_own_has_them():
    @dataclass(frozen=True)
    class Triple(SmaCross):
        def pair(self):
            return (sma, self.fast), (sma, 3 * self.slow)

    panel = random_panel(4)
    triple = Triple(2, 5)
    lines = Triple.lines([triple], panel)
    np.testing.assert_array_equal(lines.strength(0), checked_signals(triple, panel).to_numpy())
    assert not checked_signals(triple, panel).equals(checked_signals(SmaCross(2, 5), panel))


def test_a_strategy_without_a_pair_cannot_be_made():
    class Bare(LineStrategy):
        pass

    with pytest.raises(TypeError, match="pair"):
        Bare()


@pytest.mark.parametrize(
    ("upper", "lower", "expected"),
    [
        (1.0, 1.0, False),
        (1.0 + 1e-13, 1.0, False),
        (1.0 + 1e-11, 1.0, True),
        (-1.0, -1.0, False),
        (-1.0 + 1e-13, -1.0, False),
        (-1.0 + 1e-11, -1.0, True),
        (1e-300, 0.0, True),
        (0.0, 0.0, False),
        (float("nan"), 1.0, False),
        (1.0, float("nan"), False),
    ],
)
def test_above_leaves_the_rounding_of_a_sum_out_on_both_sides_of_zero(upper, lower, expected):
    assert bool(above(np.array(upper), np.array(lower))) is expected


def test_decision_days_are_those_of_each_assets_calendar():
    panel = random_panel(5)

    class Fridays(Strategy):
        def calendar_days(self, calendar, start, end):
            days = sessions(calendar, start, end)
            return days[days.day_of_week == 4]

        def signals(self, panel):
            return panel.close

    on = decides(Fridays(), panel)
    assert on.shape == panel.shape
    assert set(panel.days[on.any(axis=1)].day_of_week) == {4}
    good_friday = panel.days.get_loc(pd.Timestamp("2024-03-29", tz="UTC"))
    assert [bool(on[good_friday, panel.symbols.index(symbol)]) for symbol in ("E0", "C8/USD")] == [False, True]


def test_shared_lines_cost_little_more_than_talib_itself():
    days = sessions("XNYS", "2010-01-04", "2021-01-04")[:2520]
    panel = HybridDataNormalizer().normalize({"E": random_bars(np.random.default_rng(0), days)})
    strategies = [SmaCross(*pair) for pair in product(range(2, 42), range(45, 166, 5))]
    periods = [*range(2, 42), *range(45, 166, 5)]
    close = np.ascontiguousarray(panel.arrays["close"][:, 0])

    def fastest(call):
        took = []
        for _ in range(20):
            began = perf_counter()
            call()
            took.append(perf_counter() - began)
        return min(took)

    alone = fastest(lambda: [talib.SMA(close, timeperiod=period) for period in periods])
    assert fastest(lambda: draw([(sma, period) for period in periods], panel)) < 6 * alone
    assert fastest(lambda: SmaCross.lines(strategies, panel)) < 15 * alone
