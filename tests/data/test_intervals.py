"Where bars end, which label they have, and longer ones out of shorter ones: half-days, clocks, thin stocks, coins."

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intraday import bars_on

from trading_core.data.intervals import (
    ExtendedError,
    Interval,
    bar_spans,
    check_labels,
    days_of,
    grid,
    in_session,
    interval_of,
    label_of,
    labelled_by_end,
    resample,
    stretches,
    told_label,
)
from trading_core.data.sources import COLUMNS, BadBarsError
from trading_core.errors import UnknownNameError
from trading_core.sessions import half_days, hours

WITHIN = ("1m", "5m", "15m", "30m", "1h")
A_DAY = {"1m": 390, "5m": 78, "15m": 26, "30m": 13, "1h": 7}
HALF = {"1m": 210, "5m": 42, "15m": 14, "30m": 7, "1h": 4}


def ny(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="America/New_York").tz_convert("UTC")


@pytest.mark.parametrize("text", ["60m", "2h", "1D", "5 m", "", "1w"])
def test_an_interval_that_there_is_not_is_refused(text):
    with pytest.raises(UnknownNameError, match="interval"):
        Interval.of(text)


@pytest.mark.parametrize("interval", WITHIN)
def test_a_half_day_has_fewer_bars_and_the_last_ends_at_the_bell(interval):
    whole, half = (grid("XNYS", interval, day, day) for day in ("2024-07-02", "2024-07-03"))
    assert (len(whole), len(half)) == (A_DAY[interval], HALF[interval])
    assert (whole[-1], half[-1]) == (ny("2024-07-02 16:00"), ny("2024-07-03 13:00"))
    assert len(grid("XNYS", interval, "2024-07-04", "2024-07-04")) == 0
    assert not whole.duplicated().any()


@pytest.mark.parametrize("monday", ["2024-03-11", "2024-11-04"])
def test_marks_stay_in_new_york_when_its_clocks_change(monday):
    before = pd.Timestamp(monday) - pd.Timedelta(days=3)
    clocks = [
        grid("XNYS", "5m", day, day).tz_convert("America/New_York").strftime("%H:%M").tolist()
        for day in (before, monday)
    ]
    assert clocks[0] == clocks[1]
    assert grid("XNYS", "5m", before, before)[0].hour != grid("XNYS", "5m", monday, monday)[0].hour


def test_a_coin_has_the_same_hours_on_every_day():
    march = grid("24/7", "1h", "2024-03-01", "2024-03-31")
    assert march.equals(pd.date_range("2024-03-01 01:00", "2024-04-01", freq="h", tz="UTC"))


def test_the_grid_of_a_day_is_its_sessions():
    assert grid("XNYS", "1d", "2024-07-01", "2024-07-07").equals(hours("XNYS", "2024-07-01", "2024-07-07").index)


def test_hours_before_and_after_the_session_keep_apart_from_it():
    wide = grid("XNYS", "1h", "2024-07-03", "2024-07-03", extended=True).tz_convert("America/New_York")
    assert wide.strftime("%H:%M").tolist() == [
        "05:00", "06:00", "07:00", "08:00", "09:00", "09:30", "10:30", "11:30", "12:30", "13:00", "14:00", "15:00", "16:00", "17:00"
    ]  # fmt: skip
    with pytest.raises(ExtendedError, match="XTKS"):
        stretches("XTKS", "2024-07-03", "2024-07-03", extended=True)


def test_a_lunch_break_cuts_a_session_in_two():
    hong_kong = grid("XHKG", "1h", "2024-07-03", "2024-07-03").tz_convert("Asia/Hong_Kong")
    assert hong_kong.strftime("%H:%M").tolist() == ["10:30", "11:30", "12:00", "14:00", "15:00", "16:00"]


@settings(max_examples=40, deadline=None)
@given(
    st.dates(pd.Timestamp("1998-01-01").date(), pd.Timestamp("2026-06-30").date()),
    st.sampled_from(WITHIN),
    st.sampled_from(["open", "clock"]),
)
def test_every_session_is_covered_once_without_holes(day, interval, anchor):

    left, right = bar_spans("XNYS", Interval.of(interval), day, day + pd.Timedelta(days=9), anchor=anchor)
    table = hours("XNYS", day, day + pd.Timedelta(days=9))
    assert (left < right).all()
    assert (right - left <= Interval.of(interval).step.value).all()
    inner = left[1:] != right[:-1]  # a new bar begins where the last one ended, but for the nights
    assert inner.sum() == len(table) - 1
    assert (right - left).sum() == (table["close"] - table["open"]).sum().value


