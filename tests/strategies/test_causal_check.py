"""check_causal: every kind of look-ahead is caught, honest strategies pass."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from random_panels import random_panel

from trading_core.strategies import CryptoReversal, EquityReversal, SmaCross, Strategy, check_causal
from trading_core.strategies.causal import cut_days


@pytest.fixture(scope="module", params=[(7, 3), (7, 0), (0, 4)], ids=["mixed", "equities", "coins"])
def panel(request):
    equities, coins = request.param
    return random_panel(4, equities, coins)


class OneAhead(Strategy):
    def signals(self, panel):
        return (panel.close.shift(-1) > panel.close).astype(float).where(panel.observed)


class FiveAhead(Strategy):
    def signals(self, panel):
        return (panel.close.shift(-5) > panel.close).astype(float).where(panel.observed)


class WholeMean(Strategy):
    def signals(self, panel):
        return (panel.close < panel.close.mean()).astype(float).where(panel.observed)


class Backfilled(Strategy):
    def signals(self, panel):
        return panel.close.where(panel.observed).rolling(20).mean().bfill().gt(40).astype(float)


class KnowsTheEnd(Strategy):
    "Wants only what still trades on the last day."

    def signals(self, panel):
        alive = panel.observed.iloc[-3:].any()
        return panel.observed.astype(float).where(panel.observed).mul(alive.astype(float), axis=1)


class DataWeek(Strategy):
    def signals(self, panel):
        week = panel.days.tz_localize(None).to_period("W")
        last = ~week.duplicated(keep="last")
        return panel.observed.astype(float).where(panel.observed & last[:, None])


@pytest.mark.parametrize("leak", [OneAhead(), FiveAhead(), WholeMean(), DataWeek()])
def test_every_planted_leak_is_caught_with_a_day_and_a_symbol(leak, panel):
    report = check_causal(leak, panel)
    assert not report.ok
    day, symbol = report.first_leak
    assert day in panel.days
    assert symbol in panel.symbols
    assert report.changed > 0
    assert str(report).startswith(f"{leak.name} looks ahead: for {symbol} on {day:%Y-%m-%d}")
    assert "✗" in report._repr_html_()


@pytest.mark.parametrize("leak", [Backfilled(), KnowsTheEnd()])
def test_leaks_through_filling_and_survivorship_are_caught(leak):
    assert not check_causal(leak, random_panel(0)).ok


@pytest.mark.parametrize("strategy", [EquityReversal(), CryptoReversal(max_adx=60), SmaCross(fast=3, slow=10)])
def test_the_packages_own_strategies_pass(strategy, panel):
    report = check_causal(strategy, panel)
    assert report.ok
    assert report.first_leak is None
    assert report.changed == 0
    assert len(report.days) == 20


def test_the_first_leak_is_the_earliest_answer_that_changes():
    panel = random_panel(6, 4, 0)
    turn = panel.days[60]

    class FromThen(Strategy):
        "Peeks from one day on."

        def signals(self, panel):
            honest = panel.observed.astype(float).where(panel.observed)
            peeks = pd.DataFrame((panel.close.shift(-1) > panel.close).to_numpy(), panel.days, honest.columns)
            return honest.where(panel.observed & (panel.days < turn)[:, None], peeks.astype(float))

    report = check_causal(FromThen(), panel, days=500)
    assert not report.ok
    assert report.first_leak[0] >= turn
    for day in panel.days[60 : panel.days.get_loc(report.first_leak[0])]:
        then = FromThen().signals(panel.until(day)).where(panel.observed).loc[day]
        now = FromThen().signals(panel).where(panel.observed).loc[day]
        assert then.equals(now)


def test_a_strategy_without_any_opinion_is_told_so():
    class Silent(Strategy):
        def signals(self, panel):
            return panel.close * np.nan

    report = check_causal(Silent(), random_panel(1))
    assert report.ok
    assert "no opinion on any day" in str(report)


@pytest.mark.parametrize("days", [1, 2, 7, 20, 500])
def test_cuts_are_inside_the_panel_different_and_as_many_as_asked(days):
    index = pd.date_range("2024-01-01", periods=100, tz="UTC")
    signals = pd.DataFrame({"A": np.where(np.arange(100) % 7 == 5, 1.0, np.nan)}, index)
    cuts = cut_days(signals, days)
    assert len(cuts) == min(days, 94)
    assert cuts.is_unique
    assert cuts.min() >= index[5]
    assert cuts.max() < index[-1]


def test_quiet_days_are_not_all_the_same_day_of_the_week():
    index = pd.date_range("2023-01-01", periods=800, tz="UTC")
    signals = pd.DataFrame({"A": np.where(index.day_of_week == 4, 1.0, np.nan)}, index)
    cuts = cut_days(signals, 20)
    assert (cuts.day_of_week == 4).sum() == 10
    assert cuts[cuts.day_of_week != 4].day_of_week.nunique() >= 4
