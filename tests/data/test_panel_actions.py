"""Splits and dividends in a panel: what strategies see has no jump that is no move, and nothing known later."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_actions import acted_bars, acted_panel, with_actions
from random_panels import random_panel

from trading_core.data import HybridDataNormalizer
from trading_core.data.adjusting import adjusted
from trading_core.data.guarded import guarded
from trading_core.data.panel import FIELDS
from trading_core.data.quality import quality_of
from trading_core.data.sources import BadBarsError
from trading_core.strategies import MacdTrend, SmaCross, check_causal
from trading_core.strategies.sizing import History
from trading_core.strategies.strategy import checked_signals

seeds = st.integers(0, 10_000)


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_a_panel_carries_what_its_bars_tell(seed):
    bars = acted_bars(seed)
    panel = HybridDataNormalizer().normalize(bars)
    for column, symbol in enumerate(panel.symbols):
        own, rows = bars[symbol], panel.days.isin(bars[symbol].index[1:])
        for name, none in (("split", 1.0), ("dividend", 0.0)):
            told = panel.actions[name][:, column]
            np.testing.assert_array_equal(told[rows], own[name].to_numpy()[1:])
            assert (told[~rows] == none).all()


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_adjusted_prices_are_those_of_the_store(seed):
    bars = acted_bars(seed)
    panel = HybridDataNormalizer().normalize(bars)
    for symbol, own in bars.items():
        wanted = adjusted(own, how="total")
        pd.testing.assert_frame_equal(panel.adjusted.own(symbol), wanted, check_freq=False, rtol=1e-12)


@settings(max_examples=10, deadline=None)
@given(seeds, st.integers(1, 100))
def test_nothing_known_later_changes_an_earlier_day(seed, row):
    panel = HybridDataNormalizer().normalize(acted_bars(seed))
    cut = panel.until(panel.days[row])
    for field in FIELDS:
        np.testing.assert_array_equal(cut.adjusted.arrays[field], panel.adjusted.arrays[field][: row + 1])
    for strategy in (SmaCross(3, 9), MacdTrend()):
        now, then = checked_signals(strategy, cut), checked_signals(strategy, panel)[: row + 1]
        pd.testing.assert_frame_equal(now, then, check_freq=False)


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_cut_bars_make_the_cut_panel(seed):
    bars = acted_bars(seed)
    panel = HybridDataNormalizer().normalize(bars)
    day = panel.days[60]
    shorter = {symbol: own[:day] for symbol, own in bars.items() if len(own[:day])}
    assume(max(own.index[-1] for own in shorter.values()) == day)
    assert HybridDataNormalizer().normalize(shorter).sha256 == panel.until(day).select(shorter).sha256


def test_a_strategy_sees_no_split():
    plain = random_panel(5)
    halved = with_actions(plain, {(70, "E1"): (2.0, 0.0), (90, "E2"): (0.1, 0.0)}, prices=True)
    assert halved.actions is not None
    for strategy in (SmaCross(3, 9), MacdTrend()):
        pd.testing.assert_frame_equal(checked_signals(strategy, halved), checked_signals(strategy, plain))
    seen = History.of(halved, 100)
    np.testing.assert_allclose(seen.close, plain.arrays["close"][:101], rtol=1e-12)


def test_a_strategy_on_raw_prices_is_causal():
    assert check_causal(
        SmaCross(3, 9), acted_panel(3, prices=True).select(["C7/USD", "E1", "E2"]).until("2024-01-15")
    ).ok


def test_without_actions_nothing_is_made():
    panel = random_panel(1)
    assert panel.actions is None
    assert panel.adjusted is panel
    neutral = replace(panel, actions={"split": np.ones(panel.shape), "dividend": np.zeros(panel.shape)})
    assert neutral.actions is None
    assert neutral.sha256 == panel.sha256


def test_actions_survive_a_pickle_a_selection_and_a_round_trip():
    panel = HybridDataNormalizer().normalize(acted_bars(11))
    assert pickle.loads(pickle.dumps(panel)).sha256 == panel.sha256
    again = HybridDataNormalizer().normalize({symbol: panel.own(symbol) for symbol in panel.symbols})
    assert again.sha256 == panel.sha256
    assert panel.select(panel.symbols).sha256 == panel.sha256
    with pytest.raises(ValueError, match="read-only"):
        panel.actions["split"][0, 0] = 2.0


def test_a_dividend_larger_than_the_price_is_refused():
    bars = acted_bars(2)
    own = bars["E1"].copy()
    own.iloc[5, own.columns.get_loc("dividend")] = 1e6
    with pytest.raises(BadBarsError, match=r"E1, .*: a dividend of .* arrived, but the close before is worth"):
        HybridDataNormalizer().normalize({**bars, "E1": own})


def test_a_split_that_the_price_knows_nothing_of_is_not_booked():
    days = pd.bdate_range("2024-01-02", periods=80, tz="UTC")
    close = 100 + np.sin(np.arange(80) / 5)
    bars = pd.DataFrame({"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 1e6}, days)
    bars = bars.assign(split=1.0, dividend=0.0)
    bars.loc[days[40], "split"] = 4.0
    panel = HybridDataNormalizer().normalize({"ACME": bars, "OTHER": bars.assign(split=1.0)})
    findings = quality_of({"ACME": bars})
    assert [f.rule for f in findings if f.severity == "fatal" and f.rule != "holiday"] == ["split_twice"]
    safe = guarded(panel, findings)
    assert safe.actions is None
    assert list(safe.barred) == ["ACME"]
