"""The real client against the embedded venue: night after night the same book as one backtest, whatever happens on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_market import DAYS, PANEL, STRATEGIES, Killed, day
from sqlalchemy import event

from trading_core.backtest import backtest
from trading_core.data.panel import Panel
from trading_core.execution import ExecutorBase, Journal, MismatchError, VenueError
from trading_core.execution.alpaca import AlpacaExecutor
from trading_core.execution.approvals import Gated
from trading_core.execution.venue import ManualClock, PanelMarket, PaperVenue
from trading_core.execution.venue.faults import Faults, Force
from trading_core.execution.venue.local import local_session
from trading_core.ledger import Ledger, UnwritableLedgerError
from trading_core.model import Fill, OrderRequest, OrderResult, OrderStatus, Side
from trading_core.portfolio import Costs
from trading_core.run.account_day import CycleReport
from trading_core.run.cycle import run_cycle

FREE = Costs(rate=0)
NIGHT = pd.Timedelta("24h")
DEAD = Faults(1, {"unavailable": 1.0})


class Desk:
    """An account at an embedded venue, our book of it, and the line between them."""

    def __init__(self, panel: Panel = PANEL, *, costs: Costs = FREE, book: Ledger | None = None, **venue: Any):
        self.panel, self.clock = panel, ManualClock(panel.first)
        self.venue = PaperVenue(
            PanelMarket(panel), cash=Decimal(10_000), clock=self.clock, costs=costs, rate_limit=None, **venue
        )
        self.faults: Faults | None = None
        self.book = book or Ledger("sqlite://", account="desk", write=True)
        self.strategies: Any = STRATEGIES

    def executor(self, ledger: Ledger | None = None, panel: Panel | None = None) -> ExecutorBase:
        line = local_session(self.venue, self.faults)
        return AlpacaExecutor("paper-key", "paper-secret", session=line, sleep=lambda seconds: None)

    def cycle(self, as_of: pd.Timestamp, **options: Any) -> CycleReport:
        self.clock.advance(as_of + NIGHT)
        given = {"executor": self.executor, "costs": FREE, "cash": 10_000, "source_kind": "test"} | options
        return run_cycle(self.panel, self.strategies, ledger=self.book, account="desk", as_of=as_of, **given)

    def nights(self, until: object, since: object = DAYS[0], **options: Any) -> list[CycleReport]:
        return [self.cycle(today, **options) for today in DAYS[(since <= DAYS) & (until >= DAYS)]]

    def by_hand(self, symbol: str, side: Side, quantity: str, name: str = "by-hand") -> OrderResult:
        return self.executor().submit(OrderRequest(name, symbol, side, Decimal(quantity)))

    def orders_at_venue(self) -> Counter[str]:
        return Counter(order.client_id for order in self.venue.orders)


def tale(ledger: Ledger) -> list[tuple[Any, ...]]:
    """What changed hands, without the venue's ids."""
    return [(f.day, f.symbol, f.side, f.quantity, f.price, f.reason, f.strategy) for f in ledger.fills()]


@pytest.fixture(scope="module")
def calm() -> Desk:
    desk = Desk()
    desk.nights(DAYS[-1])
    return desk


def test_night_after_night_comes_to_what_one_backtest_comes_to(calm: Desk) -> None:
    result = backtest(STRATEGIES, PANEL, cash=10_000, costs=FREE)
    ours, theirs = calm.book.fills_frame(), result.fills
    order = ["day", "symbol", "side"]
    ours, theirs = (t.sort_values(order).reset_index(drop=True) for t in (ours, theirs))
    told = [*order, "reason", "strategy"]
    assert ours[told].to_dict("records") == theirs[told].to_dict("records")
    assert len(ours) >= 15
    np.testing.assert_allclose(ours["quantity"], theirs["quantity"], rtol=1e-9, atol=1.000001e-6)
    np.testing.assert_allclose(ours["price"], theirs["price"], rtol=1e-9)
    assert len(DAYS) >= 20
    np.testing.assert_allclose(calm.book.equity(), result.equity, rtol=0, atol=0.005)


def test_the_book_and_the_venue_agree_to_the_cent(calm: Desk) -> None:
    venue = calm.executor()
    assert calm.book.cash() == venue.account().cash
    assert {s: p.quantity for s, p in calm.book.positions().items()} == {
        s: p.quantity for s, p in venue.positions().items()
    }
    assert set(calm.orders_at_venue().values()) == {1}
    assert set(calm.orders_at_venue()) == set(calm.book.orders()["client_id"])
    assert calm.book.cycles()["status"].iloc[1:].eq("done").all()


