"""check_causal: every kind of look-ahead is caught at whatever day it happens, honest strategies pass."""

from __future__ import annotations

import functools
import multiprocessing
import sys
from dataclasses import dataclass
from time import process_time
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from random_panels import panels, random_panel

from trading_core.strategies import (
    CausalReport,
    CryptoReversal,
    EqualWeight,
    EquityReversal,
    InverseVolatility,
    SmaCross,
    Strategy,
    check_causal,
    check_sizer,
    strategy,
    with_sizer,
)
from trading_core.strategies import causal_search as search
from trading_core.strategies.futures import FeatureError, Futures, SubjectError, cut_order, question_of
from trading_core.strategies.indicators import on_own_bars


def wide(seed: int = 4, days: str = "2024-04-30"):
    "A random panel whose volumes differ from day to day."
    panel = random_panel(seed, 5, 3, end=days)
    volume = panel.arrays["volume"] * np.exp(np.random.default_rng(seed).normal(0, 0.4, panel.shape))
    return type(panel)(panel.days, panel.symbols, panel.assets, dict(panel.arrays) | {"volume": volume}, panel.real)


@pytest.fixture(scope="module", params=[(7, 3), (7, 0), (0, 4)], ids=["mixed", "equities", "coins"])
def panel(request):
    equities, coins = request.param
    return random_panel(4, equities, coins)


@dataclass(frozen=True)
class Says(Strategy):
    "Whatever a function of the panel says."

    rule: object

    def signals(self, panel):
        return self.rule(panel)


class LearnsAll(Strategy):
    def fit(self, panel):
        self.level = panel.close.median()

    def signals(self, panel):
        return (panel.close < self.level).astype(float)


def _week_with_the_data(panel):
    week = panel.days.tz_localize(None).to_period("W")
    last = ~week.duplicated(keep="last")
    return panel.observed.astype(float).where(panel.observed & last[:, None])


def _last_day(panel):
    honest = (panel.close > panel.close.shift()).astype(float)
    honest.loc[panel.days[-1]] = 1.0
    return honest


LEAKS = {
    "shift": lambda p: (p.close.shift(-1) > p.close).astype(float),
    "five ahead": lambda p: (p.close.shift(-5) > p.close).astype(float),
    "z-score": lambda p: ((p.close - p.close.mean()) / p.close.std() < -0.5).astype(float),
    "mean": lambda p: (p.close < p.close.mean()).astype(float),
    "centred": lambda p: (p.close < p.close.rolling(9, center=True).mean()).astype(float),
    "bfill": lambda p: (p.close.where(p.observed).rolling(20, min_periods=5).mean().bfill() < p.close).astype(float),
    "resampled left": lambda p: (
        (p.close.resample("W-MON", label="left", closed="left").last().pct_change() > 0)
        .reindex(p.days, method="ffill")
        .astype(float)
    ),
    "next open": lambda p: (p.open.shift(-1) > p.close).astype(float),
    "rank over time": lambda p: (p.close.rank(pct=True) < 0.2).astype(float),
    "rank over rows filled from behind": lambda p: (
        p.close.where(p.observed).bfill().pct_change(2).bfill().rank(axis=1) <= 2
    ).astype(float),
    "next volume": lambda p: (p.volume.shift(-1) > p.volume).astype(float),
    "min-max": lambda p: ((p.close - p.close.min()) / (p.close.max() - p.close.min())).clip(0, 1),
    "who survives": lambda p: p.observed.astype(float).mul(p.observed.iloc[-3:].any().astype(float), axis=1),
    "week ends with the data": _week_with_the_data,
    "last day": _last_day,
    "next mask": lambda p: p.observed.shift(-1, fill_value=True).astype(float),
    "behind the array": lambda p: pd.DataFrame(
        (p.arrays["close"].base if p.arrays["close"].base is not None else p.arrays["close"]).mean(axis=0)
        > p.arrays["close"],
        p.days,
        list(p.symbols),
    ).astype(float),
}


@pytest.mark.parametrize("name", LEAKS)
def test_every_planted_leak_is_caught_with_a_day_and_a_symbol(name):
    panel = wide()
    report = check_causal(Says(LEAKS[name]), panel, seconds=120)
    assert not report.ok
    day, symbol = report.first_leak
    assert day in panel.days
    assert symbol in panel.symbols
    assert report.changed > 0
    assert str(report).startswith(f"Says looks ahead: for {symbol} on {day:%Y-%m-%d}")
    assert "✗" in report._repr_html_()


