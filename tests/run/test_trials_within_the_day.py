"""What else acts between two bars, on hours: the monitor, a person who takes back or approves, the doctor, the limits of a day."""

from __future__ import annotations

from decimal import Decimal

import pandas as pd
import pytest
from hourly_market import HourlyDesk, Wants, hours
from kills import Scene, scene
from small_market import Killed, book_of
from test_cycle_kills import Bomb, raise_killed

from trading_core.config import ExecutionSettings
from trading_core.execution import OrderRouter, PaperExecutor
from trading_core.execution.approvals import Approvals, clock_of, gate_for
from trading_core.execution.doctor import Doctor
from trading_core.execution.halts import sent_for
from trading_core.execution.undo import undo_plan, undo_run
from trading_core.ledger import Ledger
from trading_core.model import OrderStatus, Side
from trading_core.portfolio import Costs, RiskLimits
from trading_core.run.account_day import CycleReport
from trading_core.run.cycle import run_cycle


def at(text: str) -> pd.Timestamp:
    return pd.Timestamp(f"2024-07-02 {text}", tz="UTC")


def agree(desk: HourlyDesk) -> None:
    "Book and venue have the same, and nothing was sent twice."
    there = {symbol: p.quantity for symbol, p in desk.executor().positions().items()}
    assert {symbol: p.quantity for symbol, p in desk.book.positions().items()} == there
    assert desk.book.cash() == desk.executor().account().cash
    assert set(desk.orders_at_venue().values()) <= {1}


# The monitor ----------------------------------------------------------------------------------------------------------


def test_a_stop_between_two_bars_is_booked_at_its_minute_and_told_by_the_next_cycle() -> None:
    desk = HourlyDesk()
    desk.at("2024-07-02 14:00")
    desk.settle()
    assert set(desk.book.positions()) == {"C0/USD"}
    monitor = desk.monitor()
    while desk.book.positions():
        desk.clock.advance(desk.clock() + pd.Timedelta(minutes=2))
        monitor.look()
        assert desk.clock() < at("14:55")
    bought, sold = desk.book.fills()
    assert sold.moment is not None
    assert at("14:02") < sold.day < at("14:55")
    assert sold.day == sold.moment.floor("1min") + pd.Timedelta(minutes=1)
    report = desk.at("2024-07-02 15:00", seconds=1)
    assert [(fill.side, fill.reason) for fill in report.fills] == [(bought.side, "signal"), (sold.side, sold.reason)]
    assert [(order.side, order.symbol) for order in report.plan.orders] == [(Side.BUY, "C0/USD")]
    agree(desk)


def test_what_is_bought_back_within_the_day_is_stopped_again() -> None:
    desk, sales = HourlyDesk(), []
    for hour in range(2, 8):
        desk.at(f"2024-07-02 {hour:02}:00")
        desk.settle()
        monitor = desk.monitor()  # each time in a new process
        while desk.book.positions() and desk.clock() < at(f"{hour:02}:50"):
            desk.clock.advance(desk.clock() + pd.Timedelta(minutes=3))
            monitor.look()
        sales = [fill for fill in desk.book.fills() if fill.side is Side.SELL]
        assert not desk.book.positions()
    assert len(sales) == 6
    assert len({fill.client_id for fill in sales}) == 6
    agree(desk)


def test_sales_of_the_monitor_count_among_the_orders_of_their_day() -> None:
    desk = HourlyDesk()
    desk.at("2024-07-02 14:00")
    desk.settle()
    while desk.book.positions():
        desk.clock.advance(desk.clock() + pd.Timedelta(minutes=2))
        desk.monitor().look()
    assert [sent_for(desk.book, at(text)) for text in ("14:00", "15:00")] == [1, 2]
    assert sent_for(desk.book, pd.Timestamp("2024-07-02", tz="UTC")) == 0  # the last bar of the day before
    limits = RiskLimits(max_orders_per_day=2)
    report = desk.at("2024-07-02 15:00", limits=limits)
    assert [refusal.reason for refusal in report.plan.refusals] == ["max_orders_per_day"]
    assert desk.at("2024-07-03 00:00", limits=limits).plan.refusals
    assert not desk.at("2024-07-03 01:00", limits=limits).plan.refusals


def test_bars_since_entry_are_counted_from_the_bar_of_the_fill_whoever_books_it() -> None:
    held = []
    for books in ("cycle", "monitor"):
        desk = HourlyDesk()
        desk.strategies = {"wants": (Wants("C0/USD"), 1.0)}
        desk.at("2024-07-02 14:00")
        if books == "monitor":  # books the fill before the next cycle does
            desk.clock.advance(at("14:05"))
            desk.monitor().look()
            assert desk.book.fills()
        report = desk.at("2024-07-02 16:00")
        held.append({symbol: (h.bars, h.entry_day, h.highest) for symbol, h in report.holdings.items()})
    assert held[0] == held[1]
    assert held[0]["C0/USD"][0] == 2