# Labels ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("anchor", ["open", "clock"])
@pytest.mark.parametrize("interval", WITHIN)
def test_starts_are_told_from_ends(interval, anchor, extended):

    left, right = bar_spans("XNYS", Interval.of(interval), "2024-06-24", "2024-07-12", extended, anchor)
    volume = np.full(len(left), 100.0)
    opens = np.isin(left, hours("XNYS", "2024-06-24", "2024-07-12")["open"].dt.as_unit("ns").astype("int64"))
    volume[opens] = 900.0
    ends = pd.DataFrame({"volume": volume}, pd.DatetimeIndex(right, tz="UTC"))
    starts = ends.set_axis(pd.DatetimeIndex(left, tz="UTC"))
    assert label_of(ends, "XNYS", interval) == "end"
    assert label_of(starts, "XNYS", interval) == "start"
    if anchor == "open" or interval not in ("1h",):
        assert labelled_by_end(starts, "XNYS", interval).index.equals(ends.index)
    check_labels("S", ends.index, "XNYS", interval)
    if not extended:
        with pytest.raises(BadBarsError, match="begins with the start of a bar"):
            check_labels("S", starts.index, "XNYS", interval)


def in_summer(ends: pd.DatetimeIndex, minutes: int) -> pd.DatetimeIndex:
    "The labels, moved by so many minutes while New York has its summer."
    summer = ends.tz_convert("America/New_York").map(lambda moment: bool(moment.dst()))
    return ends + pd.to_timedelta(np.where(summer, minutes, 0), unit="min")


@pytest.mark.parametrize("thin", [0.0, 0.1])
@pytest.mark.parametrize(("minutes", "told"), [(-60, "early"), (60, "late")])
@pytest.mark.parametrize("interval", WITHIN)
def test_labels_that_are_an_hour_off_in_summer_only_are_refused(interval: str, minutes: int, told: str, thin: float):
    ends = grid("XNYS", interval, "2024-01-02", "2024-04-30")
    ends = ends[np.random.default_rng(3).random(len(ends)) >= thin]
    check_labels("ACME", ends, "XNYS", interval)
    with pytest.raises(BadBarsError, match=f"sessions in a row bars begin and end too {told}.*New_York, which changes"):
        check_labels("ACME", in_summer(ends, minutes), "XNYS", interval)


def test_bars_of_which_a_month_is_labelled_by_starts_are_refused():
    left, right = (
        pd.DatetimeIndex(part, tz="UTC") for part in bar_spans("XNYS", Interval.of("5m"), "2024-05-01", "2024-07-31")
    )
    june = right.month == 6
    with pytest.raises(BadBarsError, match="2024-06-03 to 2024-06-28: in 19 sessions in a row"):
        check_labels("ACME", right[~june].append(left[june]).sort_values(), "XNYS", "5m")


@pytest.mark.parametrize("anchor", ["open", "clock"])
@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("interval", ["1m", "5m", "30m", "1h"])
@pytest.mark.parametrize("kept", [0.03, 0.1, 0.3, 0.6, 0.9])
def test_shares_that_hardly_trade_are_not_taken_for_wrong_labels(
    interval: str, extended: bool, anchor: str, kept: float
):
    ends = grid("XNYS", interval, "2023-11-01", "2024-12-31", extended, anchor)
    for seed in range(3):
        check_labels("THIN", ends[np.random.default_rng(seed).random(len(ends)) < kept], "XNYS", interval)


def test_labels_of_the_wrong_zone_fit_neither():
    ends = grid("XNYS", "30m", "2024-07-01", "2024-07-05")
    wrong = pd.DataFrame({"volume": 1.0}, ends - pd.Timedelta(hours=4))
    with pytest.raises(BadBarsError, match=r"no bar begins or ends there|could be starts or ends"):
        label_of(wrong, "XNYS", "30m")


def test_labels_between_the_marks_are_refused():
    odd = pd.DataFrame({"volume": 1.0}, grid("XNYS", "5m", "2024-07-01", "2024-07-01") + pd.Timedelta(minutes=2))
    with pytest.raises(BadBarsError, match="no bar begins or ends there"):
        label_of(odd, "XNYS", "5m")
    with pytest.raises(BadBarsError, match="no bar begins or ends there"):
        check_labels("S", odd.index, "XNYS", "5m")