def test_a_second_run_on_the_same_night_sends_nothing_and_says_the_same() -> None:
    desk = Desk()
    first = desk.nights(day("2024-03-21"))[-1]
    again = desk.cycle(day("2024-03-21"))
    assert first.plan.orders == again.plan.orders
    assert len(first.plan.orders) >= 2
    assert again.resumed
    assert set(desk.orders_at_venue().values()) == {1}


def test_missed_nights_are_booked_and_named() -> None:
    desk = Desk()
    desk.nights(day("2024-03-21"))
    later = desk.cycle(day("2024-03-26"))
    assert [d.day for d in later.missed_days] == [22, 23, 24, 25]
    assert list(desk.book.equity().index) == list(DAYS[:9])
    assert {fill.day.day for fill in later.fills} >= {22}


def test_a_dry_run_asks_the_venue_and_leaves_no_trace() -> None:
    desk = Desk()
    desk.nights(day("2024-03-20"))
    orders, fills = desk.orders_at_venue(), desk.book.fills()
    events = len(desk.book.events())
    dry = desk.cycle(day("2024-03-21"), dry_run=True)
    assert {result.status for result in dry.results} == {OrderStatus.PLANNED}
    assert (desk.orders_at_venue(), desk.book.fills(), len(desk.book.events())) == (orders, fills, events)
    assert desk.cycle(day("2024-03-21")).plan == dry.plan


def test_reasons_and_strategies_come_from_the_orders(calm: Desk) -> None:
    fills = calm.book.fills()
    assert {fill.strategy for fill in fills} == {"shares", "coins"}
    assert {fill.reason for fill in fills} >= {"signal", "stop_loss"}


# The line ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["drop_request", "drop_answer", "delay", "error_500", "accepted_504", "reset", "truncated_json"]
)
@pytest.mark.parametrize("nth", [1, 2])
def test_an_order_whose_request_or_answer_is_lost_is_there_once_when_the_cycle_ends(
    kind: str, nth: int, calm: Desk
) -> None:
    desk = Desk()
    desk.nights(day("2024-03-20"))
    desk.faults = Faults(1, {}, [Force(kind, nth, "POST", "/v2/orders")])
    report = desk.cycle(day("2024-03-21"))
    assert {result.status for result in report.results} <= {OrderStatus.ACCEPTED, OrderStatus.FILLED}
    desk.faults = None
    desk.nights(day("2024-03-28"), since=day("2024-03-22"))
    assert tale(desk.book) == [row for row in tale(calm.book) if row[0] <= day("2024-03-29")]
    assert set(desk.orders_at_venue().values()) == {1}


@pytest.mark.parametrize("seed", range(6))
def test_a_bad_line_for_a_fortnight_changes_nothing_but_the_nights_without_a_decision(seed: int) -> None:
    desk = Desk()
    rates = dict.fromkeys(("drop_request", "drop_answer", "delay", "error_500", "reset", "accepted_504"), 0.02)
    desk.cycle(DAYS[0])
    desk.faults = Faults(seed, rates)
    silent = [report for report in desk.nights(day("2024-04-03"), since=DAYS[1]) if report.unreachable]
    desk.faults = None
    desk.nights(DAYS[-1], since=day("2024-04-04"))
    assert set(desk.orders_at_venue().values()) == {1}
    assert desk.book.cash() == desk.executor().account().cash
    assert not any(report.plan.orders for report in silent if not report.resumed)
    assert OrderStatus.UNKNOWN.value not in set(desk.book.orders()["status"])


def test_a_silent_venue_gets_nothing_and_the_last_account_is_shown_as_such() -> None:
    desk = Desk()
    desk.nights(day("2024-03-20"))
    before = desk.orders_at_venue()
    desk.faults = DEAD
    report = desk.cycle(day("2024-03-21"))
    assert desk.orders_at_venue() == before
    assert report.known_day == day("2024-03-21")  # coins that were ordered in the night before were bought on it
    assert {refusal.reason for refusal in report.plan.refusals} == {"unreachable"}
    assert {refusal.symbol for refusal in report.plan.refusals} >= {"ACME", "BOLT"}
    assert "The account is the last one known of 2024-03-21: alpaca cannot be reached" in str(report)
    assert report.cash == desk.book.cash()
    assert {s: h.quantity for s, h in report.holdings.items()} == {
        s: p.quantity for s, p in desk.book.positions().items()
    }
    closes = PANEL.close.loc[report.known_day]
    held = sum(float(holding.quantity) * closes[symbol] for symbol, holding in report.holdings.items())
    assert float(report.cash) + held == pytest.approx(float(report.equity), abs=0.01)
    assert desk.book.cycle("daily", day("2024-03-21")) is None
    assert list(desk.book.events("refused")["subject"]) == ["daily 2024-03-21"]