# Taking back ----------------------------------------------------------------------------------------------------------


def test_two_runs_of_one_day_are_taken_back_one_after_the_other() -> None:
    desk = HourlyDesk()
    desk.strategies = {"wants": (Wants("C0/USD"), 1.0)}
    for number, text in enumerate(("14:00", "16:00"), 1):
        run_id = f"2024070{number}T000000Z-scan-{number}"
        report = desk.at(f"2024-07-02 {text}", run_id=run_id)
        assert [order.side for order in report.plan.orders] == [Side.BUY]
        desk.settle()
        assert set(desk.book.positions()) == {"C0/USD"}
        plan = undo_plan(desk.book, run_id)
        assert [order.symbol for order in plan.sales] == ["C0/USD"], plan.kept
        undo_run(desk.book, desk.journal(), run_id, refresh=desk.settle)
        desk.settle()
        assert not desk.book.positions()
        assert undo_plan(desk.book, run_id).empty
    agree(desk)


def test_on_paper_an_undone_hour_is_sold_on_the_next_bar_and_counts_among_the_orders_of_its_day() -> None:
    ledger, panel = Ledger("sqlite://", account="undone", write=True), hours()
    wants = {"wants": (Wants("C0/USD"), 1.0)}

    def hour(text: str, **options: object) -> CycleReport:
        return run_cycle(
            panel, wants, ledger=ledger, account="undone", cash=10_000, costs=Costs(), job="scan", source_kind="test",
            as_of=at(text), **options,  # type: ignore[arg-type]
        )  # fmt: skip

    for text in ("14:00", "17:00"):
        hour(text, run_id=f"run-{text}")
        following = f"{int(text[:2]) + 1}:00"
        assert [fill.day for fill in hour(following).fills] == [at(following)]
        undo_run(ledger, OrderRouter(PaperExecutor(ledger, panel, Costs()), ledger), f"run-{text}")
        report = hour(f"{int(text[:2]) + 2}:00", limits=RiskLimits(max_orders_per_day=1))
        assert [(fill.side, fill.reason) for fill in report.fills] == [(Side.SELL, "undo")]
        assert [refusal.reason for refusal in report.plan.refusals] == ["max_orders_per_day"]
    assert len({fill.client_id for fill in ledger.fills()}) == 4


# Approvals ------------------------------------------------------------------------------------------------------------


def test_a_question_of_one_bar_lapses_with_the_decision_of_the_next_and_a_yes_in_time_is_sent_once() -> None:
    desk = HourlyDesk()
    desk.strategies = {"wants": (Wants("C0/USD"), 1.0)}
    gate = gate_for(ExecutionSettings(approval="manual"))
    first = desk.at("2024-07-02 14:00", gate=gate)
    assert [result.status for result in first.results] == [OrderStatus.PLANNED]
    second = desk.at("2024-07-02 15:00", gate=gate)
    (old,) = (a for a in desk.book.approvals() if a.as_of == at("14:00"))
    assert (old.status, old.why) == ("expired", "decided anew on 2024-07-02T15:00")
    assert [result.status for result in second.results] == [OrderStatus.PLANNED]
    desk.clock.advance(at("15:07"))
    people = Approvals(desk.book, now=clock_of(desk.executor()))
    (item,) = people.waiting()
    said = people.accept(item, desk.journal())
    assert said.status in (OrderStatus.ACCEPTED, OrderStatus.FILLED)
    desk.settle()
    third = desk.at("2024-07-02 16:00", gate=gate)
    assert not third.plan.orders
    assert [fill.client_id for fill in third.fills] == [item.order.client_id]
    assert not people.waiting()
    agree(desk)


def test_a_question_lapses_by_the_hour_within_the_day() -> None:
    desk = HourlyDesk()
    desk.strategies = {"wants": (Wants("C0/USD"), 1.0)}
    gate = gate_for(ExecutionSettings(approval="manual", approval_hours=0.5))
    desk.at("2024-07-02 14:00", gate=gate)
    desk.clock.advance(at("14:29"))
    people = Approvals(desk.book, now=clock_of(desk.executor()))
    assert not people.lapse()
    desk.clock.advance(at("14:31"))
    assert [item.order.symbol for item in people.lapse()] == ["C0/USD"]
    report = desk.at("2024-07-02 15:00", gate=gate)
    assert [result.status for result in report.results] == [OrderStatus.PLANNED]  # asked anew


