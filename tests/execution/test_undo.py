"""Undoing takes back what one run did, once, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pandas as pd
import pytest

from trading_core.execution import ApprovalRules, Gate, NoSuchRunError, OrderRouter, cancel_order, undo_plan, undo_run
from trading_core.ledger import Ledger
from trading_core.model import Fill, OrderRequest, OrderResult, OrderStatus, Side

DAY = pd.Timestamp("2024-03-28", tz="UTC")


class Venue:
    "Fills when told to."

    name, paper = "test", True

    def __init__(self) -> None:
        self.book: dict[str, OrderResult] = {}
        self.orders: dict[str, OrderRequest] = {}

    def submit(self, order: OrderRequest) -> OrderResult:
        self.orders[order.client_id] = order
        return self.book.setdefault(order.client_id, OrderResult(order.client_id, OrderStatus.ACCEPTED))

    def order(self, client_id: str) -> OrderResult | None:
        return self.book.get(client_id)

    def cancel(self, client_id: str) -> OrderResult:
        if self.book[client_id].status.open:
            self.book[client_id] = OrderResult(client_id, OrderStatus.CANCELED)
        return self.book[client_id]


class Account:
    def __init__(self) -> None:
        self.ledger, self.venue = Ledger("sqlite://", account="demo", write=True), Venue()
        self.ledger.bind("csv", "test", Decimal(10_000))
        self.journal = OrderRouter(self.venue, self.ledger)  # type: ignore[arg-type]
        self.number = 0

    def run(self, run_id: str, *orders: OrderRequest, day: pd.Timestamp = DAY) -> None:
        self.ledger.start_run(run_id, "daily", day)
        plan, cash = {"targets": {}, "cancels": [], "refusals": []}, Decimal(1)
        cycle = self.ledger.store_plan(
            "daily", day, orders=orders, plan=plan, signals={}, equity=cash, cash=cash, run_id=run_id
        )
        self.journal.carry_out(cycle)
        self.ledger.end_run(run_id, "done")

    def fill(self, client_id: str, quantity: str | None = None, status: OrderStatus = OrderStatus.FILLED) -> None:
        order = self.venue.orders[client_id]
        self.number += 1
        fill = Fill(
            f"f{self.number}", client_id, order.symbol, order.side, Decimal(quantity) if quantity else order.quantity,
            Decimal(50), Decimal(0), DAY, order.reason, order.strategy,
        )  # fmt: skip
        self.ledger.add_fills([fill])
        self.venue.book[client_id] = OrderResult(client_id, status)
        self.ledger.set_status(self.venue.book[client_id])

    def held(self) -> dict[str, Decimal]:
        return {symbol: position.quantity for symbol, position in self.ledger.positions().items()}


def buy(client_id: str, symbol: str = "ACME", quantity: str = "5") -> OrderRequest:
    return OrderRequest(client_id, symbol, Side.BUY, Decimal(quantity), strategy="demo")


def bad_run(*orders: OrderRequest) -> Account:
    account = Account()
    account.run("20240327T001000Z-daily-aaaa", buy("before", quantity="10"), day=DAY - pd.Timedelta(days=1))
    account.fill("before")
    account.run("20240328T001000Z-daily-bbbb", *orders)
    return account


def test_only_what_the_run_bought_is_sold() -> None:
    account = bad_run(buy("a"), buy("b", "BOLT"))
    account.fill("a")
    account.fill("b")
    plan = undo_plan(account.ledger, "20240328")
    assert [(o.symbol, o.quantity, o.whole) for o in plan.sales] == [
        ("ACME", Decimal(5), False),
        ("BOLT", Decimal(5), True),
    ]
    for result in undo_run(account.ledger, account.journal, "20240328"):
        account.fill(result.client_id)
    assert account.held() == {"ACME": Decimal(10)}


def test_a_partly_filled_order_is_canceled_and_its_part_sold() -> None:
    account = bad_run(buy("a"))
    account.fill("a", "2", OrderStatus.PARTIALLY_FILLED)
    results = undo_run(account.ledger, account.journal, "20240328")
    assert [r.status for r in results] == [OrderStatus.CANCELED, OrderStatus.ACCEPTED]
    assert account.venue.orders[results[1].client_id].quantity == 2


def test_an_order_that_fills_while_it_is_canceled_is_sold_all_the_same() -> None:
    account = bad_run(buy("b", "BOLT"))
    cancel = account.venue.cancel

    def too_late(client_id: str) -> OrderResult:
        account.venue.book[client_id] = OrderResult(client_id, OrderStatus.FILLED)
        return cancel(client_id)

    account.venue.cancel = too_late  # type: ignore[method-assign]
    results = undo_run(account.ledger, account.journal, "20240328", refresh=lambda: account.fill("b"))
    assert [r.status for r in results] == [OrderStatus.FILLED, OrderStatus.ACCEPTED]
    account.fill(results[1].client_id)
    assert account.held() == {"ACME": Decimal(10)}


def test_undoing_twice_sells_once_however_often_the_process_died() -> None:
    account = bad_run(buy("a"))
    account.fill("a")
    first = undo_run(account.ledger, account.journal, "20240328")
    assert len(first) == 1
    assert undo_run(account.ledger, account.journal, "20240328") == []
    account.fill(first[0].client_id)
    assert undo_run(account.ledger, account.journal, "20240328") == []
    assert account.held() == {"ACME": Decimal(10)}
    assert undo_plan(account.ledger, "20240328").kept == {"ACME": "it was taken back already"}


def test_a_sale_that_was_written_down_but_not_sent_is_sent_again_under_its_id() -> None:
    account = bad_run(buy("a"))
    account.fill("a")
    sale = undo_plan(account.ledger, "20240328").sales[0]
    account.ledger.add_intents([sale], "undo", DAY)
    assert [r.client_id for r in undo_run(account.ledger, account.journal, "20240328")] == [sale.client_id]


def test_a_sale_that_came_to_nothing_has_a_successor_for_the_rest() -> None:
    account = bad_run(buy("a"))
    account.fill("a")
    first = undo_run(account.ledger, account.journal, "20240328")[0].client_id
    account.fill(first, "2", OrderStatus.CANCELED)
    second = undo_run(account.ledger, account.journal, "20240328")[0].client_id
    assert second != first
    assert account.venue.orders[second].quantity == 3
    account.fill(second)
    assert account.held() == {"ACME": Decimal(10)}


def test_a_fee_in_coin_is_not_sold_again() -> None:
    account = bad_run(buy("c", "COIN/USD", "2"))
    account.fill("c")
    fee = Fill("fee", "c", "COIN/USD", Side.SELL, Decimal("0.005"), Decimal(0), Decimal(0), DAY, "fee", "demo")
    account.ledger.add_fills([fee])
    sale = undo_plan(account.ledger, "20240328").sales[0]
    assert (sale.quantity, sale.whole, sale.time_in_force.value) == (Decimal("1.995"), True, "gtc")


def test_what_the_run_sold_is_not_bought_back_and_what_is_sold_since_is_left() -> None:
    sold = replace(buy("s", quantity="4"), side=Side.SELL)
    account = bad_run(sold, buy("b", "BOLT"))
    account.fill("s")
    account.fill("b")
    account.venue.submit(OrderRequest("by-hand", "BOLT", Side.SELL, Decimal(5), strategy="demo"))
    account.ledger.add_intents([account.venue.orders["by-hand"]])
    account.fill("by-hand")
    plan = undo_plan(account.ledger, "20240328")
    assert plan.empty
    assert "new decision" in plan.kept["ACME"]
    assert "sold since" in plan.kept["BOLT"]


def test_a_run_must_be_named_unmistakably() -> None:
    account = bad_run(buy("a"))
    for name in ("", "2024032", "yesterday"):
        with pytest.raises(NoSuchRunError, match="The last ones are 20240328T001000Z-daily-bbbb"):
            undo_plan(account.ledger, name)


def test_canceling_what_waits_for_a_person_answers_the_question() -> None:
    account = Account()
    plan, cash = {"targets": {}, "cancels": [], "refusals": []}, Decimal(1)
    cycle = account.ledger.store_plan("daily", DAY, orders=[buy("a")], plan=plan, signals={}, equity=cash, cash=cash)
    Gate(account.ledger, ApprovalRules("manual"), {"ACME": Decimal(50)})(cycle, [buy("a")])
    assert cancel_order(account.ledger, account.journal, "a").status is OrderStatus.CANCELED
    assert not account.venue.orders
    assert [a.status for a in account.ledger.approvals()] == ["refused"]


def rehearsed(account: Account, *days: tuple[OrderRequest, ...]) -> None:
    "One run that decides one day after the other; what was sent the day before is filled, but for the last day's."
    for number, orders in enumerate(days):
        plan, cash = {"targets": {}, "cancels": [], "refusals": []}, Decimal(1)
        cycle = account.ledger.store_plan(
            "daily", DAY + pd.Timedelta(days=number), orders=orders, plan=plan, signals={}, equity=cash, cash=cash,
            run_id="20240401T001000Z-daily-cccc",
        )  # fmt: skip
        account.journal.carry_out(cycle)
        for order in orders if number < len(days) - 1 else ():
            account.fill(order.client_id)


def sell(client_id: str, symbol: str = "ACME", quantity: str = "5") -> OrderRequest:
    return replace(buy(client_id, symbol, quantity), side=Side.SELL)


def test_a_run_that_decided_many_days_is_taken_back_with_all_of_them() -> None:
    account = Account()
    account.run("20240327T001000Z-daily-aaaa", buy("before", quantity="10"), day=DAY - pd.Timedelta(days=1))
    account.fill("before")
    rehearsed(
        account,
        (buy("a1"), buy("b1", "BOLT"), buy("d1", "DUNE", "8")),
        (sell("b2", "BOLT"), sell("d2", "DUNE", "3"), buy("e2", "ECHO")),
        (buy("a3", quantity="2"), buy("b3", "BOLT", "7")),
        (buy("f4", "FERN"), sell("e4", "ECHO")),
    )
    plan = undo_plan(account.ledger, "20240401")
    assert [order.client_id for order in plan.cancels] == ["f4"]
    assert plan.kept == {"ECHO": "a sale of it waits already"}
    assert [(o.symbol, o.quantity, o.whole) for o in plan.sales] == [
        ("ACME", Decimal(7), False),
        ("BOLT", Decimal(7), True),
        ("DUNE", Decimal(5), True),
    ]
    for result in undo_run(account.ledger, account.journal, "20240401"):
        if result.status is OrderStatus.ACCEPTED:
            account.fill(result.client_id)
    account.fill("e4")
    assert account.held() == {"ACME": Decimal(10)}
    assert undo_plan(account.ledger, "20240401").empty


def test_what_another_run_bought_after_a_sale_is_not_taken_for_the_first_ones() -> None:
    account = Account()
    account.run("20240327T001000Z-daily-aaaa", buy("first"))
    account.fill("first")
    account.run("20240328T001000Z-daily-bbbb", sell("out"), day=DAY + pd.Timedelta(days=1))
    account.fill("out")
    account.run("20240329T001000Z-daily-cccc", buy("again"), day=DAY + pd.Timedelta(days=2))
    account.fill("again")
    plan = undo_plan(account.ledger, "20240327")
    assert (plan.empty, plan.kept) == (True, {"ACME": "it was sold since"})