def test_when_the_line_is_back_the_same_night_is_decided_anew_and_so_is_the_next() -> None:
    desk = Desk()
    desk.nights(day("2024-03-20"))
    desk.faults = DEAD
    desk.cycle(day("2024-03-21"))
    desk.faults = None
    assert len(desk.cycle(day("2024-03-21")).plan.orders) >= 2
    other = Desk()
    other.nights(day("2024-03-20"))
    other.faults = DEAD
    other.cycle(day("2024-03-21"))
    other.faults = None
    friday = other.cycle(day("2024-03-22"))
    assert [missed.day for missed in friday.missed_days] == [21]
    assert "ACME" not in {order.symbol for order in friday.plan.orders}  # Thursday's wish is not queued


def test_a_line_that_breaks_in_the_middle_of_a_plan_refuses_the_purchases_that_are_left() -> None:
    desk = Desk()
    desk.nights(day("2024-03-20"))

    class Breaking(AlpacaExecutor):
        def submit(self, order: OrderRequest) -> OrderResult:
            result = super().submit(order)
            desk.faults = DEAD
            self.line = desk.executor().line  # type: ignore[attr-defined]
            return OrderResult(order.client_id, OrderStatus.UNKNOWN, message="no answer") if result else result

    line = local_session(desk.venue)
    report = desk.cycle(
        day("2024-03-21"),
        executor=lambda book, panel: Breaking("paper-key", "paper-secret", session=line, sleep=lambda s: None),
    )
    statuses = [result.status.value for result in report.results]
    assert statuses == ["unknown", "rejected"]
    assert report.results[1].message.startswith("not sent: no answer")
    desk.faults = None
    desk.cycle(day("2024-03-22"))
    assert set(desk.orders_at_venue().values()) == {1}
    assert "unknown" not in set(desk.book.orders()["status"])


def test_an_account_that_was_never_opened_cannot_be_shown() -> None:
    desk = Desk()
    desk.faults = DEAD
    with pytest.raises(VenueError, match="cannot be reached"):
        desk.cycle(DAYS[0])
    assert desk.book.opened_with() is None


# Others at the same account ------------------------------------------------------------------------------------------------


def test_a_trade_by_hand_is_refused_with_both_sides_and_adopted_when_that_is_set() -> None:
    desk = Desk()
    desk.nights(day("2024-03-22"))
    desk.by_hand("COIN/USD", Side.BUY, "1")
    orders = desk.orders_at_venue()
    with pytest.raises(MismatchError) as refused:
        desk.cycle(day("2024-03-23"))
    said = str(refused.value)
    assert "buy 1 COIN/USD" in said
    assert "trading doctor" in said
    assert "execution.foreign=adopt" in said
    assert refused.value.exit_code == 2
    assert desk.orders_at_venue() == orders
    assert len(desk.book.events("foreign")) == 1
    report = desk.cycle(day("2024-03-23"), foreign="adopt")
    assert desk.book.cash() == desk.executor().account().cash
    assert not report.unreachable


def test_what_somebody_holds_by_hand_is_neither_sold_nor_bought_by_a_strategy() -> None:
    desk = Desk()
    desk.nights(day("2024-03-18"), foreign="adopt")
    desk.by_hand("ACME", Side.BUY, "3")
    reports = desk.nights(DAYS[-1], since=day("2024-03-19"), foreign="adopt")
    assert desk.book.positions()["ACME"].quantity == 3
    assert {fill.strategy for fill in desk.book.fills() if fill.symbol == "ACME"} == {"manual"}
    refusals = [refusal for report in reports for refusal in report.plan.refusals if refusal.symbol == "ACME"]
    assert {refusal.reason for refusal in refusals} == {"other_strategy"}
    assert desk.executor().positions()["ACME"].quantity == 3
    assert float(desk.book.equity().iloc[-1]) == pytest.approx(float(desk.executor().account().equity), abs=0.01)