def test_a_model_that_was_fitted_on_all_data_is_caught():
    report = check_causal(LearnsAll(), wide(), seconds=120)
    assert not report.ok


def test_a_model_that_learns_as_it_goes_passes():
    class Learns(Strategy):
        def fit(self, panel):
            self.levels = panel.close.expanding().mean()

        def signals(self, panel):
            return (panel.close < self.levels).astype(float)

    report = check_causal(Learns(), wide(days="2024-01-31"), seconds=120)
    assert report.ok
    assert report.complete


@pytest.mark.parametrize("field", ["close", "open", "high", "low", "volume"])
@pytest.mark.parametrize("place", [0, 21, 44, -2])
def test_a_leak_on_a_single_day_is_caught_and_named(field, place):
    panel = wide(6, "2024-01-31")
    one = panel.days[place]

    def rule(seen):
        honest = (seen.close > seen.close.shift()).astype(float)
        if one in seen.days:
            table = getattr(seen, field)
            honest.loc[one] = (
                (table.shift(-1) > getattr(seen, "volume" if field == "volume" else "close")).loc[one].astype(float)
            )
        return honest

    report = check_causal(Says(rule), panel, seconds=120)
    assert not report.ok
    assert report.first_leak[0] == one


def test_a_leak_on_one_day_of_one_asset_alone_is_caught():
    panel = random_panel(2, 0, 1, end="2024-01-31")
    one = panel.days[50]

    def rule(seen):
        answer = seen.close * 0 + 0.5
        if one in seen.days and seen.days[-1] > one:
            answer.loc[one] = float(seen.close.shift(-1).loc[one].iloc[0] > seen.close.loc[one].iloc[0])
        elif one in seen.days:  # it notices the end, and says what it said with the real future
            real = panel.close["C0/USD"]
            answer.loc[one] = float(real.iloc[51] > real.iloc[50])
        return answer

    report = check_causal(Says(rule), panel, seconds=120)
    assert report.first_leak == (one, "C0/USD")
    assert "when later days are others" in str(report)


@pytest.mark.parametrize("idea", [EquityReversal(), CryptoReversal(max_adx=60), SmaCross(fast=3, slow=10)])
def test_the_packages_own_strategies_pass_on_every_day(idea, panel):
    report = check_causal(idea, panel, seconds=120)
    assert report.ok
    assert report.first_leak is None
    assert report.changed == 0
    assert report.complete
    assert len(report.days) == len(panel.days) - 1


@settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(panels)
def test_no_false_alarm_on_random_panels(panel):
    ideas = [
        EquityReversal(lowest=0.5),
        CryptoReversal(max_adx=60),
        with_sizer(SmaCross(3, 8), InverseVolatility(lookback=5)),
    ]
    for idea in ideas:
        report = check_causal(idea, panel, days=30, seconds=120)
        assert report.ok, report


def test_the_first_leak_is_the_earliest_day_that_has_one():
    panel = random_panel(6, 4, 0)
    turn = panel.days[60]

    def rule(seen):
        honest = seen.observed.astype(float).where(seen.observed)
        peeks = (seen.close.shift(-1) > seen.close).astype(float)
        return honest.where(seen.observed & (seen.days < turn)[:, None], peeks)

    report = check_causal(Says(rule), panel, seconds=120)
    assert not report.ok
    later = panel.days[60 : panel.days.get_loc(report.first_leak[0]) + 1]
    assert report.first_leak[0] >= turn
    assert len(later) <= 2


def test_a_strategy_without_any_opinion_is_told_so():
    report = check_causal(Says(lambda p: p.close * np.nan), random_panel(1), days=40)
    assert report.ok
    assert "no opinion on any day" in str(report)


def test_chance_without_a_seed_is_no_look_ahead_but_no_answer_either():
    report = check_causal(Says(lambda p: p.close * 0 + np.random.default_rng().random(p.shape)), random_panel(1))
    assert not report.ok
    assert "does not repeat itself" in str(report)


def test_an_answer_that_exists_only_with_the_future_is_a_leak_even_if_the_rest_raises():
    def rule(seen):
        if len(seen.days) < 100:
            raise RuntimeError("too short")
        return seen.observed.astype(float)

    panel = random_panel(1)
    report = check_causal(Says(rule), panel)
    assert not report.ok
    assert "raises RuntimeError: too short" in str(report)


