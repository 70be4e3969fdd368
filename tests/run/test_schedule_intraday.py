"Jobs of every few minutes, by a frozen clock: sessions, half-days, holidays, nights in which clocks change, missed ticks."

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from unittest import mock
from zoneinfo import ZoneInfo

import pytest
from apscheduler.executors import base as executors
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_core.config import SettingError, TradingConfig
from trading_core.data.intervals import grid
from trading_core.run.scheduler import (
    JobTime,
    Runner,
    calendar_of,
    cron_time,
    expected_bars,
    make_scheduler,
    next_runs,
    overdue,
    run_schedule,
    unseen_bars,
)
from trading_core.sessions import hours

NEW_YORK = ZoneInfo("America/New_York")
SCAN = "*/5 9-16 * * mon-fri America/New_York, only in session"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def here(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


def ticks(trigger: JobTime, start: datetime, end: datetime) -> list[datetime]:
    "All ticks of a clock that stands still between them."
    found: list[datetime] = []
    while (tick := trigger.get_next_fire_time(found[-1] if found else None, start)) is not None and tick < end:
        found.append(tick)
        start = tick
    return found


def clock(moments: list[datetime]) -> list[str]:
    return [f"{moment.astimezone(NEW_YORK):%a %H:%M}" for moment in moments]


@pytest.mark.parametrize(
    ("day", "count", "last"),
    [("2024-07-02", 78, "16:00"), ("2024-07-03", 42, "13:00"), ("2024-07-04", 0, ""), ("2024-07-06", 0, ""),
     ("2024-11-29", 42, "13:00"), ("2024-12-24", 42, "13:00"), ("2024-12-25", 0, "")],
)  # fmt: skip
def test_a_scan_ticks_from_the_first_complete_bar_to_the_bell(day: str, count: int, last: str):
    found = ticks(cron_time("scan", SCAN), here(day), here(day) + timedelta(days=1))
    assert len(found) == count
    if count:
        assert clock(found)[0].endswith("09:35")
        assert clock(found)[-1].endswith(last)


@pytest.mark.parametrize(
    ("line", "interval"),
    [("1-59/5 9-16 * * mon-fri America/New_York, only in session", "5m"),
     ("1,31 10-16 * * mon-fri America/New_York, only in session", "1h"),
     ("31 9-16 * * mon-fri America/New_York, only in session", "1h")],
)  # fmt: skip
def test_a_job_that_starts_after_each_bar_decides_on_the_closing_one_too_and_then_no_more(line: str, interval: str):
    scan, bars = cron_time("scan", line), grid("XNYS", interval, "2024-07-02", "2024-07-05")  # a half-day and a holiday
    assert list(expected_bars(scan, bars)) == list(bars)
    for day, last in (("2024-07-02", utc("2024-07-02 20:00")), ("2024-07-03", utc("2024-07-03 17:00"))):
        after = [tick for tick in ticks(scan, here(day), here(day) + timedelta(days=1)) if tick > last]
        assert len(after) == 1
        assert after[0] - last < timedelta(hours=1)


def test_a_tick_after_the_bell_that_follows_another_does_not_count():
    line = "*/5 9-18 * * mon-fri America/New_York, only in session"
    assert clock(ticks(cron_time("scan", line), here("2024-07-03"), here("2024-07-05")))[-1] == "Wed 13:00"


def test_only_in_session_may_be_written_with_a_capital():
    day = here("2024-07-03"), here("2024-07-04")
    assert ticks(cron_time("scan", SCAN.replace("only in", "Only In")), *day) == ticks(cron_time("scan", SCAN), *day)


def test_before_and_after_a_change_of_clocks_a_scan_keeps_new_yorks_time():
    scan = cron_time("scan", SCAN)
    spring = [f"{tick:%d %H:%M}" for tick in ticks(scan, utc("2024-03-08"), utc("2024-03-12"))]
    assert (spring[0], spring[78]) == ("08 14:35", "11 13:35")
    autumn = [f"{tick:%d %H:%M}" for tick in ticks(scan, utc("2024-11-01"), utc("2024-11-05"))]
    assert (autumn[0], autumn[78]) == ("01 13:35", "04 14:35")


def test_with_coins_alone_no_session_holds_a_job_back():
    config = TradingConfig(market={"symbols": "BTC/USD, ETH/USD"}, schedule={"daily": "*/15 * * * *, only in session"})
    assert calendar_of(config) == "24/7"
    (due,) = next_runs(config, utc("2024-12-25 03:01")).values()
    assert due == utc("2024-12-25 03:15")
    assert calendar_of(TradingConfig(market={"universe": "crypto"})) == "24/7"
    assert calendar_of(TradingConfig(market={"symbols": "BTC/USD, SPY"})) == "XNYS"


def test_sessions_of_another_exchange_can_be_named():
    london = cron_time("scan", "0 * * * * Europe/London, only in session of XLON")
    found = ticks(london, utc("2024-08-26"), utc("2024-08-28"))  # the 26th is a bank holiday
    assert {f"{tick:%d}" for tick in found} == {"27"}
    assert [f"{tick.astimezone(ZoneInfo('Europe/London')):%H}" for tick in found] == [
        f"{h:02}"
        for h in range(9, 18)  # London's bell rings at half past four, and the last half hour is seen at five
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("*/5 9-16 * * mon-fri Amerika/New_York", "a time zone such as America/New_York, not Amerika/New_York"),
        ("0 3 * * * America/New_York, only in session", "a time within the sessions of XNYS"),
        ("*/5 9-16 * * 1-5 America/New_York", "by name"),
        ("*/5 9-16 * * mon-fri America/New_York sometimes", "minute, hour, day, month and weekday"),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused(line: str, told: str):
    with pytest.raises(SettingError, match=told):
        cron_time("scan", line)


def test_a_time_that_comes_twice_in_autumn_counts_once_and_one_that_never_comes_in_spring_an_hour_later():
    nightly = cron_time("nightly", "30 1 * * * America/New_York")
    assert clock(ticks(nightly, here("2024-11-02"), here("2024-11-05"))) == ["Sat 01:30", "Sun 01:30", "Mon 01:30"]
    early = cron_time("early", "30 2 * * * America/New_York")
    assert clock(ticks(early, here("2024-03-09"), here("2024-03-12"))) == ["Sat 02:30", "Sun 03:30", "Mon 02:30"]


def test_every_half_hour_is_every_half_hour_when_clocks_change():
    trigger = JobTime("*/30 * * * *", "America/New_York")
    for night in ("2024-03-10", "2024-11-03"):
        found = ticks(trigger, utc(night), utc(night) + timedelta(hours=12))
        assert found == [utc(night) + timedelta(minutes=30 * n) for n in range(24)]


@settings(max_examples=60, deadline=None)
@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2025, 12, 31)),
    st.sampled_from(["UTC", "America/New_York", "Europe/London"]),
)
def test_the_next_tick_is_never_in_the_past_and_always_on_the_clock(moment: datetime, zone: str):
    trigger, now = JobTime("*/10 * * * *", zone), moment.replace(tzinfo=UTC)
    due = trigger.get_next_fire_time(None, now)
    assert due is not None
    assert timedelta(0) <= due - now <= timedelta(minutes=10)
    following = trigger.get_next_fire_time(due, due)
    assert following is not None
    assert following - due == timedelta(minutes=10)