@pytest.mark.parametrize(("first", "last", "told"), [("00:00", "23:59", "start"), ("00:01", "24:00", "end")])
def test_a_coins_file_of_whole_days_tells_its_label_by_its_edges(first, last, told):
    day = pd.Timestamp("2024-07-01", tz="UTC")
    end = day + pd.Timedelta(f"{last}:00")
    minutes = pd.DataFrame({"volume": 1.0}, pd.date_range(day + pd.Timedelta(f"{first}:00"), end, freq="min"))
    assert label_of(minutes, "24/7", "1m") == told
    with pytest.raises(BadBarsError, match="could be starts or ends"):
        label_of(minutes.iloc[5:-5], "24/7", "1m")


# Putting together -----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000), st.sampled_from(["XNYS", "24/7"]), st.sampled_from(["5m", "15m", "30m", "1h", "1d"]),
    st.floats(0, 0.9), st.integers(0, 2_000),
)  # fmt: skip
def test_a_longer_bar_is_the_same_whenever_it_is_made_and_never_there_too_early(seed, calendar, interval, missing, cut):
    minutes = bars_on(grid(calendar, "1m", "2024-07-02", "2024-07-05"), seed, missing=missing)
    whole = resample(minutes, interval, calendar)
    now = minutes.index[min(cut, len(minutes) - 1)]
    known = resample(minutes[:now], interval, calendar)
    pd.testing.assert_frame_equal(known, whole.loc[known.index])
    if interval != "1d":
        assert (known.index <= now).all()
        assert set(whole.index) <= set(grid(calendar, interval, "2024-07-02", "2024-07-05"))
        assert whole["volume"].sum() == minutes["volume"][: whole.index[-1]].sum()


def test_a_longer_bar_is_made_by_hand():
    minutes = bars_on(grid("XNYS", "1m", "2024-07-03", "2024-07-03"), 4)
    hourly = resample(minutes, "1h", "XNYS")
    first = minutes.iloc[:60]
    assert hourly.iloc[0].tolist() == [
        first["open"].iloc[0], first["high"].max(), first["low"].min(), first["close"].iloc[-1], first["volume"].sum()
    ]  # fmt: skip
    assert hourly.index[-1] == ny("2024-07-03 13:00")
    assert hourly["volume"].iloc[-1] == minutes["volume"].iloc[180:].sum()


def test_bars_outside_the_session_make_no_part_of_it():
    wide = bars_on(grid("XNYS", "1m", "2024-07-03", "2024-07-03", extended=True), 4)
    inside = wide[(wide.index > ny("2024-07-03 09:30")) & (wide.index <= ny("2024-07-03 13:00"))]
    pd.testing.assert_frame_equal(resample(wide, "1h", "XNYS"), resample(inside, "1h", "XNYS", known=wide.index[-1]))
    assert len(resample(wide, "1h", "XNYS", extended=True)) == 14


def test_a_day_is_complete_at_its_closing_and_not_before():
    minutes = bars_on(grid("XNYS", "1m", "2024-07-02", "2024-07-03"), 4)
    assert len(resample(minutes[: ny("2024-07-03 12:59")], "1d", "XNYS")) == 1
    assert len(resample(minutes, "1d", "XNYS")) == 2
    coin = bars_on(grid("24/7", "1m", "2024-07-02", "2024-07-03"), 4)
    assert len(resample(coin.iloc[:-1], "1d", "24/7")) == 1
    assert resample(coin, "1d", "24/7").index.tolist() == list(grid("24/7", "1d", "2024-07-02", "2024-07-03"))


def test_days_of_bars_are_the_exchanges_own():
    ends = pd.DatetimeIndex(
        ["2024-01-03 00:30", "2024-01-03 01:00"], tz="UTC"
    )  # after the session, in New York the 2nd
    assert days_of(ends, "30m", "XNYS").strftime("%d").tolist() == ["02", "02"]
    assert days_of(ends, "30m", "24/7").strftime("%d").tolist() == ["03", "03"]


