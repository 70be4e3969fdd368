"""EquityReversal and CryptoReversal against plain re-tellings of their rules."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st
from random_panels import panels, random_bars, random_panel

from trading_core.data import HybridDataNormalizer, SimulatedBars, load_panel
from trading_core.model import AssetClass, ExitRules
from trading_core.sessions import sessions
from trading_core.strategies import (
    CryptoReversal,
    EqualWeight,
    EquityReversal,
    ParameterError,
    SmaCross,
    checked_signals,
)
from trading_core.strategies.reversal import last_sessions
from trading_core.strategies.strategy import explain


def told_again(panel, lookback, lowest):
    "EquityReversal, day by day and stock by stock."
    equities = [s for s in panel.symbols if panel.assets[s].asset_class is AssetClass.EQUITY]
    trading = sessions("XNYS", panel.first, panel.last + pd.Timedelta(days=10))
    table = pd.DataFrame(np.nan, panel.days, list(panel.symbols))
    for day in panel.days:
        later = trading[trading > day]
        if day not in trading or later[0].isocalendar()[:2] == day.isocalendar()[:2]:
            continue
        returns = []
        for symbol in equities:
            own = panel.own(symbol)["close"][:day]
            if len(own) > lookback and own.index[-1] == day:
                returns.append((own.iloc[-1] / own.iloc[-1 - lookback] - 1, symbol))
        chosen = sorted(returns)[: math.ceil(round(lowest * len(returns), 6))]
        for one in returns:
            table.loc[day, one[1]] = float(one in chosen)
    return table


@settings(max_examples=8, deadline=None)
@given(panels, st.sampled_from([1, 3, 5]), st.sampled_from([0.1, 0.25, 0.5]))
def test_equity_reversal_is_what_its_rule_says(panel, lookback, lowest):
    got = checked_signals(EquityReversal(lookback=lookback, lowest=lowest), panel)
    pd.testing.assert_frame_equal(got, told_again(panel, lookback, lowest), check_freq=False)


@settings(max_examples=8, deadline=None)
@given(panels, st.sampled_from([0.01, 0.02, 0.05]), st.sampled_from([15.0, 25.0, 60.0]))
def test_crypto_reversal_is_what_its_rule_says(panel, drop, max_adx):
    got = checked_signals(CryptoReversal(drop=drop, max_adx=max_adx), panel)
    for symbol in panel.symbols:
        own = panel.own(symbol)
        trend = talib.ADX(own["high"].to_numpy(), own["low"].to_numpy(), own["close"].to_numpy(), 14)
        fallen = own["close"] <= own["close"].shift() * (1 - drop) * (1 + 1e-9)
        wanted = fallen & (trend < max_adx) & (panel.assets[symbol].asset_class is AssetClass.CRYPTO)
        expected = pd.Series(1.0, own.index).where(wanted).reindex(panel.days)
        pd.testing.assert_series_equal(got[symbol], expected, check_names=False, check_freq=False)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "strategy", [EquityReversal(), CryptoReversal(max_adx=60, drop=0.01), SmaCross(fast=3, slow=10)]
)
def test_no_day_of_history_changes_when_later_days_arrive(strategy, seed):
    panel = random_panel(seed, end="2024-01-31")
    whole = checked_signals(strategy, panel)
    for day in panel.days:
        then = checked_signals(strategy, panel.until(day))
        pd.testing.assert_frame_equal(then, whole.loc[:day], check_freq=False)


@pytest.mark.parametrize(
    "strategy",
    [EquityReversal(lookback=4), CryptoReversal(max_adx=100, drop=0.001, period=5), SmaCross(fast=3, slow=9)],
)
def test_the_warm_up_rows_are_nan_and_not_one_more(strategy):
    days = pd.date_range("2024-01-01", periods=400, tz="UTC")
    rng = np.random.default_rng(0)
    bars = {"A": random_bars(rng, sessions("XNYS", days[0], days[-1])), "B/USD": random_bars(rng, days)}
    panel = HybridDataNormalizer().normalize(bars)
    for symbol in panel.symbols:
        if strategy.covers(panel.assets[symbol]):
            values = [table.loc[panel.observed[symbol], symbol] for table in strategy.indicators(panel).values()]
            known = pd.concat(values, axis=1).notna().all(axis=1).to_numpy()
            assert known.argmax() == strategy.warmup
            assert checked_signals(strategy, panel)[symbol][panel.observed[symbol]].iloc[: strategy.warmup].isna().all()


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2024-03-25", "2024-03-31", ["2024-03-28"]),  # Good Friday
        ("2020-12-21", "2020-12-27", ["2020-12-24"]),  # Christmas on a Friday
        ("2023-11-20", "2023-11-26", ["2023-11-24"]),  # the short Friday after Thanksgiving is a session
        ("2021-12-27", "2022-01-09", ["2021-12-31", "2022-01-07"]),
        ("2024-01-06", "2024-01-07", []),  # a weekend
        ("2024-01-05", "2024-01-05", ["2024-01-05"]),
        ("2024-01-04", "2024-01-04", []),
    ],
)
def test_a_week_ends_with_its_last_session(start, end, expected):
    assert list(last_sessions("XNYS", start, end).strftime("%Y-%m-%d")) == expected


def test_round_the_clock_a_week_ends_on_sunday():
    assert set(last_sessions("24/7", "2024-01-01", "2024-06-30").day_of_week) == {6}


def test_a_halt_on_the_weeks_last_session_means_no_opinion_that_week():
    days = sessions("XNYS", "2024-01-02", "2024-02-02")
    rng = np.random.default_rng(1)
    bars = {name: random_bars(rng, days) for name in "ABC"}
    bars["B"] = bars["B"].drop(pd.Timestamp("2024-01-19", tz="UTC"))
    panel = HybridDataNormalizer().normalize(bars)
    got = checked_signals(EquityReversal(), panel).dropna(how="all")
    assert got.loc[pd.Timestamp("2024-01-19", tz="UTC")].isna().tolist() == [False, True, False]
    assert got.loc[pd.Timestamp("2024-01-26", tz="UTC")].notna().all()
    assert len(got) == 4


def test_a_late_listing_is_not_ranked_before_it_has_enough_bars():
    days = sessions("XNYS", "2024-01-02", "2024-02-02")
    rng = np.random.default_rng(1)
    late = days[days >= "2024-01-16"]
    bars = {"A": random_bars(rng, days), "LATE": random_bars(rng, late)}
    got = checked_signals(EquityReversal(), HybridDataNormalizer().normalize(bars))
    assert list(got["LATE"].dropna().index.strftime("%m-%d")) == ["01-26", "02-02"]


def test_one_equity_alone_is_the_lowest_tenth():
    days = sessions("XNYS", "2024-01-02", "2024-02-02")
    got = checked_signals(
        EquityReversal(), HybridDataNormalizer().normalize({"A": random_bars(np.random.default_rng(2), days)})
    )
    assert set(got["A"].dropna()) == {1.0}


def test_a_panel_without_its_class_gets_no_opinion():
    panel = random_panel(7)
    coins = panel.select([s for s in panel.symbols if "/" in s])
    assert checked_signals(EquityReversal(), coins).isna().all(axis=None)
    assert checked_signals(CryptoReversal(), panel.select(["E0", "E1"])).isna().all(axis=None)


def test_defaults_are_those_of_the_semantics():
    equity, crypto = EquityReversal(), CryptoReversal()
    assert (equity.lookback, equity.lowest) == (5, 0.10)
    assert (crypto.max_adx, crypto.drop, crypto.period) == (25.0, 0.02, 14)
    assert equity.exits == crypto.exits == ExitRules(stop_loss=0.05, time_stop=5)
    assert (equity.sizer, crypto.sizer) == (EqualWeight(), EqualWeight(max_weight=0.10))


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (EquityReversal, {"lookback": 0}),
        (EquityReversal, {"lookback": 2.5}),
        (EquityReversal, {"lowest": 0}),
        (EquityReversal, {"lowest": 10}),
        (EquityReversal, {"stop_loss": 5}),
        (EquityReversal, {"time_stop": 0}),
        (CryptoReversal, {"drop": -0.02}),
        (CryptoReversal, {"drop": "2 %"}),
        (CryptoReversal, {"max_adx": 0}),
        (CryptoReversal, {"max_adx": 101}),
        (CryptoReversal, {"max_adx": None}),
        (CryptoReversal, {"period": 1}),
        (SmaCross, {"fast": 50}),
        (SmaCross, {"fast": 60, "slow": 50}),
        (SmaCross, {"slow": 0}),
        (SmaCross, {"fast": -3}),
    ],
)
def test_parameters_without_sense_are_refused_by_name(kind, wrong):
    with pytest.raises(ParameterError, match=rf"^{kind.__name__}\.(\w+) needs .*, but got"):
        kind(**wrong)


@settings(max_examples=6, deadline=None)
@given(panels, st.sampled_from([(1, 2), (5, 20), (20, 50)]))
def test_sma_cross_is_what_its_rule_says(panel, periods):
    got = checked_signals(SmaCross(*periods), panel)
    for symbol in panel.symbols:
        own = panel.own(symbol)["close"]
        fast, slow = (own.rolling(period).mean() for period in periods)
        expected = (fast > slow * (1 + 1e-12)).astype(float).where(slow.notna()).reindex(panel.days)
        clear = ~(abs(fast / slow - 1) < 1e-9).reindex(panel.days, fill_value=False)
        pd.testing.assert_series_equal(got[symbol][clear], expected[clear], check_names=False, check_freq=False)


def test_reasons_read_as_sentences():
    equity, crypto = EquityReversal(), CryptoReversal()
    first = {"return": -0.077, "rank": 1.0, "ranked": 59.0}
    assert equity.why("AAPL", first) == "rank 1 of 59 by 5-day return (−7.7 %)"
    middle = {"return": 0.003, "rank": 28.0, "ranked": 59.0}
    assert equity.why("AAPL", middle) == "rank 28 of 59 by 5-day return (+0.3 %), not among the lowest 6"
    unknown = dict.fromkeys(first, float("nan"))
    assert equity.why("AAPL", unknown) == "not ranked, fewer than 6 bars"
    assert crypto.why("BTC/USD", {"return": -0.027, "adx": 12.0}) == "−2.7 % in a day (≤ −2 %) with ADX 12.0 (< 25)"
    assert crypto.why("BTC/USD", {"return": -0.017, "adx": 24.7}) == "−1.7 % in a day, not yet −2 %; ADX 24.7"
    assert crypto.why("BTC/USD", {"return": -0.017, "adx": float("nan")}) == "no ADX yet, fewer than 28 bars"


def read_real(folder, name, suffix=""):
    table = pd.read_csv(folder / name)
    table.index = pd.to_datetime(table.pop("date"), utc=True)
    fields = ["open", "high", "low", "close", "volume"]
    return {f"{symbol}{suffix}": bars[fields] for symbol, bars in table.groupby("symbol")}


@pytest.mark.realdata
def test_on_real_data_the_signals_agree_with_the_plain_rule(real_data):
    bars = read_real(real_data, "equities_daily.csv.gz") | read_real(real_data, "crypto_daily.csv.gz", "/USD")
    panel = HybridDataNormalizer().normalize(bars)
    recent = panel.until("2013-04-12")
    pd.testing.assert_frame_equal(
        checked_signals(EquityReversal(), recent), told_again(recent, 5, 0.1), check_freq=False
    )


def test_an_explanation_names_the_bars_that_it_is_about():
    market = SimulatedBars(today="2024-07-06")
    told = {}
    for interval in ("1d", "1h"):
        panel = load_panel(market, ["AXOR", "BTC/USD"], "2024-05-01", "2024-07-05", interval=interval)
        panel = panel.until(pd.Timestamp("2024-07-05", tz="UTC") if interval == "1d" else "2024-07-05T20:00")
        told[interval] = [explain(CryptoReversal(), panel)["BTC/USD"], explain(EquityReversal(), panel)["AXOR"]]
    assert "% in a day" in told["1d"][0]
    assert "by 5-day return" in told["1d"][1]
    assert "% in a bar" in told["1h"][0]
    assert "by 5-bar return" in told["1h"][1]
    assert CryptoReversal().why("BTC/USD", {"return": -0.027, "adx": 12.0}).startswith("−2.7 % in a day")
