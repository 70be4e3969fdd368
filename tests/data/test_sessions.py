"""Which days trade."""

from __future__ import annotations

import datetime as dt
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_core.errors import UnknownNameError
from trading_core.sessions import (
    CalendarRangeError,
    NoDayError,
    as_day,
    is_session,
    next_session,
    session_number,
    sessions,
)

DAYS = st.dates(dt.date(1991, 1, 1), dt.date(2039, 12, 31))


def test_holidays_and_weekends_are_no_sessions_of_new_york():
    days = sessions("XNYS", "2024-12-20", "2025-01-10")
    missing = {"2024-12-21", "2024-12-22", "2024-12-25", "2025-01-01", "2025-01-09"}  # the last one: a day of mourning
    assert not missing & set(days.strftime("%Y-%m-%d"))
    assert len(days) == 13


def test_days_are_utc_midnights_in_nanoseconds_wherever_they_come_from():
    for calendar in ("XNYS", "24/7", "XJSE"):
        days = sessions(calendar, dt.date(2024, 1, 1), pd.Timestamp("2024-02-01", tz="Asia/Tokyo"))
        assert str(days.tz) == "UTC"
        assert days.unit == "ns"
        assert (days == days.normalize()).all()
        assert days[-1] <= as_day("2024-01-31")  # midnight in Tokyo is still January in UTC


def test_the_nineties_and_the_far_future_are_known():
    assert is_session("XNYS", "1990-01-02")
    assert is_session("XNYS", "1950-06-01")
    assert is_session("XNYS", "2055-06-01")
    assert len(sessions("XNYS", "2001-09-10", "2001-09-18")) == 3


def test_a_calendar_that_ends_says_so_instead_of_having_no_sessions():
    with pytest.raises(CalendarRangeError, match=r"^XBOM: sessions are known from 19\d\d-\d\d-\d\d to 20\d\d"):
        sessions("XBOM", "2070-01-01", "2070-02-01")


def test_an_unknown_calendar_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'XNYS'"):
        is_session("XNYX", "2024-01-05")


@pytest.mark.parametrize("day", ["", "never", None, pd.NaT])
def test_what_is_no_day_is_refused(day):
    with pytest.raises((ValueError, TypeError)):
        as_day(day)


def test_a_day_that_no_calendar_has_is_told_as_it_was_written_in_any_process():
    with pytest.raises(NoDayError, match=r"'2026-02-30'.*2024-01-05|2024-01-05.*'2026-02-30'") as told:
        as_day("2026-02-30")
    again = pickle.loads(pickle.dumps(told.value))
    assert (str(again), again.exit_code) == (str(told.value), 2)


@given(DAYS, DAYS)
@settings(max_examples=60, deadline=None)
def test_numbers_count_the_sessions_between_two_days(one, other):
    first, last = sorted((one, other))
    number = session_number("XNYS", pd.DatetimeIndex([as_day(first), as_day(last)]))
    assert number[1] - number[0] == len(sessions("XNYS", first, last)) - is_session("XNYS", first)


@given(DAYS)
@settings(max_examples=60, deadline=None)
def test_the_next_session_is_later_and_nothing_lies_between(day):
    following = next_session("XNYS", day)
    assert following > as_day(day)
    between = sessions("XNYS", as_day(day) + pd.Timedelta(days=1), following)
    np.testing.assert_array_equal(between, [following])