@pytest.mark.parametrize("days", [1, 2, 7, 30])
def test_as_many_days_have_their_turn_as_asked(days):
    assert len(check_causal(SmaCross(3, 8), random_panel(3), days=days).days) == days


def test_thirty_days_have_their_turn_however_little_time_there_is():
    report = check_causal(SmaCross(3, 8), random_panel(3), seconds=0.0)
    assert len(report.days) == search.LEAST
    assert not report.complete
    assert f"checked at 30 of {report.possible} days" in str(report)


def test_a_panel_of_one_day_has_nothing_to_hide():
    panel = random_panel(3)
    report = check_causal(SmaCross(3, 8), panel.until(panel.first))
    assert (report.ok, report.days, report.possible) == (True, (), 0)


def test_days_with_a_decision_come_first_and_others_are_not_forgotten():
    opinion = np.arange(800) % 7 == 4
    order = cut_order(opinion)
    assert sorted(order) == list(range(799))
    assert sum(opinion[order[:50]]) == 40
    assert np.ptp(order[:50]) > 700


def test_long_histories_are_asked_in_pieces_when_time_is_short(monkeypatch):
    monkeypatch.setattr(search, "_BLOCK", 16)
    panel = random_panel(5, 2, 1, start="2021-06-01", end="2023-04-30")
    day = panel.days[600]

    def rule(seen):
        honest = (seen.close > seen.close.shift()).astype(float)
        if day in seen.days:
            honest.loc[day] = (seen.close.shift(-1) > seen.close).loc[day].astype(float)
        return honest

    class Slow(search.Search):
        def pieces_help(self):
            return self.memory is not None and len(self.done) >= search.LEAST

    class Remembers(Says):
        warmup = 1

    monkeypatch.setattr(search, "Search", Slow)
    clean = check_causal(SmaCross(3, 8), panel, seconds=120)
    assert (clean.ok, clean.complete, clean.whole) == (True, True, search.LEAST)
    assert "30 of them with the whole history and the others with 260 days of it" in str(clean)
    caught = check_causal(Remembers(rule), panel, seconds=120)
    assert caught.first_leak[0] == day
    undeclared = check_causal(Says(rule), panel, seconds=120)  # whose memory nobody knows
    assert (undeclared.first_leak[0], undeclared.whole) == (day, len(undeclared.days))


def test_another_future_is_a_panel_like_any_other_and_the_past_stays():
    for seed in range(6):
        panel = wide(seed)
        for row in (0, 30, len(panel.days) - 2):
            other = Futures(panel).after(row)
            past = slice(0, row + 1)
            for name, values in panel.arrays.items():
                assert np.array_equal(other.arrays[name][past], values[past], equal_nan=True)
            later = other.arrays
            begun = np.logical_or.accumulate(other.real, axis=0)
            assert np.array_equal(np.isnan(later["close"]), ~begun)
            assert (later["high"] >= later["low"])[begun].all()
            assert (later["close"][begun] > 0).all()
            carried = begun & ~other.real
            assert (later["open"] == later["close"])[carried].all()
            assert (later["volume"][carried] == 0).all()
            assert np.array_equal(later["close"][1:][carried[1:]], later["close"][:-1][carried[1:]])


def test_the_next_own_bar_goes_the_other_way_in_price_and_in_volume():
    panel, row, checked, sides = wide(2), 40, 0, set()
    other = Futures(panel).after(row)
    for column in range(len(panel.symbols)):
        later = np.flatnonzero(panel.real[row + 1 :, column]) + row + 1
        if not later.size or np.isnan(panel.arrays["close"][row, column]) or not other.real[later[0], column]:
            continue
        first = later[0]
        close = panel.arrays["close"][row, column]
        for name in ("open", "close"):
            real, swapped = panel.arrays[name][first, column], other.arrays[name][first, column]
            assert swapped != real
            if (row + 1 + column) % 2 == 0:
                assert (real - close) * (swapped - close) <= 0
        if (row + 1 + column) % 2:  # the whole bar is on one side
            low, high = other.arrays["low"][first, column], other.arrays["high"][first, column]
            assert low > close or high < close
            sides.add(low > close)
        checked += 1
    assert checked >= 4
    assert sides == {True, False}