def test_an_open_order_of_somebody_else_is_refused_or_adopted_and_never_canceled_by_us() -> None:
    desk = Desk()
    desk.nights(day("2024-03-28"))
    desk.by_hand("ACME", Side.BUY, "1")  # on Good Friday: it waits for Monday
    with pytest.raises(MismatchError, match="by-hand"):
        desk.cycle(day("2024-03-29"))
    desk.nights(day("2024-04-01"), since=day("2024-03-29"), foreign="adopt")
    assert [f.strategy for f in desk.book.fills() if f.client_id == "by-hand"] == ["manual"]
    assert desk.book.cash() == desk.executor().account().cash


def test_positions_from_before_are_refused_or_adopted_at_what_was_paid() -> None:
    desk = Desk()
    desk.clock.advance(day("2024-03-18") + pd.Timedelta("15h"))
    desk.by_hand("ACME", Side.BUY, "10")
    with pytest.raises(MismatchError, match="sell it at the venue"):
        desk.cycle(day("2024-03-18"))
    assert desk.book.opened_with() is None
    desk.cycle(day("2024-03-18"), foreign="adopt")
    assert desk.book.cash() == desk.executor().account().cash
    assert desk.book.positions()["ACME"].strategy == "manual"
    desk.nights(day("2024-03-28"), since=day("2024-03-19"), foreign="adopt")
    assert desk.book.positions()["ACME"].quantity == 10


def test_an_old_history_of_an_account_that_is_flat_does_not_matter() -> None:
    desk = Desk()
    desk.by_hand("COIN/USD", Side.BUY, "1", "old-1")
    desk.clock.advance(pd.Timedelta("2h"))
    desk.by_hand("COIN/USD", Side.SELL, "1", "old-2")
    desk.nights(day("2024-03-22"))
    assert desk.book.cash() == desk.executor().account().cash
    assert {fill.strategy for fill in desk.book.fills()} <= {"shares", "coins"}


def test_a_fee_in_coin_makes_the_position_smaller_and_is_booked_once() -> None:
    desk = Desk(costs=Costs(rate=0.0025))
    reports = desk.nights(DAYS[-1])
    fees = [fill for fill in desk.book.fills() if fill.reason == "fee"]
    assert fees
    assert {fill.strategy for fill in fees if fill.symbol == "COIN/USD"} == {"coins"}
    assert desk.book.cash() == desk.executor().account().cash
    held = {s: p.quantity for s, p in desk.executor().positions().items()}
    assert {s: p.quantity for s, p in desk.book.positions().items()} == held
    assert len({fill.venue_id for fill in desk.book.fills()}) == len(desk.book.fills())
    assert reports[-1].holdings.keys() <= held.keys()


# Killed, and started again ------------------------------------------------------------------------------------------------


def _steps(desk: Desk, until: pd.Timestamp) -> int:
    names: list[str] = []
    desk.cycle(until, step=names.append)
    return len(names)


class Bomb:
    """Goes off at one of a ledger's statements or commits."""

    def __init__(self, ledger: Ledger, at: int | None):
        self.count, self.at = 0, at
        event.listen(ledger.engine, "before_cursor_execute", lambda *_: self.tick())
        event.listen(ledger.engine, "commit", lambda *_: self.tick())

    def tick(self) -> None:
        self.count += 1
        if self.count == self.at:
            raise Killed


def test_killed_at_any_statement_and_started_again_the_book_is_the_same(calm: Desk) -> None:
    counter = Desk()
    counter.nights(day("2024-03-20"))
    bomb = Bomb(counter.book, None)
    counter.cycle(day("2024-03-21"))
    total = bomb.count
    assert total > 40
    expected = [row for row in tale(calm.book) if row[0] <= day("2024-03-26")]
    for at in range(1, total + 1, 3):
        desk = Desk()
        desk.nights(day("2024-03-20"))
        bomb = Bomb(desk.book, at)
        with pytest.raises(Killed):
            desk.cycle(day("2024-03-21"))
        bomb.at = None
        desk.nights(day("2024-03-25"), since=day("2024-03-21"))
        assert tale(desk.book) == expected, f"killed at statement {at} of {total}"
        assert set(desk.orders_at_venue().values()) == {1}
        assert desk.book.cash() == desk.executor().account().cash


