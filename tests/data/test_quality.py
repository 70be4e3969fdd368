"""Rules about prices, on bars that are made for them."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest

from trading_core.data import Thresholds, quality_of
from trading_core.data.findings import Finding, refusals_of
from trading_core.data.intervals import grid
from trading_core.model import Asset, AssetClass
from trading_core.sessions import sessions

DAYS = sessions("XNYS", "2019-01-01", "2020-12-31")


def quiet(seed: int = 0, days: pd.DatetimeIndex = DAYS, level: float = 40.0, usual: float = 0.012) -> pd.DataFrame:
    "A share on which nothing happens."
    rng = np.random.default_rng(seed)
    close = level * np.exp(rng.normal(0, usual, len(days)).cumsum())
    opens = close * np.exp(rng.normal(0, usual / 3, len(days)))
    high, low = np.maximum(opens, close) * 1.004, np.minimum(opens, close) * 0.996
    table = {"open": opens, "high": high, "low": low, "close": close, "volume": rng.uniform(0.8e6, 1.2e6, len(days))}
    return pd.DataFrame(table, days)


def scaled(bars: pd.DataFrame, rows: slice, factor: float, volume: float = 1.0) -> pd.DataFrame:
    changed = bars.copy()
    changed.iloc[rows, :4] *= factor
    changed.iloc[rows, 4] *= volume
    return changed


def fatal(bars: pd.DataFrame, **options: object) -> set[tuple[str, pd.Timestamp | None]]:
    return {(f.rule, f.day) for f in quality_of({"X": bars}, **options) if f.severity == "fatal"}  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(20))
def test_a_quiet_share_has_no_finding(seed: int) -> None:
    assert quality_of({"X": quiet(seed)}) == []


@pytest.mark.parametrize("ratio", [2, 3, 4, 5, 7, 10, 20, 1 / 2, 1 / 4, 1 / 10, 1 / 15])
def test_a_forgotten_split_is_found_on_its_day(ratio: float) -> None:
    assert fatal(scaled(quiet(), slice(200, None), 1 / ratio, ratio)) == {("split", DAYS[200])}


def test_three_shares_for_two_are_found_only_where_nothing_else_happened() -> None:
    assert fatal(scaled(quiet(usual=0.004), slice(200, None), 2 / 3, 1.5)) == {("split", DAYS[200])}


@pytest.mark.parametrize("share", [0.35, 0.5, 0.6, 0.75])
def test_a_crash_that_brings_everybody_to_trade_is_no_split(share: float) -> None:
    crashed = scaled(quiet(), slice(200, None), 1 - share)
    crashed.iloc[200:205, 4] *= 30.0
    assert fatal(crashed) == set()


@pytest.mark.parametrize("factor", [100.0, 0.01, 1000.0, 60.0, 0.02])
@pytest.mark.parametrize("end", [None, 230])
def test_another_unit_is_found_whether_it_ends_or_not(factor: float, end: int | None) -> None:
    found = [f for f in quality_of({"X": scaled(quiet(), slice(200, end), factor)}) if f.severity == "fatal"]
    assert {(f.rule, f.day) for f in found} <= {("hundredfold", DAYS[200]), ("split", DAYS[200]), ("split", DAYS[230])}
    assert found[0].day == DAYS[200]
    if factor in (100.0, 0.01, 1000.0):
        assert found[0].last == (DAYS[229] if end else DAYS[-1])


@pytest.mark.parametrize("factor", [10.0, 0.1, 3.2, 0.3, 100.0])
def test_a_spike_of_a_day_is_fatal_from_three_times_on(factor: float) -> None:
    assert ("spike", DAYS[200]) in fatal(scaled(quiet(), slice(200, 201), factor))
    assert ("spike", DAYS[200]) not in fatal(scaled(quiet(), slice(200, 201), factor), terms=Thresholds(spike=200.0))


@pytest.mark.parametrize("factor", [1.6, 0.6, 2.5])
def test_a_smaller_spike_is_a_warning(factor: float) -> None:
    found = quality_of({"X": scaled(quiet(), slice(200, 201), factor)})
    assert [(f.rule, f.severity) for f in found] == [("spike", "warn")]


def opened(bars: pd.DataFrame, row: int, factor: float) -> pd.DataFrame:
    "The bars with one open that is wrong by a factor, and high or low with it."
    changed = bars.copy()
    changed.iloc[row, 0] *= factor
    changed["high"] = changed[["open", "high", "close"]].max(axis=1)
    changed["low"] = changed[["open", "low", "close"]].min(axis=1)
    return changed


@pytest.mark.parametrize("symbol", ["X", "X/USD"])
@pytest.mark.parametrize("factor", [100.0, 0.01, 10.0, 3.2, 0.3])
def test_an_open_at_which_orders_would_be_filled_is_fatal_when_it_fits_neither_close(
    symbol: str, factor: float
) -> None:
    days = DAYS if symbol == "X" else pd.date_range("2019-01-01", "2020-12-31", tz="UTC")
    for row in (200, -1):
        wrong = opened(quiet(days=days), row, factor)
        found = [(f.rule, f.day) for f in quality_of({symbol: wrong}) if f.severity == "fatal"]
        assert found == [("open", days[row])]
        assert [f for f in quality_of({symbol: wrong}, terms=Thresholds(spike=200.0)) if f.severity == "fatal"] == []


def test_an_open_of_an_hour_is_held_against_both_closes_too() -> None:
    marks = grid("XNYS", "1h", "2019-01-01", "2019-03-29")
    assert fatal(opened(quiet(days=marks, usual=0.004), 200, 0.01)) == {("open", marks[200])}


@pytest.mark.parametrize("factor", [0.6, 1.6])
def test_an_open_that_is_half_as_much_off_is_a_warning(factor: float) -> None:
    assert [(f.rule, f.severity) for f in quality_of({"X": opened(quiet(), 200, factor)})] == [("open", "warn")]


def test_an_open_after_news_or_a_split_fits_the_close_of_its_day_and_is_right() -> None:
    news = scaled(quiet(), slice(200, None), 0.25)
    news.iloc[200:, 4] *= 40.0
    assert fatal(news) == set()
    noted = scaled(quiet(), slice(200, None), 0.05, 20.0).assign(split=np.where(np.arange(len(DAYS)) == 200, 20.0, 1.0))
    assert fatal(noted) == set()
    late = noted.copy()
    late.iloc[200, :2] *= 20.0  # the open is still in old shares
    assert ("open", DAYS[200]) in fatal(late)


def padded(bars: pd.DataFrame, rows: slice) -> pd.DataFrame:
    "The bars with those rows as a vendor writes them for a share that is halted."
    made = bars.copy()
    made.iloc[rows] = [*([made["close"].iloc[rows.start - 1]] * 4), 0.0]
    return made


@pytest.mark.parametrize("rows", [slice(len(DAYS) - 60, len(DAYS)), slice(100, 160), slice(300, 310)])
def test_padding_of_a_share_that_is_halted_or_gone_is_as_fatal_as_missing_sessions(rows: slice) -> None:
    assert fatal(padded(quiet(), rows)) == {("repeat", DAYS[rows.start])}
    assert fatal(padded(quiet(), rows), terms=Thresholds(gap=None)) == set()  # where gaps are allowed
    assert fatal(padded(quiet(), slice(rows.start, rows.start + 9))) == set()


def test_two_halts_do_not_make_a_share_one_that_hardly_trades() -> None:
    twice = padded(padded(quiet(), slice(100, 160)), slice(300, 380))
    assert fatal(twice) == {("repeat", DAYS[100]), ("repeat", DAYS[300])}


def test_a_share_that_hardly_trades_is_not_taken_for_padding() -> None:
    still = np.random.default_rng(1).random(len(DAYS)) < 0.3
    rare = quiet()
    for row in np.flatnonzero(still[1:]) + 1:
        rare = padded(rare, slice(row, row + 1))
    rare = padded(rare, slice(200, 212))
    assert fatal(rare) == set()
    value_of_a_fund = quiet().assign(volume=0.0)
    for name in ("open", "high", "low"):
        value_of_a_fund[name] = value_of_a_fund["close"]
    assert fatal(value_of_a_fund) == set()
    assert fatal(value_of_a_fund * 0 + [1, 1, 1, 1, 0]) == set()  # of a money market


@pytest.mark.parametrize("symbol", ["X", "X/USD"])
def test_minutes_without_a_trade_are_no_padding_and_ten_days_of_them_are(symbol: str) -> None:
    marks = grid("XNYS" if symbol == "X" else "24/7", "1h", "2024-01-02", "2024-03-29")
    hours = quiet(days=marks, usual=0.002)
    empty = np.flatnonzero(np.random.default_rng(2).random(len(marks)) < 0.2)
    for row in empty[empty > 0]:
        hours = padded(hours, slice(int(row), int(row) + 1))
    assert "repeat" not in {f.rule for f in quality_of({symbol: hours})}
    first = int(marks.searchsorted(pd.Timestamp("2024-03-04", tz="UTC"), side="right"))
    dead = [f for f in quality_of({symbol: padded(hours, slice(first, len(hours)))}) if f.severity == "fatal"]
    assert [(f.rule, f"{f.day:%m-%d}") for f in dead] == [("repeat", "03-04")]


def test_a_split_that_is_noted_is_none_that_was_forgotten() -> None:
    raw = scaled(quiet(), slice(200, None), 0.25, 4.0).assign(split=np.where(np.arange(len(DAYS)) == 200, 4.0, 1.0))
    assert fatal(raw) == set()
    assert fatal(quiet().assign(split=raw["split"])) == {("split_twice", DAYS[200])}


def test_coins_are_not_split() -> None:
    days = pd.date_range("2019-01-01", "2020-12-31", tz="UTC")
    halved = scaled(quiet(days=days, usual=0.03), slice(300, None), 0.5, 2.0)
    assert {f.severity for f in quality_of({"X/USD": halved})} == {"note"}


def test_a_dividend_that_nobody_could_pay_is_found() -> None:
    dividend = np.where(np.arange(len(DAYS)) == 200, 30.0, 0.0)
    assert fatal(quiet().assign(dividend=dividend)) == {("dividend_size", DAYS[200])}
    special = scaled(quiet(), slice(200, None), 0.4).assign(dividend=dividend * quiet()["close"].iloc[199] * 0.6 / 30)
    special.iloc[200, 4] *= 20.0
    assert fatal(special) == set()


def test_no_bar_after_the_end_is_looked_at() -> None:
    wrong = scaled(quiet(), slice(300, None), 100.0)
    assert quality_of({"X": wrong}, end=DAYS[299]) == []
    for last in (300, 320, len(DAYS) - 1):
        known, cut = (quality_of({"X": b}, end=DAYS[last]) for b in (wrong, wrong.iloc[: last + 1]))
        assert known == cut


def test_the_newest_days_are_judged_as_with_the_whole_history() -> None:
    wrong = scaled(scaled(quiet(), slice(-2, -1), 4.0), slice(100, 101), 4.0)
    whole = [f for f in quality_of({"X": wrong}) if f.day >= DAYS[-10]]
    assert whole
    assert quality_of({"X": wrong}, start=DAYS[-10]) == whole


def test_unequal_calendars_are_each_asked_their_own() -> None:
    days = sessions("XSTO", "2023-01-01", "2023-12-31")
    own = {"V": Asset("V", AssetClass.EQUITY, "XSTO", Asset.of("V").lot)}
    assert quality_of({"V": quiet(days=days)}, own) == []
    assert {f.rule for f in quality_of({"V": quiet(days=days)})} == {"holiday", "missing"}


def test_a_million_broken_bars_are_told_in_a_few_lines() -> None:
    broken = {f"S{n}": quiet(n) * np.where(np.arange(len(DAYS)) % 2, 100.0, 1.0)[:, None] for n in range(20)}
    found = quality_of(broken)
    assert len(refusals_of(found)) == 20
    assert len(found) <= 20 * 20 * 4


def test_a_quarter_of_a_million_bars_take_less_than_a_second_of_work() -> None:
    days = sessions("XNYS", "2011-01-01", "2020-12-31")
    tables = {f"S{n}": quiet(n % 10, days) for n in range(100)}
    spent = []
    for _ in range(3):
        began = time.thread_time()
        assert [f for f in quality_of(tables) if f.severity == "fatal"] == []
        spent.append(time.thread_time() - began)
    assert min(spent) < 1.0  # measured: 0.1 s


@pytest.mark.parametrize("days", [DAYS, DAYS[:40]])
@pytest.mark.parametrize(("lag", "how"), [(1, "1 bar later"), (-1, "1 bar earlier"), (2, "2 bars later")])
def test_another_source_that_is_dated_beside_is_told_in_one_finding(days: pd.DatetimeIndex, lag: int, how: str) -> None:
    own = quiet(days=days)
    noise = np.exp(np.random.default_rng(1).normal(0, 1e-4, len(days)))
    other = own.mul(noise, axis=0).shift(lag).dropna()
    (found,) = quality_of({"X": own}, others={"vendor": {"X": other}})
    assert (found.rule, found.severity) == ("differs", "fatal")
    assert (
        f"The other one is vendor. Its closes are the same {how}, so one of the two knows them too soon" in found.cure
    )
    assert quality_of({"X": own}, others={"vendor": {"X": own.mul(noise, axis=0)}}) == []


def test_a_source_that_differs_by_much_or_hardly_moves_is_not_taken_for_one_that_is_dated_beside() -> None:
    own = quiet()
    restless = own.mul(np.exp(np.random.default_rng(1).normal(0, 0.02, len(DAYS))), axis=0)
    assert [f for f in quality_of({"X": own}, others={"v": {"X": restless}}) if "too soon" in f.cure] == []
    bill = quiet(usual=1e-6)
    assert quality_of({"X": bill}, others={"v": {"X": bill.round(2)}}) == []


def test_a_finding_is_told_in_one_sentence() -> None:
    finding = Finding("X", DAYS[3], "spike", 10.0, "fatal", "Get it again.", DAYS[3])
    assert (
        str(finding) == "X, 2019-01-07: the price is 10 times its neighbours, and back on the next bar. Get it again."
    )


def test_a_share_that_is_listed_after_the_last_day_asked_for_has_no_finding() -> None:
    bars = {"KNOWN": quiet(), "LATER": quiet(1)[300:]}
    assert quality_of(bars, end=DAYS[250]) == []
    assert [f.rule for f in quality_of({"NEVER": quiet()[:0]}, end=DAYS[250])] == ["unreadable"]