def test_feature_pipelines_are_checked_in_whatever_shape_they_come():
    panel = wide()
    honest = {
        "table": lambda p: p.close.pct_change(),
        "dict": SmaCross(3, 8).indicators,
        "weeks that end": lambda p: p.close.resample("W-SUN").last().pct_change(),
        "stacked": lambda p: p.close.pct_change().stack(),
        "array": lambda p: p.arrays["close"] * 2,
        "own bars": lambda p: on_own_bars(p, np.cumsum),
    }
    for name, pipeline in honest.items():
        report = check_causal(pipeline, panel, days=40)
        assert report.ok, name
        assert report.compared > 0, name
    leaky = {
        "weeks by their first day": lambda p: p.close.resample("W-MON", label="left", closed="left").last(),
        "scaled": lambda p: {"z": (p.close - p.close.mean()) / p.close.std()},
        "columns": lambda p: p.close.loc[:, p.observed.iloc[-1]],
        "rows": lambda p: p.close[p.close.shift(-1).notna().any(axis=1)],
    }
    for name, pipeline in leaky.items():
        assert not check_causal(pipeline, panel, seconds=120).ok, name


def test_what_is_no_table_and_what_cannot_be_checked_are_refused_in_a_sentence():
    panel = random_panel(1)
    with pytest.raises(FeatureError, match="features need a DataFrame of numbers"):
        check_causal(lambda p: "hello", panel)
    with pytest.raises(FeatureError, match="could not convert"):
        check_causal(lambda p: p.close.astype(object).map(lambda value: "x"), panel)
    with pytest.raises(SubjectError, match=r"Call it: SmaCross\(\)"):
        check_causal(SmaCross, panel)
    with pytest.raises(SubjectError, match="but got 7"):
        check_causal(7, panel)
    with pytest.raises(strategy.SignalError, match="a strength is a number from -1 to 1"):
        check_causal(Says(lambda p: p.close * 0 + 2), panel)


class Storm(EqualWeight):
    "Knows whether the next close is lower."

    def weights(self, strengths, history=None):
        whole, row = history.close.base, len(history.close)
        whole = history.close if whole is None or len(whole) <= row else whole
        return super().weights(strengths) * np.where(whole[min(row, len(whole) - 1)] < whole[row - 1], 0.5, 1.0)


def test_a_sizer_that_looks_ahead_fails_the_whole_strategy():
    panel = wide()
    stormy = with_sizer(SmaCross(3, 8), Storm())
    for report in (check_causal(stormy, panel, seconds=10), check_sizer(stormy, panel)):
        assert isinstance(report, CausalReport)
        assert not report.ok
        assert report.change.what == "weight"
    assert check_sizer(with_sizer(SmaCross(3, 8), InverseVolatility()), panel).ok


def test_a_strategy_that_remembers_an_earlier_panel_is_asked_as_if_new():
    class Remembers(Strategy):
        memory = None

        def signals(self, panel):
            if self.memory is None:
                self.memory = (panel.close < panel.close.mean()).astype(float)
            return self.memory.reindex(panel.days)

    assert not check_causal(Remembers(), wide(), seconds=10).ok


def test_orders_of_backtrader_classes_are_compared():
    import backtrader as bt

    class Peeks(bt.Strategy):
        def next(self):
            for data in self.datas:
                rises = len(data) < data.buflen() and data.close[1] > data.close[0]
                self.order_target_size(data, 10 if rises else 0)

    class PeeksAtTheNextOpen(bt.Strategy):
        def next(self):
            for data in self.datas:
                if len(data) < data.buflen() and data.open[1] > data.close[0]:
                    self.buy(data, 1)

    class Crosses(bt.Strategy):
        def __init__(self):
            self.above = {data: data.close > bt.ind.SMA(data.close, period=10) for data in self.datas}

        def next(self):
            for data, above in self.above.items():
                self.order_target_size(data, 10 if above[0] else 0)

    class Early(bt.Strategy):
        "Trades what is there before everything is."

        def prenext(self):
            self.next()

        def next(self):
            for data in self.datas:
                if len(data) > 3 and data.close[0] > data.close[-3]:
                    self.buy(data, 1)

    late = random_panel(4, 3, 1, end="2024-01-31")  # one of it is listed in December
    assert question_of(Peeks).what == "order"
    for cls, honest in ((Peeks, False), (PeeksAtTheNextOpen, False), (Crosses, True), (Early, True)):
        report = check_causal(cls, late, days=30)
        assert report.ok == honest, report
        assert report.compared > 0