@pytest.mark.parametrize("word", ["before", "after"])
@pytest.mark.parametrize("place", [0, 1])
def test_killed_around_a_send_each_order_is_at_the_venue_once(word: str, place: int, calm: Desk) -> None:
    desk = Desk()
    desk.nights(day("2024-03-20"))
    seen: list[str] = []

    class Deadly(AlpacaExecutor):
        def submit(self, order: OrderRequest) -> OrderResult:
            self.die("before")
            result = super().submit(order)
            self.die("after")
            return result

        def die(self, now: str) -> None:
            seen.append(now)
            if now == word and seen.count(word) == place + 1:
                raise Killed

    line = local_session(desk.venue)
    with pytest.raises(Killed):
        desk.cycle(day("2024-03-21"), executor=lambda book, panel: Deadly("paper-key", "paper-secret", session=line))
    desk.nights(day("2024-03-25"), since=day("2024-03-21"))
    assert tale(desk.book) == [row for row in tale(calm.book) if row[0] <= day("2024-03-26")]
    assert set(desk.orders_at_venue().values()) == {1}


def test_killed_on_thursday_and_started_on_good_friday_the_shares_are_bought_on_monday_all_the_same(calm: Desk) -> None:
    desk = Desk()
    desk.nights(day("2024-03-27"))
    with pytest.raises(Killed):
        desk.cycle(day("2024-03-28"), step=lambda name: _raise() if name == "send" else None)
    desk.nights(day("2024-04-01"), since=day("2024-03-29"))
    monday = {row for row in tale(desk.book) if row[0] == day("2024-04-01") and row[1] != "COIN/USD"}
    assert monday == {row for row in tale(calm.book) if row[0] == day("2024-04-01") and row[1] != "COIN/USD"}
    assert monday


def test_a_purchase_whose_market_has_opened_meanwhile_is_given_up() -> None:
    desk = Desk()
    desk.nights(day("2024-03-20"))
    with pytest.raises(Killed):
        desk.cycle(day("2024-03-21"), step=lambda name: _raise() if name == "send" else None)
    planned = desk.book.intents("daily", day("2024-03-21"))
    assert planned
    desk.cycle(day("2024-03-22"))
    status = desk.book.statuses("daily", day("2024-03-21"))
    assert {status[o.client_id] for o in planned if o.side is Side.BUY} == {OrderStatus.EXPIRED}
    assert not {o.client_id for o in planned if o.side is Side.BUY} & set(desk.orders_at_venue())


def _raise() -> None:
    raise Killed


# What cannot be written ---------------------------------------------------------------------------------------------------


