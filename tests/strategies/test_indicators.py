"""Indicators on an asset's own bars."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_panels import panels, random_panel

from trading_core.strategies.indicators import (
    adx,
    change,
    deviation,
    macd,
    macd_lead,
    macd_signal,
    on_own_bars,
    past_change,
    rank_rows,
    rsi,
    sma,
    zscore,
)


@settings(max_examples=8, deadline=None)
@given(panels, st.integers(1, 12))
def test_weekends_and_halts_might_as_well_be_absent(panel, period):
    averages = on_own_bars(panel, partial(sma, period=period))
    returns = on_own_bars(panel, partial(change, bars=period))
    for symbol in panel.symbols:
        own = panel.own(symbol)["close"]
        expected = {"average": own.rolling(period).mean(), "return": own / own.shift(period) - 1}
        for got, want in ((averages, expected["average"]), (returns, expected["return"])):
            np.testing.assert_allclose(got[symbol], want.reindex(panel.days), rtol=1e-9, atol=1e-12)


def test_nothing_is_said_on_a_day_without_a_bar():
    panel = random_panel(3)
    moved = on_own_bars(panel, partial(change, bars=1))
    assert not moved.where(~panel.observed).notna().any(axis=None)


def test_only_the_symbols_asked_for_are_computed():
    panel = random_panel(1)
    some = on_own_bars(panel, np.sqrt, symbols=["E0", "C8/USD"])
    assert set(some.columns[some.notna().any()]) == {"E0", "C8/USD"}
    assert list(some.columns) == list(panel.symbols)


def test_several_fields_arrive_in_the_order_asked_for():
    panel = random_panel(2)
    spread = on_own_bars(panel, lambda high, low: high - low, "high", "low")
    pd.testing.assert_frame_equal(spread, (panel.high - panel.low).where(panel.observed))


@pytest.mark.parametrize("bars", [0, 1, 2, 27, 28, 29])
def test_short_histories_give_nan_and_no_error(bars):
    prices = np.linspace(10, 11, bars)
    assert np.isnan(sma(prices, 50)).all()
    assert np.isnan(change(prices, 30)).all()
    assert np.isfinite(adx(prices + 1, prices - 1, prices, 14)).sum() == max(0, bars - 27)


@given(st.lists(st.lists(st.sampled_from([-0.1, 0.0, 0.1, float("nan")]), min_size=6, max_size=6), min_size=1, max_size=5))  # fmt: skip
def test_ranks_agree_with_sorting_by_value_then_column(rows):
    table = pd.DataFrame(rows, columns=list("ABCDEF"))
    rank, count = rank_rows(table)
    for number, row in enumerate(rows):
        known = sorted((value, name) for name, value in zip("ABCDEF", row, strict=True) if value == value)
        expected = {name: place for place, (_, name) in enumerate(known, start=1)}
        assert rank.iloc[number].dropna().to_dict() == expected
        assert count.iloc[number].dropna().eq(len(known)).all()
        assert count.iloc[number].notna().sum() == len(known)


def test_rounding_alone_is_no_distance_and_no_lead():
    twins = np.tile([10.1, np.nextafter(10.1, 11)], 30)
    assert set(zscore(twins, 20)[19:]) == {0.0}
    steady = 60_000 + 0.1 * np.arange(400)
    assert set(macd_lead(steady, 12, 26, 9)[33:]) == {0.0}


def test_a_deviation_survives_a_fall_from_sixty_thousand_to_a_cent():
    rng = np.random.default_rng(1)
    fallen = np.concatenate([60_000 * np.exp(rng.normal(0, 0.02, 200)), 0.01 * np.exp(rng.normal(0, 0.001, 200))])
    exact = [fallen[row - 19 : row + 1].std() for row in range(250, 400)]
    np.testing.assert_allclose(deviation(fallen, 20)[250:], exact, rtol=1e-9)


@pytest.mark.parametrize("bars", [0, 1, 5, 33])
def test_the_newer_indicators_give_nan_on_short_histories(bars):
    prices = np.linspace(10, 11, bars)
    for values in (macd(prices, 12, 34), macd_signal(prices, 12, 26, 9), macd_lead(prices, 12, 26, 9)):
        assert values.shape == prices.shape
        assert np.isnan(values).all()
    for values in (rsi(prices, 33), zscore(prices, 34), deviation(prices, 34), past_change(prices, 33, 3)):
        assert values.shape == prices.shape
        assert np.isnan(values).all()