def test_questions_that_lapsed_do_not_use_up_the_orders_of_the_day() -> None:
    desk = HourlyDesk()
    desk.strategies = {"wants": (Wants("C0/USD", "C1/USD"), 1.0)}
    gate, limits = gate_for(ExecutionSettings(approval="manual")), RiskLimits(max_orders_per_day=1)
    for hour in range(10, 15):
        report = desk.at(f"2024-07-02 {hour}:00", gate=gate, limits=limits)
        assert [order.symbol for order in report.plan.orders] == ["C0/USD"]
        assert [refusal.reason for refusal in report.plan.refusals] == ["max_orders_per_day"]
        assert sent_for(desk.book, at(f"{hour}:00")) == 1
    people = Approvals(desk.book, now=clock_of(desk.executor()))
    people.accept(people.waiting()[0], desk.journal())
    desk.settle()
    report = desk.at("2024-07-02 15:00", gate=gate, limits=limits)
    assert (report.plan.orders, [r.symbol for r in report.plan.refusals]) == ((), ["C1/USD"])
    agree(desk)


# The doctor -----------------------------------------------------------------------------------------------------------


def test_what_the_doctor_books_within_the_day_does_not_change_its_earlier_bars() -> None:
    desk = HourlyDesk()
    desk.strategies = {"wants": (Wants("C0/USD"), 1.0)}
    desk.at("2024-07-02 14:00")
    desk.settle()
    desk.at("2024-07-02 15:00")
    before = desk.book.equity()
    desk.clock.advance(at("15:20"))
    desk.venue.cash += Decimal(25)
    Doctor(desk.journal()).repair("interest, see statement")
    adjusted = desk.book.fills()[-1]
    assert (adjusted.reason, adjusted.day) == ("adjustment", at("15:21"))
    desk.at("2024-07-02 16:00")
    after = desk.book.equity()
    pd.testing.assert_series_equal(after[before.index], before)
    agree(desk)


# A person's halt ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0.0005, 0.5])
def test_at_a_venue_the_loss_of_the_day_is_counted_over_its_cycles(limit: float) -> None:
    desk = HourlyDesk()
    desk.strategies = {"wants": (Wants("C0/USD", "C1/USD"), 1.0)}
    limits = RiskLimits(max_daily_loss=limit, max_weight=1.0)
    reports = [desk.at(moment, limits=limits) for moment in desk.hours.days[10:34] if moment.minute == 0]
    equity = desk.book.equity()
    days = pd.Series(equity.index, equity.index).map(lambda m: (m - pd.Timedelta("1ns")).normalize())
    evenings = equity.groupby(days).transform("first").where(days == days.iloc[0])
    last = equity[days == days.iloc[0]].iloc[-1]
    lost = 1 - equity / evenings.fillna(last)
    expected = lost.index[lost >= limit - 1e-9].min() if (lost >= limit).any() else None
    halt = desk.book.halted()
    assert (halt.day if halt else None) == expected
    assert all(not [o for o in r.plan.orders if o.side is Side.BUY] for r in reports if halt and r.as_of >= halt.day)


# Killed ---------------------------------------------------------------------------------------------------------------


def swaps(ledger: Ledger, moment: pd.Timestamp) -> CycleReport:
    "An hour on paper: out of one pair of coins and into another, within the limits of a day."
    on: Scene = scene("hours")
    return run_cycle(
        on.panel, on.strategies, ledger=ledger, account="swaps", cash=10_000, costs=Costs(), job="scan",
        source_kind="test", as_of=moment, limits=RiskLimits(max_orders_per_day=17, max_daily_loss=0.5, max_weight=1.0),
    )  # fmt: skip


def test_killed_at_any_statement_of_an_hour_and_started_again_the_book_and_the_limits_of_the_day_are_the_same() -> None:
    moments = [pd.Timestamp(f"2024-07-02 {hour}:00", tz="UTC") for hour in (12, 13, 14, 15, 16)]
    start = Ledger("sqlite://", account="swaps", write=True)
    for moment in moments[:-1]:
        swaps(start, moment)
    calm = start.scratch("swaps")
    bomb = Bomb(calm, None, raise_killed)
    report = swaps(calm, moments[-1])
    statements = bomb.count
    assert {order.side for order in report.plan.orders} == {Side.BUY, Side.SELL}
    assert "max_orders_per_day" in {refusal.reason for refusal in report.plan.refusals}
    expected = book_of(calm)
    for number in range(1, statements + 1, 4):
        ledger = start.scratch("swaps")
        bomb = Bomb(ledger, number, raise_killed)
        with pytest.raises(Killed):
            swaps(ledger, moments[-1])
        bomb.at = None
        swaps(ledger, moments[-1])
        assert book_of(ledger) == expected, f"killed at statement {number}"
        if number % 16 == 1:  # the next hour finds the same
            assert (
                swaps(ledger, moments[-1] + pd.Timedelta("1h")).plan
                == swaps(calm.scratch("swaps"), moments[-1] + pd.Timedelta("1h")).plan
            )
