"""SmaCross, MacdTrend, Momentum, RsiReversion and MeanReversion: the contract, causality, and slow second opinions."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_panels import panels, random_bars, random_panel

from trading_core.data import HybridDataNormalizer
from trading_core.model import ExitRules
from trading_core.sessions import sessions
from trading_core.strategies import (
    MacdTrend,
    MeanReversion,
    Momentum,
    ParameterError,
    RsiReversion,
    SmaCross,
    check_causal,
    checked_signals,
    explain,
    load_strategy,
)
from trading_core.strategies.momentum import month_ends

ALONE = [  # what an asset gets depends on that asset alone
    SmaCross(3, 10),
    MacdTrend(3, 8, 4),
    Momentum(20, 5),
    Momentum(12, 0, every="day"),
    Momentum(15, 3, every="week"),
    RsiReversion(5, 35, 55),
    MeanReversion(8, 1.2, 0.1),
]
RANKED = [Momentum(15, 3, top=0.3, every="week"), Momentum(20, 0, top=0.5), Momentum(10, 1, top=0.2, every="day")]
EVERY = ALONE + RANKED


def named(strategy):
    return f"{strategy.name}-{strategy.parameters.get('every', '')}-{strategy.parameters.get('top', '')}".strip("-")


every = pytest.mark.parametrize("strategy", EVERY, ids=map(named, EVERY))


@every
@pytest.mark.parametrize("seed", [7])
@pytest.mark.parametrize(("equities", "coins"), [(7, 3), (4, 0), (0, 3)])
def test_no_answer_changes_when_the_future_is_hidden(strategy, seed, equities, coins):
    assert check_causal(strategy, random_panel(seed, equities, coins), seconds=2).ok


@every
def test_the_past_is_the_same_to_the_last_bit(strategy):
    panel = random_panel(13)
    whole = checked_signals(strategy, panel)
    for row in (25, 60, 61, 62, 63, 64, 65, 66, 120):
        then = checked_signals(strategy, panel.until(panel.days[row]))
        np.testing.assert_array_equal(then.to_numpy(), whole.to_numpy()[: row + 1])


@every
def test_signals_are_one_zero_or_no_opinion_and_none_without_a_bar(strategy):
    for seed in range(4):
        panel = random_panel(seed)
        given = strategy.signals(panel).to_numpy()
        assert set(np.unique(given[~np.isnan(given)])) == {0.0, 1.0}
        assert np.isnan(given[~panel.real]).all()


@every
def test_there_is_no_opinion_in_the_warm_up_and_soon_one_after_it(strategy):
    panel = random_panel(17)
    values = strategy.signals(panel)
    for symbol in panel.symbols:
        own = values[symbol][panel.observed[symbol]]
        assert own.iloc[: strategy.warmup].isna().all()
        assert own.size < strategy.warmup + 45 or own.iloc[strategy.warmup :].notna().any()


@pytest.mark.parametrize("strategy", ALONE, ids=map(named, ALONE))
def test_an_asset_alone_gets_the_same_answer_as_in_company(strategy):
    panel = random_panel(3)
    together = checked_signals(strategy, panel)
    for symbol in panel.symbols:
        own = panel.own(symbol)
        alone = checked_signals(strategy, HybridDataNormalizer().normalize({symbol: own}))[symbol]
        np.testing.assert_array_equal(alone[own.index], together[symbol][own.index])


@every
def test_a_short_history_gives_no_opinion_and_no_error(strategy):
    days = sessions("24/7", "2024-01-01", "2024-01-05")
    for bars in range(1, 6):
        panel = HybridDataNormalizer().normalize({"X/USD": random_bars(np.random.default_rng(0), days[:bars])})
        assert checked_signals(strategy, panel).isna().all(axis=None)
        assert "X/USD" in explain(strategy, panel)


@every
def test_a_price_that_never_moves_is_never_wanted_by_a_rule_of_its_own(strategy):
    days = sessions("24/7", "2024-01-01", "2024-06-30")
    still = pd.DataFrame({"open": 10.1, "high": 10.1, "low": 10.1, "close": 10.1, "volume": 1.0}, days)
    panel = HybridDataNormalizer().normalize({"PEG/USD": still})
    if strategy.parameters.get("top") is None:
        assert not (checked_signals(strategy, panel) > 0).any(axis=None)


@every
def test_a_phrase_agrees_with_the_signal(strategy):
    for seed in (2, 8):
        panel = random_panel(seed)
        decided = checked_signals(strategy, panel)
        for day in strategy.decision_days(panel, panel.days[50], panel.last)[::3]:
            for symbol, phrase in explain(strategy, panel, day).items():
                assert isinstance(phrase, str)
                assert phrase
                no = any(word in phrase for word in ("not ", "no ", "above 55", "back", "stays"))
                if decided.loc[day, symbol] == 1:
                    assert not no, phrase
                elif decided.loc[day, symbol] == 0:
                    assert no, phrase


@every
def test_equal_strategies_are_equal_hashable_and_survive_pickling(strategy):
    again = pickle.loads(pickle.dumps(strategy))
    assert again == strategy
    assert hash(again) == hash(strategy)
    text = {name: "" if value is None else str(value) for name, value in strategy.parameters.items()}
    assert load_strategy(strategy.name, **text) == strategy


@pytest.mark.parametrize("name", ["MacdTrend", "Momentum", "RsiReversion", "MeanReversion"])
def test_exits_are_parameters_and_none_by_default(name):
    assert load_strategy(name).exits == ExitRules()
    stopped = load_strategy(name, stop_loss="0.05", trailing_stop="0.1", time_stop="7")
    assert stopped.exits == ExitRules(stop_loss=0.05, trailing_stop=0.1, time_stop=7)
    for wrong in ({"stop_loss": 5}, {"trailing_stop": 0}, {"time_stop": 0}, {"time_stop": 2.5}):
        with pytest.raises(ParameterError, match=rf"^{name}\.{next(iter(wrong))} needs"):
            load_strategy(name, **wrong)


@pytest.mark.parametrize(
    ("name", "wrong", "said"),
    [
        ("MacdTrend", {"fast": 26}, "fewer bars than slow, which is 26"),
        ("MacdTrend", {"fast": 1}, "2 or more"),
        ("MacdTrend", {"signal": 1}, "2 or more"),
        ("Momentum", {"skip": 252}, "fewer bars than lookback, which is 252"),
        ("Momentum", {"skip": -1}, "0 or more"),
        ("Momentum", {"top": 10}, r"write 0\.1"),
        ("Momentum", {"top": 0.0}, "between 0 and 1"),
        ("Momentum", {"every": "year"}, "day, week or month"),
        ("Momentum", {"lookback": "a year"}, "a whole number"),
        ("RsiReversion", {"low": 60.0}, "up to leave, which is 50"),
        ("RsiReversion", {"low": float("nan")}, "above 0 and below 100"),
        ("RsiReversion", {"leave": 100}, "above 0 and below 100"),
        ("RsiReversion", {"period": 1}, "2 or more"),
        ("MeanReversion", {"entry": 4.5}, r"below 4\.36"),
        ("MeanReversion", {"entry": float("nan")}, r"below 4\.36"),
        ("MeanReversion", {"entry": -1.0}, "above 0"),
        ("MeanReversion", {"leave": 2.0}, r"above leave \(2\)"),
        ("MeanReversion", {"period": 2}, "3 or more"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused_by_name(name, wrong, said):
    with pytest.raises(ParameterError, match=said) as refused:
        load_strategy(name, **wrong)
    assert str(refused.value).startswith(f"{name}.")
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def ema(values, period):
    line = [sum(values[:period]) / period]
    for value in values[period:]:
        line.append(line[-1] + 2 / (period + 1) * (value - line[-1]))
    return line


@settings(max_examples=10, deadline=None)
@given(panels, st.integers(2, 8), st.integers(1, 12), st.integers(2, 8))
def test_macd_agrees_with_appels_rule_by_hand(panel, fast, more, signal):
    slow = fast + more
    strategy = MacdTrend(fast, slow, signal)
    signals = checked_signals(strategy, panel)
    for symbol in panel.symbols:
        close = panel.own(symbol)["close"].tolist()
        if len(close) <= strategy.warmup:
            continue
        line = [a - b for a, b in zip(ema(close[slow - fast :], fast), ema(close, slow), strict=True)]
        lead = np.array(line[signal - 1 :]) - np.array(ema(line, signal))
        got = signals[symbol][panel.observed[symbol]].iloc[strategy.warmup :].to_numpy()
        clear = np.abs(lead) > 1e-9
        assert (got[clear] == (lead[clear] > 0)).all()


@settings(max_examples=10, deadline=None)
@given(panels, st.integers(2, 10), st.integers(20, 45), st.integers(50, 80))
def test_rsi_agrees_with_wilders_rule_by_hand(panel, period, low, leave):
    strategy = RsiReversion(period, low, leave)
    signals = checked_signals(strategy, panel)
    for symbol in panel.symbols:
        moves = panel.own(symbol)["close"].diff().dropna().tolist()
        got = signals[symbol][panel.observed[symbol]].tolist()
        gain = loss = 0.0
        for bar, move in enumerate(moves, start=1):
            weight = period if bar > period else 1
            gain = gain * (period - 1) / period + max(move, 0) / period if weight > 1 else gain + max(move, 0) / period
            loss = (
                loss * (period - 1) / period + max(-move, 0) / period if weight > 1 else loss + max(-move, 0) / period
            )
            if bar < period or gain + loss == 0:
                continue
            index = 100 * gain / (gain + loss)
            if min(abs(index - low), abs(index - leave)) > 1e-6:
                expected = 1.0 if index < low else 0.0 if index > leave else None
                assert got[bar] == expected or (expected is None and math.isnan(got[bar]))


@settings(max_examples=10, deadline=None)
@given(panels, st.integers(4, 20), st.floats(0.5, 1.6), st.floats(-0.5, 0.4))
def test_mean_reversion_agrees_with_bollingers_bands_by_pandas(panel, period, entry, leave):
    signals = checked_signals(MeanReversion(period, entry, leave), panel)
    for symbol in panel.symbols:
        close = panel.own(symbol)["close"]
        mean, spread = close.rolling(period).mean(), close.rolling(period).std(ddof=0)
        got = signals[symbol][close.index]
        below, back = close < mean - entry * spread, close > mean - leave * spread
        near = ((close - mean) / spread + entry).abs().lt(1e-6) | ((close - mean) / spread + leave).abs().lt(1e-6)
        sure = spread.gt(1e-6) & ~near
        expected = pd.Series(np.select([below, back], [1.0, 0.0], np.nan), close.index)
        np.testing.assert_array_equal(got[sure], expected[sure])


@settings(max_examples=6, deadline=None)
@given(panels, st.integers(5, 30), st.integers(0, 4), st.sampled_from([0.1, 0.25, 0.5]))
def test_ranked_momentum_agrees_with_sorting_by_hand(panel, lookback, skip, top):
    strategy = Momentum(lookback, skip, top=top, every="week")
    signals = checked_signals(strategy, panel)
    for calendar in ("XNYS", "24/7"):
        same = [symbol for symbol in panel.symbols if panel.assets[symbol].calendar == calendar]
        decided = set(strategy.calendar_days(calendar, panel.first, panel.last))
        for day in panel.days[20::4]:
            past = {}
            for symbol in same:
                close = panel.own(symbol)["close"][:day]
                if len(close) > lookback and close.index[-1] == day:
                    past[symbol] = close.iloc[-1 - skip] / close.iloc[-1 - lookback] - 1
            first = sorted(past, key=lambda symbol: (-past[symbol], symbol))[: math.ceil(top * len(past) - 1e-9)]
            expected = {symbol: float(symbol in first) for symbol in past} if day in decided else {}
            assert signals.loc[day, same].dropna().to_dict() == expected


def test_months_end_on_their_last_session_whatever_the_data_say():
    for calendar in ("XNYS", "24/7"):
        whole = sessions(calendar, "2023-01-01", "2024-12-31")
        expected = [days[-1] for _, days in whole.groupby(12 * whole.year + whole.month).items()]
        assert list(month_ends(calendar, "2023-01-01", "2024-12-31")) == expected
        for last in ("2023-05-30", "2023-05-31", "2024-03-28", "2024-03-29", "2024-02-28"):
            cut = [day for day in expected if day <= pd.Timestamp(last, tz="UTC")]
            assert list(month_ends(calendar, "2023-01-01", last)) == cut


def test_momentum_says_when_it_decides_next():
    panel = random_panel(0)
    assert Momentum().next_decision(panel, "2024-03-20") == pd.Timestamp("2024-03-28", tz="UTC")
    assert Momentum(every="week").is_decision_day(panel, "2024-03-28")
