"""One account on bars of two lengths: the hours of a day would fill, hours before it was decided, what its close decided."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from intraday import mixed_panel
from sqlalchemy import delete, update

from trading_core.data.panel import Panel
from trading_core.execution.stage import in_days
from trading_core.ledger import Ledger
from trading_core.ledger import tables as t
from trading_core.portfolio import Costs
from trading_core.run.account_day import CycleReport, OtherBarsError, decided_on
from trading_core.run.cycle import run_cycle
from trading_core.strategies import Strategy

HOURS = mixed_panel("1h", "2024-06-24", "2024-07-05")
DAYS = in_days(HOURS)


class Always(Strategy):
    "All of it, always."

    def signals(self, panel: Panel) -> pd.DataFrame:
        return panel.close.where(panel.observed) * 0 + 1.0


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db", account="both", write=True)


def decide(ledger: Ledger, panel: Panel, when: str, job: str) -> CycleReport:
    return run_cycle(
        panel, {"always": (Always(), 1.0)}, ledger=ledger, account="both", cash=100_000, costs=Costs(),
        source_kind="test", as_of=when, job=job,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second"),
    [((DAYS, "2024-07-01"), (HOURS, "2024-07-02T16:00")), ((HOURS, "2024-07-01T16:00"), (DAYS, "2024-07-02"))],
)
def test_an_account_of_days_takes_no_hours_and_one_of_hours_no_days(ledger: Ledger, first, second):
    assert decide(ledger, *first, "one").plan.orders
    before = ledger.equity_frame()
    with pytest.raises(
        OtherBarsError, match=r"Account 'both' decides on bars of 1[dh], and this run has bars of 1[hd]"
    ) as refused:
        decide(ledger, *second, "two")
    assert f"--set ledger.account=both-{second[0].interval}" in str(refused.value)
    pd.testing.assert_frame_equal(ledger.equity_frame(), before)  # nothing was booked


def test_two_jobs_on_the_same_bars_share_an_account(ledger: Ledger):
    decide(ledger, HOURS, "2024-07-01T16:00", "scan")
    assert decide(ledger, HOURS, "2024-07-02T16:00", "evening").fills
    assert decided_on(ledger) == "1h"


def test_an_hour_that_ends_at_midnight_makes_no_account_of_days(ledger: Ledger):
    decide(ledger, HOURS, "2024-07-02T00:00", "scan")
    assert decided_on(ledger) == "1h"
    assert decide(ledger, HOURS, "2024-07-02T01:00", "scan")


def test_books_from_before_this_was_noted_are_told_by_their_labels(ledger: Ledger):
    assert decided_on(ledger) is None
    decide(ledger, HOURS, "2024-07-01T16:00", "scan")
    with ledger.writing() as step:
        step.execute(update(t.cycles).values(plan={"targets": {}, "cancels": [], "refusals": []}))
    assert decided_on(ledger) == ""
    with pytest.raises(OtherBarsError, match="decides on bars of parts of a day"):
        decide(ledger, DAYS, "2024-07-02", "daily")
    assert decide(ledger, HOURS, "2024-07-01T17:00", "scan")


def test_old_books_whose_last_hour_ended_at_midnight_are_told_by_the_cycle_before(ledger: Ledger):
    for when in ("2024-07-01T23:00", "2024-07-02T00:00"):
        decide(ledger, HOURS, when, "scan")
    with ledger.writing() as step:
        step.execute(update(t.cycles).values(plan={"targets": {}, "cancels": [], "refusals": []}))
        step.execute(delete(t.equity))
    assert decided_on(ledger) == ""