def refuse_writes(ledger: Ledger, when: Callable[[str], bool]) -> None:
    """From the first statement on that `when` names, the disk is full."""
    import sqlite3

    full: list[bool] = []

    @event.listens_for(ledger.engine, "before_cursor_execute")
    def refuse(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        writes = statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE"))
        if writes and (full or when(statement)):
            full.append(True)
            raise sqlite3.OperationalError("database or disk is full")


def test_a_ledger_that_cannot_be_written_stops_the_cycle_before_the_venue_hears_of_it(tmp_path: Path) -> None:
    desk = Desk(book=Ledger(tmp_path / "ledger.db", account="desk", write=True))
    desk.nights(day("2024-03-20"))
    calls: list[str] = []
    refuse_writes(desk.book, lambda statement: True)

    class Listening(AlpacaExecutor):
        def submit(self, order: OrderRequest) -> OrderResult:
            calls.append(order.client_id)
            return super().submit(order)

    line = local_session(desk.venue)
    with pytest.raises(Exception, match=r"cannot be written|disk is full"):
        desk.cycle(day("2024-03-21"), executor=lambda book, panel: Listening("paper-key", "paper-secret", session=line))
    assert calls == []
    desk.book.close()


def test_a_disk_that_fills_up_after_the_first_order_ends_the_cycle_and_the_next_start_recovers(
    tmp_path: Path, calm: Desk
) -> None:
    desk = Desk(book=Ledger(tmp_path / "ledger.db", account="desk", write=True))
    desk.nights(day("2024-03-20"))
    sent: list[str] = []
    refuse_writes(desk.book, lambda statement: bool(sent))

    class Listening(AlpacaExecutor):
        def submit(self, order: OrderRequest) -> OrderResult:
            sent.append(order.client_id)
            return super().submit(order)

    line = local_session(desk.venue)
    with pytest.raises((UnwritableLedgerError, Exception)):
        desk.cycle(day("2024-03-21"), executor=lambda book, panel: Listening("paper-key", "paper-secret", session=line))
    assert len(sent) == 1
    desk.book.close()
    desk.book = Ledger(tmp_path / "ledger.db", account="desk", write=True)
    desk.nights(day("2024-03-25"), since=day("2024-03-21"))
    assert tale(desk.book) == [row for row in tale(calm.book) if row[0] <= day("2024-03-26")]
    assert set(desk.orders_at_venue().values()) == {1}
    desk.book.close()


# People -------------------------------------------------------------------------------------------------------------------


def test_a_gate_holds_orders_back_and_the_next_nights_do_not_send_them_behind_its_back() -> None:
    desk = Desk()
    desk.nights(day("2024-03-20"))

    def nobody_home(ledger: Ledger, venue: ExecutorBase, prices: Any) -> Any:
        def gate(cycle: Any, orders: Any) -> Gated:
            held = [o for o in orders if ledger.order(o.client_id).status is OrderStatus.PLANNED]  # type: ignore[union-attr]
            waits = tuple(OrderResult(o.client_id, OrderStatus.PLANNED, message="waits") for o in held)
            return Gated(tuple(o for o in orders if o not in held), tuple(held), waits)

        return gate

    before = desk.orders_at_venue()
    report = desk.cycle(day("2024-03-21"), gate=nobody_home)
    assert {result.message for result in report.results} == {"waits"}
    assert desk.orders_at_venue() == before
    assert desk.book.cycle("daily", day("2024-03-21")).status == "sent"  # type: ignore[union-attr]
    desk.nights(day("2024-03-25"), since=day("2024-03-22"), gate=nobody_home)
    assert desk.orders_at_venue() == before


def test_a_stop_that_the_venue_let_expire_goes_out_again_the_next_night() -> None:
    desk = Desk()
    desk.nights(day("2024-03-28"))
    held = next(iter(desk.book.positions().values()))
    sale = OrderRequest(
        "20240328-stop-s-1", held.symbol, Side.SELL, held.quantity, "stop_loss", held.strategy, whole=True
    )
    desk.book.add_intents([sale], "daily", day("2024-03-28"))
    desk.book.set_status(OrderResult(sale.client_id, OrderStatus.EXPIRED))
    report = desk.cycle(day("2024-03-29"))
    assert [(o.reason, o.whole) for o in report.plan.orders if o.symbol == held.symbol] == [("stop_loss", True)]


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    yield
    assert not DEAD.is_quiet


def test_fills_of_this_market_are_exact(calm: Desk) -> None:
    assert all(isinstance(fill, Fill) and fill.moment is not None for fill in calm.book.fills())


# Orders of others in the house ---------------------------------------------------------------------------------------------


def test_a_stop_of_the_monitor_that_had_no_answer_goes_out_again_with_the_next_cycle() -> None:
    desk = Desk()
    desk.nights(day("2024-03-28"))
    held = desk.book.positions()["COIN/USD"]
    sale = OrderRequest("monitor-stop-1", "COIN/USD", Side.SELL, held.quantity, "stop_loss", held.strategy, whole=True)
    desk.faults = Faults(1, {}, [Force("drop_request", 1, "POST", "/v2/orders")])
    line = desk.executor()
    assert Journal(line, desk.book).send(sale, job="monitor").status is OrderStatus.UNKNOWN
    desk.faults = None
    desk.cycle(day("2024-03-29"))
    desk.cycle(day("2024-03-30"))
    assert [f.reason for f in desk.book.fills() if f.client_id == "monitor-stop-1"] == ["stop_loss"]
    assert desk.orders_at_venue()["monitor-stop-1"] == 1


def test_something_adopted_that_the_market_of_the_run_does_not_have_is_kept_and_valued_at_what_was_paid() -> None:
    desk = Desk()
    desk.clock.advance(day("2024-03-18") + pd.Timedelta("15h"))
    desk.by_hand("BOLT", Side.BUY, "10")
    desk.panel = PANEL.select(["ACME", "COIN/USD"])
    desk.strategies = {"coins": STRATEGIES["coins"]}
    report = desk.nights(day("2024-03-26"), foreign="adopt")[-1]
    bought = desk.book.positions()["BOLT"]
    assert (bought.quantity, bought.strategy) == (10, "manual")
    assert "BOLT" not in report.holdings
    rest = sum(h.quantity * Decimal(str(PANEL.close.loc["2024-03-26", s])) for s, h in report.holdings.items())
    assert report.equity == pytest.approx(report.cash + rest + 10 * bought.entry_price, abs=Decimal("0.01"))