RULE = """
from trading_core.strategies import Strategy

class Rises(Strategy):
    def signals(self, panel):
        return (panel.close > panel.close.shift()).astype(float)

class OneDay(Rises):
    def signals(self, panel):
        answer = super().signals(panel)
        if "2023-12-06" in panel.days:
            answer.loc["2023-12-06"] = (panel.close.shift(-1) > panel.close).loc["2023-12-06"].astype(float)
        return answer

class Dies(Rises):
    def signals(self, panel):
        import multiprocessing, os
        if multiprocessing.parent_process() is not None:
            os._exit(3)
        return super().signals(panel)
"""


@pytest.fixture
def rules(tmp_path, monkeypatch):
    "A module in a folder of its own, and a search that asks others for help at once."
    name = f"rules_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(RULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(search, "_WORTH", 0.0)
    yield lambda kind: strategy.load_strategy(f"{name}:{kind}")
    sys.modules.pop(name, None)


@pytest.mark.parametrize("kind", ["Rises", "OneDay"])
def test_two_processes_say_the_same_as_one_and_leave_nothing_running(rules, kind):
    panel = random_panel(4, 5, 3, end="2024-01-31")
    two, one = check_causal(rules(kind), panel, processes=2), check_causal(rules(kind), panel)
    assert (two.ok, two.first_leak) == (one.ok, one.first_leak)
    if kind == "Rises":
        assert (two.days, two.whole, two.compared, two.changed) == (one.days, one.whole, one.compared, one.changed)
    else:
        assert two.first_leak[0] == pd.Timestamp("2023-12-06", tz="UTC")
    for child in multiprocessing.active_children():
        child.join(5)
    assert not multiprocessing.active_children()


def test_what_other_processes_cannot_be_told_or_do_not_survive_is_asked_here(rules):
    panel = random_panel(4, 3, 1, end="2024-01-31")
    for subject in (rules("Dies"), Says(lambda p: p.close * 0), SmaCross(3, 8).indicators):
        report = check_causal(subject, panel, processes=2)
        assert (report.ok, report.complete, report.whole) == (True, True, len(report.days))


def test_the_order_of_a_year_of_minutes_is_found_at_once():
    opinion = np.random.default_rng(1).random(200_000) < 0.1
    began = process_time()
    order = cut_order(opinion)
    assert process_time() - began < 3.0  # it was a minute when each turn copied what was left
    assert len(order) == len(set(order)) == len(opinion) - 1
    assert opinion[order[:5]].tolist() == [True] * 4 + [False]


MEMORY: dict[str, pd.Series] = {}
LAST: list[pd.DataFrame] = []
longest = None


def z_scores(closes):
    return ((closes - closes.mean()) / closes.std() < -0.5).astype(float)


@functools.cache
def level_of(symbol):
    return {"panel": None}


class Remembering(Strategy):
    "Keeps what it made of the first panel, in one of five places."

    KEPT: ClassVar[dict[str, pd.DataFrame]] = {}

    def __init__(self, place):
        self.place = place

    def signals(self, panel):
        global longest
        fresh = z_scores(panel.close.where(panel.observed))
        if self.place == "table":
            fresh = pd.DataFrame({symbol: MEMORY.setdefault(symbol, fresh[symbol]) for symbol in panel.symbols})
        elif self.place == "list":
            LAST.append(fresh)
            fresh = LAST[0]
        elif self.place == "class":
            fresh = self.KEPT.setdefault("first", fresh)
        elif self.place == "cache":
            fresh = level_of("any")["panel"] = fresh if level_of("any")["panel"] is None else level_of("any")["panel"]
        else:
            fresh = longest = fresh if longest is None or len(longest) < len(fresh) else longest
        return fresh.reindex(panel.days).where(panel.observed)


@pytest.mark.parametrize("place", ["table", "list", "class", "cache", "global"])
def test_a_leak_is_found_though_the_code_remembers_the_first_answer_outside_the_strategy(place):
    found = check_causal(Remembering(place), random_panel(3), days=30)
    assert not found.ok
    assert found.change.how in ("hidden", "another")
    assert (MEMORY, LAST, Remembering.KEPT, longest) == ({}, [], {}, None)
