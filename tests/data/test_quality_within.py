"""What is missing or too many within a session, and what is only quiet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trading_core.data.findings import Finding, Thresholds
from trading_core.data.intervals import grid
from trading_core.data.quality import quality_of


def bars_at(marks: pd.DatetimeIndex) -> pd.DataFrame:
    "Bars that move a little."
    close = 50 * np.exp(np.random.default_rng(3).normal(0, 0.001, len(marks)).cumsum())
    table = {"open": close, "high": close * 1.001, "low": close * 0.999, "close": close}
    return pd.DataFrame(table, marks).assign(volume=1000.0 + np.arange(len(marks)))


def told(marks: pd.DatetimeIndex, symbol: str = "ACME", **more: object) -> list[Finding]:
    return quality_of({symbol: bars_at(marks)}, **more)  # type: ignore[arg-type]


def without(marks: pd.DatetimeIndex, since: str, until: str) -> pd.DatetimeIndex:
    first, last = pd.Timestamp(since, tz="UTC"), pd.Timestamp(until, tz="UTC")
    return marks[(marks <= first) | (marks > last)]


@pytest.mark.parametrize("interval", ["1m", "5m", "15m", "30m", "1h"])
@pytest.mark.parametrize("symbol", ["ACME", "COIN/USD"])
def test_whole_sessions_with_a_half_day_and_a_change_of_clocks_have_no_finding(interval: str, symbol: str):
    calendar = "24/7" if "/" in symbol else "XNYS"
    assert told(grid(calendar, interval, "2024-10-30", "2024-11-06"), symbol) == []
    assert told(grid(calendar, interval, "2024-11-26", "2024-12-02"), symbol) == []


def test_hours_by_the_clock_are_whole_too():
    assert told(grid("XNYS", "1h", "2024-03-04", "2024-03-15", anchor="clock")) == []


def test_bars_outside_of_the_session_are_neither_missed_nor_odd():
    assert told(grid("XNYS", "5m", "2024-03-04", "2024-03-08", extended=True)) == []


def test_a_session_that_is_not_over_yet_lacks_nothing():
    marks = grid("XNYS", "5m", "2024-03-04", "2024-03-08")
    assert told(marks[20:-30]) == []


@pytest.mark.parametrize(
    ("until", "severity"), [("2024-03-06 15:30", "warn"), ("2024-03-06 17:00", "warn"), ("2024-03-06 20:00", "fatal")]
)
def test_a_hole_is_as_bad_as_it_is_large(until: str, severity: str):
    marks = without(grid("XNYS", "5m", "2024-03-04", "2024-03-08"), "2024-03-06 15:00", until)
    (hole,) = told(marks)
    assert (hole.rule, hole.when, hole.severity) == ("hole", "2024-03-06", severity)
    (accepted,) = told(marks, terms=Thresholds(gap=None))
    assert accepted.severity == "warn"


def test_a_single_minute_is_nothing_and_a_single_hour_is_something():
    minutes, hours = (grid("XNYS", length, "2024-03-04", "2024-03-08") for length in ("1m", "1h"))
    assert told(minutes.delete(500)) == []
    assert [f.rule for f in told(hours.delete(9))] == ["hole"]


def test_a_hole_is_told_for_the_days_asked_for_only():
    marks = without(grid("XNYS", "5m", "2024-03-04", "2024-03-08"), "2024-03-06 15:00", "2024-03-06 18:00")
    assert told(marks, start="2024-03-07") == []
    assert told(marks, end="2024-03-05") == []
    assert len(told(marks, start="2024-03-06", end="2024-03-06")) == 1


def test_a_share_that_hardly_trades_is_told_once():
    marks = grid("XNYS", "1m", "2024-03-04", "2024-03-15")
    found = told(marks[np.random.default_rng(1).random(len(marks)) < 0.25])
    assert [(f.rule, f.severity) for f in found] == [("thin", "warn")]


def test_minutes_in_which_a_coin_does_not_trade_are_no_finding_and_a_long_silence_is_one():
    marks = grid("24/7", "1m", "2024-03-04", "2024-03-06")
    marks = marks[np.random.default_rng(1).random(len(marks)) < 0.3]
    assert told(marks, "COIN/USD") == []
    (silence,) = told(without(marks, "2024-03-05 22:00", "2024-03-06 03:00"), "COIN/USD")
    assert (silence.rule, silence.severity, round(silence.value)) == ("quiet", "warn", 5)
    assert silence.when == "2024-03-05 21:58 UTC to 2024-03-06 03:04 UTC"


def test_a_whole_day_of_silence_is_a_missing_day_and_told_once():
    marks = without(grid("24/7", "1h", "2024-03-04", "2024-03-09"), "2024-03-05 20:00", "2024-03-07 03:00")
    assert [f.rule for f in told(marks, "COIN/USD")] == ["missing"]


def repeated(bars: pd.DataFrame, rows: slice, one_price: bool) -> list[tuple[str, float, str]]:
    "What is said of bars that are all like the first of `rows`."
    bars = bars.copy()
    first = bars.iloc[rows].iloc[0]
    bars.iloc[rows] = [*([first["close"]] * 4), first["volume"]] if one_price else first.to_numpy()
    return [(f.rule, f.value, f.severity) for f in quality_of({"COIN/USD": bars}) if f.rule == "repeat"]


def test_who_buys_the_same_every_minute_is_no_feed_that_hangs():
    minutes = bars_at(grid("24/7", "1m", "2024-03-04", "2024-03-05"))
    assert repeated(minutes, slice(700, 715), one_price=True) == [("repeat", 15, "warn")]
    assert repeated(minutes, slice(700, 704), one_price=True) == []
    assert repeated(minutes, slice(700, 765), one_price=True) == [("repeat", 65, "fatal")]
    assert repeated(minutes, slice(700, 706), one_price=False) == [("repeat", 6, "fatal")]
    every_tenth = minutes.iloc[np.r_[0:700, 700:1300:10, 1300 : len(minutes)]]
    assert repeated(every_tenth, slice(700, 760), one_price=True) == []  # nobody else traded in between


@pytest.mark.parametrize("one_price", [False, True])
def test_a_feed_of_hours_that_hangs_over_the_night_is_found(one_price: bool):
    hours = bars_at(grid("XNYS", "1h", "2024-03-04", "2024-03-08"))
    first = hours.iloc[12]
    hours.iloc[12:26] = [*([first["close"]] * 4), first["volume"]] if one_price else first.to_numpy()
    (finding,) = quality_of({"ACME": hours})
    assert (finding.rule, finding.value, finding.severity) == ("repeat", 14, "fatal")


@pytest.mark.parametrize("symbol", ["ACME", "COIN/USD"])
def test_labels_between_the_marks_are_fatal(symbol: str):
    marks = grid("24/7" if "/" in symbol else "XNYS", "5m", "2024-03-04", "2024-03-06")
    odd = marks.insert(40, pd.Timestamp(marks[39] + pd.Timedelta(minutes=2)))
    (finding,) = told(odd, symbol)
    assert (finding.rule, finding.severity, finding.value) == ("off_grid", "fatal", 1)


@pytest.mark.parametrize(("minutes", "rule"), [(-60, "early"), (60, "late")])
@pytest.mark.parametrize("interval", ["5m", "1h"])
def test_bars_that_are_an_hour_off_in_summer_are_fatal(interval: str, minutes: int, rule: str):
    marks = grid("XNYS", interval, "2024-02-20", "2024-04-05")
    off = pd.to_timedelta(np.where(marks > pd.Timestamp("2024-03-10", tz="UTC"), minutes, 0), unit="min")
    (finding,) = [f for f in told(marks + off) if f.rule in ("early", "late")]
    assert (finding.rule, finding.value, finding.severity) == (rule, 19, "fatal")
    assert finding.when == "2024-03-11 to 2024-04-05"


def test_a_bar_that_is_there_twice_is_found_within_a_day_too():
    bars = bars_at(grid("XNYS", "5m", "2024-03-04", "2024-03-06"))
    same, other = pd.concat([bars, bars.iloc[[50]]]), pd.concat([bars, bars.iloc[[50]] * 1.001])
    for table, severity in ((same, "warn"), (other, "fatal")):
        (finding,) = quality_of({"ACME": table.sort_index(kind="stable")})
        assert (finding.rule, finding.severity, finding.value) == ("duplicate", severity, 2)


def test_daily_bars_are_not_looked_at_for_minutes():
    assert told(pd.date_range("2024-03-04", "2024-03-08", tz="UTC")) == []


@pytest.mark.realdata
def test_the_outages_of_a_real_exchange_are_found_and_quiet_minutes_are_not(real_data: Path):
    rows = pd.read_csv(real_data / "crypto_minute_btcusd_2016.csv.gz")
    columns = ["open", "high", "low", "close", "volume"]
    bars = rows.set_index(pd.to_datetime(rows["time_utc"], utc=True))[columns].astype(float)
    found = [f for f in quality_of({"BTC/USD": bars}) if f.rule in ("quiet", "hole", "thin", "off_grid")]
    assert {f.rule for f in found} == {"quiet"}
    assert sorted({f.when[:10] for f in found}) == [
        "2016-06-17", "2016-06-20", "2016-06-21", "2016-07-26", "2016-11-03",
    ]  # fmt: skip


@pytest.mark.realdata
def test_two_funds_that_hardly_trade_are_told_and_sixty_shares_are_not(real_data: Path):
    rows = pd.read_csv(real_data / "equities_minute_2019_02.csv.gz")
    rows["end"] = pd.to_datetime(rows["time_ny"]).dt.tz_localize("America/New_York").dt.tz_convert("UTC")
    columns = ["open", "high", "low", "close", "volume"]
    bars = {s: own.set_index("end")[columns].astype(float) for s, own in rows.groupby("symbol")}
    assert {(f.symbol, f.rule) for f in quality_of(bars) if f.rule in ("quiet", "hole", "thin", "off_grid")} == {
        ("PPLT", "thin"), ("UGA", "thin"),
    }  # fmt: skip