def test_the_length_of_bars_is_seen_though_some_are_missing():
    for interval in WITHIN:
        assert (
            interval_of(bars_on(grid("XNYS", interval, "2024-06-03", "2024-07-12"), 1, missing=0.3).index).text
            == interval
        )


def test_half_days_are_known():
    assert half_days("XNYS", "2023-01-01", "2023-12-31").strftime("%m-%d").tolist() == ["07-03", "11-24"]
    assert len(half_days("24/7", "2023-01-01", "2023-12-31")) == 0


def test_one_wrong_date_is_no_reason_to_count_the_minutes_of_centuries():
    sound = bars_on(grid("XNYS", "1m", "2024-03-04", "2024-03-05"), 1)
    wrong = pd.concat([sound.iloc[:1].set_axis(pd.DatetimeIndex(["1980-08-28 01:01"], tz="UTC")), sound])
    tracemalloc.start()
    with pytest.raises(BadBarsError, match="1980-08-28 01:01"):
        label_of(wrong, "XNYS", "1m", "ACME")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 60_000_000, most  # minutes since then take hundreds of megabytes


def test_a_bar_that_is_there_twice_or_out_of_order_is_not_put_together():
    marks = grid("XNYS", "30m", "2024-03-04", "2024-03-05")
    bars = pd.DataFrame(10.0, marks, ["open", "high", "low", "close", "volume"])
    assert len(resample(bars, "1h", "XNYS")) == 14
    for wrong in (pd.concat([bars, bars.iloc[[5]]]).sort_index(), bars.iloc[::-1]):
        with pytest.raises(BadBarsError, match=r"ACME, 2024-03-0[45] .* twice or follows a later one"):
            resample(wrong, "1h", "XNYS", symbol="ACME")


def test_no_bars_stay_none_and_bars_without_a_zone_are_refused():
    bars = pd.DataFrame(
        dict.fromkeys(COLUMNS, 1.0), pd.date_range("2024-03-05 14:31", periods=60, freq="1min", tz="UTC", unit="ns")
    )
    assert resample(bars[:0], "1h", "XNYS").empty
    assert in_session(bars[:0], "XNYS").empty
    naive = bars.tz_localize(None)
    for ask in (lambda: resample(naive, "1h", "XNYS", symbol="ACME"), lambda: in_session(naive, "XNYS")):
        with pytest.raises(BadBarsError, match="the times have no time zone, but bars are labelled in UTC"):
            ask()


@pytest.mark.parametrize("calendar", ["XNYS", "24/7"])
@pytest.mark.parametrize(
    "days", [["2024-01-02", "2024-01-05"], ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"]]
)
def test_days_are_not_cut_into_hours_and_stay_days(calendar: str, days: list[str]) -> None:
    index = pd.DatetimeIndex(days, tz="UTC")
    bars = pd.DataFrame(1.0, index, list(COLUMNS))
    with pytest.raises(BadBarsError, match=r"bars of 1d do not fit into bars of 1h.*Ask the source for bars of 1h"):
        resample(bars, "1h", calendar)
    pd.testing.assert_frame_equal(resample(bars, "1d", calendar), bars)


@pytest.mark.parametrize("interval", ["1m", "5m", "1h"])
@pytest.mark.parametrize("true", ["start", "end"])
def test_a_label_that_the_bars_refute_is_refused_and_one_that_they_allow_is_believed(interval: str, true: str) -> None:
    ends = grid("XNYS", interval, "2024-03-04", "2024-03-15")  # the clocks change in between
    opens = pd.DatetimeIndex(bar_spans("XNYS", Interval.of(interval), "2024-03-04", "2024-03-15")[0], tz="UTC")
    bars = pd.DataFrame({"volume": 1.0}, ends if true == "end" else opens)
    assert told_label(bars, "XNYS", interval, true) == told_label(bars, "XNYS", interval) == true
    other = "start" if true == "end" else "end"
    with pytest.raises(BadBarsError, match=f"label='{other}' was given, but these labels can only be the {true}s of"):
        told_label(bars, "XNYS", interval, other, "ACME")
    inside = bars[2:3]  # nothing says what it is
    assert [told_label(inside, "XNYS", interval, given) for given in ("start", "end")] == ["start", "end"]
    shifted = bars.set_axis(bars.index - pd.Timedelta(hours=7))
    with pytest.raises(BadBarsError, match="no bar begins or ends there"):
        told_label(shifted, "XNYS", interval, true)
