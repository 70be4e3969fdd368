"`trading run` on hours: the whole way from files to a report, once for each bar."

from __future__ import annotations

import json
from pathlib import Path

import pytest
from intraday import bars_on, csv_market

from trading_core.config import load_config
from trading_core.data.intervals import grid
from trading_core.ledger import Ledger
from trading_core.run import run_job
from trading_core.run.context import Run, as_of_moment, load_market
from trading_core.run.runner import RunResult

SETTINGS = """
[strategies.sma]
class = SmaCross
fast = 5
slow = 20
[jobs]
daily = trade
scan = trade
[schedule]
scan = 1-59/30 9-16 * * mon-fri America/New_York, only in session
"""


@pytest.fixture
def book(bare: Path) -> Path:
    "A folder with hours of two stocks and a coin."
    calendars = {"BOLT": "XNYS", "CORD": "XNYS", "ETH/USD": "24/7"}
    marks = {name: grid(calendar, "1h", "2024-05-01", "2024-07-05") for name, calendar in calendars.items()}
    bars = {name: bars_on(marks[name], seed, missing=0.01) for seed, name in enumerate(marks, 1)}
    (bare / "settings.ini").write_text(csv_market(bare, bars, "2024-05-01") + SETTINGS, encoding="utf-8")
    return bare


def run(as_of: str) -> RunResult:
    return run_job("scan", config=load_config(), as_of=as_of)


def facts(result: RunResult) -> dict[str, object]:
    return dict(json.loads((result.folder / "run.json").read_text()))


def test_runs_at_three_bars_of_a_half_day_decide_each_once_and_an_older_one_is_refused(book: Path) -> None:
    first, second, again, older = (run(f"2024-07-03T{time}") for time in ("15:30", "16:30", "16:45", "15:30"))
    assert [result.status for result in (first, second, again, older)] == ["done", "done", "done", "refused"], (
        first.error
    )
    assert [facts(result)["as_of"] for result in (first, second, again)] == [
        "2024-07-03T15:30", "2024-07-03T16:30", "2024-07-03T16:30"
    ]  # fmt: skip
    assert "has come to 2024-07-03T16:30, and 2024-07-03T15:30 is before that" in older.error
    assert dict(facts(first)["data"])["interval"] == "1h"  # type: ignore[call-overload]
    with Ledger(load_config().ledger_url, account="csv") as ledger:
        assert [f"{moment:%H:%M}" for moment in ledger.cycles()["as_of"]] == ["16:30", "15:30"]
        ids = ledger.orders()["client_id"]
        assert ids.is_unique
        assert ids.str.match(r"20240703T1[56]30-").all()
    page = (second.folder / "trade.html").read_text()
    assert "3 Jul 2024 16:30" in page
    assert "3 Jul 2024 15:30" in page


def test_a_run_without_fresh_bars_is_refused(book: Path) -> None:
    late = run("2024-07-08T18:00")
    assert late.status == "refused"
    assert "prices end on 2024-07-06, but the run is about 2024-07-08T18:00" in late.error


def test_bars_of_coins_outside_the_session_are_not_missed_by_a_job_that_runs_only_in_session(book: Path) -> None:
    evening = run("2024-07-01T20:00")
    assert evening.status == "done", evening.error
    scan, daily = (
        [Run(load_config(), load_market(load_config(), as_of_moment(f"2024-07-02T{time}", "1h")), job=job).cycle()
         for time in ("14:00", "17:30")]
        for job in ("scan", "daily")
    )  # fmt: skip
    assert [len(report.missed_days) for report in daily] == [17, 24]  # without times every bar counts
    assert [f"{moment:%H:%M}" for moment in scan[0].missed_days] == [
        "13:00"
    ]  # seen at 9:31; sixteen hours of ETH are not
    assert [f"{moment:%H:%M}" for moment in scan[1].missed_days] == [
        "13:00",
        "14:00",
        "14:30",
        "15:00",
        "15:30",
        "16:00",
        "16:30",
        "17:00",
    ]
    assert "no decision on 8 bars since 2024-07-01T20:00" in str(scan[1])


def test_a_rehearsal_decides_on_the_bars_on_which_the_schedule_does(book: Path) -> None:
    result = run_job("scan", config=load_config(), as_of="2024-07-03T15:30", since="2024-07-02")
    assert result.status == "done", result.error
    with Ledger(load_config().ledger_url, account="csv") as ledger:
        decided = ledger.cycles()["as_of"].sort_values()
    told = [f"{moment:%d %H:%M}" for moment in decided]
    assert told[0] == "02 13:00"  # the newest bar at 9:31 in New York
    assert told[-1] == "03 15:30"
    assert all("13:00" <= moment[3:] <= "20:00" for moment in told)
    assert len(told) == 14 + 5