@settings(max_examples=40, deadline=None)
@given(st.datetimes(datetime(2023, 1, 1), datetime(2026, 12, 31)))
def test_every_tick_of_a_scan_is_the_end_of_a_bar_of_its_session(moment: datetime):
    due = cron_time("scan", SCAN).get_next_fire_time(None, moment.replace(tzinfo=UTC))
    assert due is not None
    (session,) = hours("XNYS", due.astimezone(NEW_YORK).date(), due.astimezone(NEW_YORK).date()).itertuples()
    assert session.open < due <= session.close
    assert (due - session.open).total_seconds() % 300 == 0


def run(moment: datetime) -> dict[str, Any]:
    return {"job": "scan", "started": moment.isoformat().replace("+00:00", "Z")}


def test_ticks_that_were_missed_are_made_up_for_by_one_run_and_not_twice():
    scan, woke = cron_time("scan", SCAN), utc("2024-07-02 18:02")
    before, made_up = run(utc("2024-07-02 15:30:02")), run(woke)
    assert overdue("scan", scan, [before], woke)
    assert not overdue("scan", scan, [made_up, before], woke + timedelta(minutes=1))
    assert overdue("scan", scan, [made_up, before], utc("2024-07-02 18:06"))  # the tick of five past was not run
    assert not overdue("scan", scan, [run(utc("2024-07-02 20:00:01"))], utc("2024-07-03 01:00"))


def test_after_a_night_asleep_nothing_is_made_up_before_the_session():
    scan = cron_time("scan", SCAN)
    assert overdue("scan", scan, [], utc("2024-07-02 21:00"))  # an hour after the bell its bar can still be decided on
    assert not overdue("scan", scan, [], utc("2024-07-03 09:00"))


