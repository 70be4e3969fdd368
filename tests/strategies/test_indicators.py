"""Indicators on an asset's own bars."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_panels import panels, random_panel

from trading_core.strategies.indicators import adx, change, on_own_bars, rank_rows, sma


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