@pytest.mark.parametrize(
    ("line", "slept", "woke", "due"),
    [(SCAN, "2024-07-02 13:35", "2024-07-02 21:01", "2024-07-02 20:00"),
     ("10 0 * * *", "2024-07-01 00:10", "2024-07-04 05:00", "2024-07-04 00:10"),
     ("10 0 * * *", "2024-07-01 00:10", "2024-07-04 09:00", None)],
)  # fmt: skip
def test_a_laptop_that_slept_for_more_than_six_hours_makes_up_for_the_last_tick(
    line: str, slept: str, woke: str, due: str | None
):
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.start(paused=True)
    ran: list[int] = []
    job = scheduler.add_job(ran.append, cron_time("scan", line), args=[1], coalesce=True, misfire_grace_time=6 * 3600)
    job._modify(next_run_time=utc(slept))
    times = job._get_run_times(utc(woke))

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return utc(woke)

    with mock.patch.object(executors, "datetime", Clock):
        executors.run_job(job, "default", times[-1:], "test")
    scheduler.shutdown(wait=False)
    assert ran == ([1] if due else [])
    assert due is None or times[-1] == utc(due)
    following = job.trigger.get_next_fire_time(times[-1], utc(woke))
    assert following is not None
    assert following > utc(woke)


# Bars that no tick sees -----------------------------------------------------------------------------------------------


def watching(line: str, interval: str = "1h", **market: str) -> str:
    market = market or {"symbols": "BTC/USD, ETH/USD, AAPL, MSFT"}
    return unseen_bars(
        TradingConfig(market={"interval": interval} | market, schedule={"scan": line}), "scan", utc("2024-07-01 04:00")
    )


@pytest.mark.parametrize(
    ("line", "told", "better"),
    [("5 * * * *", "22 of 151 bars of XNYS", "1,31 * * * *"),
     ("5 10-16 * * mon-fri America/New_York, only in session", "of 151 bars of XNYS",
      "1,31 10-16 * * mon-fri America/New_York, only in session"),
     ("*/15 * * * *", "bars of 24/7 and", "1-59/5 * * * *"), ("0 12 * * *", "bars of 24/7 and", "1,31 * * * *")],
)  # fmt: skip
def test_times_that_never_see_the_stocks_of_a_mixed_market_are_told_with_better_ones(line: str, told: str, better: str):
    interval = "5m" if better.startswith("1-59/5") else "1h"
    said = watching(line, interval)
    assert said.startswith("scan: until 2024-0")
    assert told in said
    assert said.endswith(f"Times that see all: scan = {better}")
    assert watching(better, interval) == ""


@pytest.mark.parametrize(
    ("line", "interval", "market"),
    [("0,30 * * * *", "1h", {}), ("31 9-16 * * mon-fri America/New_York, only in session", "1h", {"symbols": "AAPL"}),
     ("1 * * * *", "1h", {"universe": "crypto"}), ("1-59/5 * * * *", "5m", {}), (SCAN, "5m", {}), ("* * * * *", "1m", {}),
     ("10 0 * * *", "1d", {})],
)  # fmt: skip
def test_of_times_that_see_nearly_all_nothing_is_said(line: str, interval: str, market: dict[str, str]):
    assert watching(line, interval, **market) == ""


def test_a_schedule_says_at_its_start_what_it_will_not_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    config = TradingConfig(
        schedule={"scan": "5 * * * *"}, jobs={"scan": ("signals",)}, paths={"outputs": str(tmp_path)},
        market={"interval": "1h", "symbols": "BTC/USD, AAPL"},
    )  # fmt: skip
    monkeypatch.setattr(BlockingScheduler, "start", mock.Mock(side_effect=KeyboardInterrupt))
    run_schedule(config, Runner(say=said.append))
    assert [line.partition(" its times")[0][:13] for line in said] == ["scan: next at", "scan: until 2", "Stopping."]


@pytest.mark.parametrize("started", [True, False])
def test_a_schedule_that_begins_late_runs_a_missed_tick_at_once_and_then_keeps_its_times(tmp_path: Path, started: bool):
    now = utc("2024-07-02 18:02:30")
    if started:
        (tmp_path / "r").mkdir()
        (tmp_path / "r" / "run.json").write_text(json.dumps({"run_id": "r"} | run(utc("2024-07-02 18:00:01"))))
    config = TradingConfig(
        schedule={"scan": SCAN},
        jobs={"scan": ("signals",)},
        paths={"outputs": str(tmp_path)},
        market={"symbols": "SPY"},
    )
    (job,) = make_scheduler(config, Runner(), now).get_jobs()
    assert (job.coalesce, job.max_instances) == (True, 1)
    assert getattr(job, "next_run_time", None) == (None if started else now)
    assert job.trigger.get_next_fire_time(now, now) == utc("2024-07-02 18:05")
