"""Paper trading keeps nothing but the ledger; the router sends each order once whatever the line does."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trading_core.data import HybridDataNormalizer
from trading_core.data.panel import Panel
from trading_core.execution import (
    ExecutorBase,
    NoSuchDayError,
    OrderRouter,
    PaperExecutor,
    check_executor,
    paper_day,
    plan_record,
    stored_plan,
)
from trading_core.ledger import Ledger, ReadOnlyLedgerError
from trading_core.model import AssetClass, Fill, OrderRequest, OrderResult, OrderStatus, OrderType, Side
from trading_core.portfolio import Costs, Plan, Refusal

DAYS = pd.date_range("2024-03-25", "2024-04-12", tz="UTC")
SESSIONS = DAYS[(DAYS.day_of_week < 5) & (DAYS != "2024-03-29")]


def bars(price: float, on: pd.DatetimeIndex) -> pd.DataFrame:
    opens = price + np.arange(len(on), dtype=float)
    frame = {"open": opens, "high": opens + 2, "low": opens - 2, "close": opens + 0.5, "volume": 1.0}
    return pd.DataFrame(frame, on)


PANEL = HybridDataNormalizer().normalize(
    {"ACME": bars(50, SESSIONS), "COIN/USD": bars(400, DAYS), "GONE": bars(20, SESSIONS[:3])}
)


def account(cash: str = "10000") -> Ledger:
    ledger = Ledger("sqlite://", account="demo", write=True)
    ledger.bind("csv", "paper", Decimal(cash))
    return ledger


def buy(symbol: str = "ACME", quantity: str = "2", client_id: str = "", **more: object) -> OrderRequest:
    return OrderRequest(client_id or f"buy-{symbol}", symbol, Side.BUY, Decimal(quantity), strategy="demo", **more)  # type: ignore[arg-type]


def sell(symbol: str = "ACME", quantity: str = "2", **more: object) -> OrderRequest:
    return replace(buy(symbol, quantity, f"sell-{symbol}", **more), side=Side.SELL)


class Bench:
    symbols = ("ACME", "COIN/USD")

    def __init__(self) -> None:
        self.ledger, self.row = account(), 6

    def executor(self) -> PaperExecutor:
        return PaperExecutor(self.ledger, PANEL, Costs(rate=0.002, slippage_bps=10))

    def next_day(self) -> list[Fill]:
        self.row += 1
        return self.executor().advance(PANEL.days[self.row])


def test_paper_trading_keeps_every_promise_of_the_port() -> None:
    report = check_executor(Bench)
    assert report.ok, repr(report)
    assert "14 of 14" in repr(report)
    assert report._repr_html_().count("<tr>") == 14


def test_an_executor_that_raises_is_reported_and_not_raised() -> None:
    class Broken(PaperExecutor):
        def open_orders(self) -> list[OrderRequest]:
            raise ValueError("<the book is lost>")

    class BrokenBench(Bench):
        def executor(self) -> PaperExecutor:
            return Broken(self.ledger, PANEL)

    report = check_executor(BrokenBench)
    assert not report.ok
    assert "ValueError: <the book is lost>" in repr(report)
    assert "<the book" not in report._repr_html_()


def test_the_port_cannot_be_half_kept() -> None:
    with pytest.raises(TypeError, match="abstract"):
        ExecutorBase()  # type: ignore[abstract]


def test_an_order_waits_for_its_assets_next_real_open() -> None:
    ledger = account()
    venue = PaperExecutor(ledger, PANEL, Costs(rate=0))
    for order in (buy("ACME"), buy("COIN/USD")):
        venue.submit(order)
    booked = {day: [fill.symbol for fill in venue.advance(day)] for day in DAYS[4:8]}  # Good Friday to Monday
    assert list(booked.values()) == [["COIN/USD"], [], [], ["ACME"]]
    fill = ledger.fills()[-1]
    assert fill.price == Decimal(str(PANEL.open.loc["2024-04-01", "ACME"]))
    assert fill.venue_id == "paper-buy-ACME"


def test_coins_sell_first_and_shares_cannot_pay_for_them() -> None:
    bought = Fill("p", "c", "COIN/USD", Side.BUY, Decimal(2), Decimal(1), Decimal(0), DAYS[0])
    pending = [buy("ACME", "10"), sell("COIN/USD", "2", whole=True)]
    happened = paper_day(PANEL, 1, [bought], pending, Decimal(100), Costs(rate=0))
    assert [(fill.symbol, fill.cut) for fill in happened.fills] == [("COIN/USD", False), ("ACME", False)]


def test_a_whole_sale_sells_what_is_held_then_and_a_sale_of_nothing_is_dropped() -> None:
    bought = Fill("p", "c", "ACME", Side.BUY, Decimal("2.5"), Decimal(50), Decimal(0), DAYS[0])
    happened = paper_day(PANEL, 1, [bought], [sell("ACME", "1", whole=True)], Decimal(1000), Costs())
    assert happened.fills[0].quantity == Decimal("2.5")
    nothing = paper_day(PANEL, 1, [], [sell("ACME", "1", whole=True)], Decimal(1000), Costs())
    assert (nothing.fills, nothing.results[0].status) == ([], OrderStatus.REJECTED)
    assert nothing.results[0].message.startswith("not_held")


def test_a_position_in_an_asset_that_has_ended_is_closed_at_its_last_price_with_the_usual_fee() -> None:
    ledger = account()
    venue = PaperExecutor(ledger, PANEL, Costs(rate=0.01, slippage_bps=50))
    venue.submit(buy("GONE", "3"))
    for day in PANEL.days[1:]:
        venue.advance(day)
    closing = ledger.fills()[-1]
    assert (closing.reason, closing.price, closing.strategy) == ("delisted", Decimal("22.5"), "demo")
    assert closing.fee == Decimal("0.675")
    assert closing.day == pd.Timestamp("2024-04-11", tz="UTC")  # ten sessions after 27 March, with Good Friday closed
    assert ledger.positions() == {}
    assert ledger.equity_frame()["cash"].iloc[-1] == ledger.cash()


def test_equity_is_flat_over_a_closed_market() -> None:
    ledger = account()
    venue = PaperExecutor(ledger, PANEL)
    venue.submit(buy("ACME", "100"))
    for day in DAYS[1:8]:
        venue.advance(day)
    equity = ledger.equity()
    assert equity["2024-03-28":"2024-03-31"].nunique() == 1  # type: ignore[misc]
    assert equity["2024-04-01"] != equity["2024-03-31"]


def test_an_unknown_symbol_or_a_missing_price_is_refused_with_a_reason() -> None:
    venue = PaperExecutor(account(), PANEL)
    for order in (buy("XYZ"), *(buy("ACME", order_type=kind) for kind in OrderType if kind is not OrderType.MARKET)):
        said = venue.submit(order)
        assert said.status is OrderStatus.REJECTED
        assert said.message
    assert venue.open_orders() == []


def test_a_day_outside_the_panel_is_refused_and_a_planned_order_is_unknown_to_the_venue() -> None:
    ledger = account()
    venue = PaperExecutor(ledger, PANEL)
    ledger.add_intents([buy()])
    assert venue.order("buy-ACME") is None
    with pytest.raises(NoSuchDayError, match="Load the bars of that day") as refused:
        venue.advance(pd.Timestamp("2025-01-01", tz="UTC"))
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def test_advancing_twice_over_one_day_books_it_once() -> None:
    ledger = account()
    venue = PaperExecutor(ledger, PANEL)
    venue.submit(buy())
    assert len(venue.advance(DAYS[1])) == 1
    assert venue.advance(DAYS[1]) == []
    assert len(ledger.fills()) == 1


def test_slippage_and_fees_follow_the_costs_of_the_class() -> None:
    costs = Costs(rate=0.001, minimum=1.0, slippage_bps=10, by_class={AssetClass.CRYPTO: {"rate": 0.0025}})
    venue = PaperExecutor(account(), PANEL, costs)
    venue.submit(buy("ACME", "100"))
    venue.submit(buy("COIN/USD", "1"))
    coin, share = venue.advance(DAYS[1])
    assert share.price == Decimal("51.051")
    assert share.fee == Decimal("5.1051")
    assert coin.price == Decimal("401.401")
    assert coin.fee == Decimal("1.0035025")


# Router ---------------------------------------------------------------------------------------------------------------


class Flaky(PaperExecutor):
    """A venue with a book of its own and a line that breaks as it is told."""

    name = "flaky"

    def __init__(self, ledger: Ledger, panel: Panel = PANEL, faults: tuple[str, ...] = ()):
        super().__init__(ledger, panel)
        self.faults, self.sent, self.asked = list(faults), Counter[str](), 0

    def submit(self, order: OrderRequest) -> OrderResult:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "request lost":
            raise ConnectionResetError("reset by peer")
        self.sent[order.client_id] += 1
        if fault == "answer lost":
            raise TimeoutError("10 seconds")
        if fault == "refused":
            return OrderResult(order.client_id, OrderStatus.REJECTED, message="no")
        return OrderResult(order.client_id, OrderStatus.ACCEPTED, "v")

    def order(self, client_id: str) -> OrderResult | None:
        self.asked += 1
        return OrderResult(client_id, OrderStatus.ACCEPTED, "v") if client_id in self.sent else None


ORDERS = (sell("GONE", "1", whole=True), buy("ACME"), buy("COIN/USD"))
PLAN = Plan(DAYS[1], ORDERS, (), (Refusal("X", "s", None, None, "ended", "é"),), {"ACME": 0.1})
MONEY = {"equity": Decimal(1), "cash": Decimal(1)}


@pytest.mark.parametrize("night", list(product(["", "request lost", "answer lost", "refused"], repeat=3)))
def test_each_order_arrives_once_whatever_the_line_did(night: tuple[str, ...]) -> None:
    ledger = account()
    venue = Flaky(ledger, faults=night)
    results = OrderRouter(venue, ledger).route(PLAN, **MONEY)
    lost = [fault.endswith("lost") for fault in night]
    assert [r.status is OrderStatus.UNKNOWN for r in results] == lost
    OrderRouter(venue, ledger).resume(ledger.last_cycle())  # type: ignore[arg-type]
    assert venue.sent == Counter({order.client_id: 1 for order in ORDERS})
    assert OrderStatus.UNKNOWN not in set(ledger.statuses("manual", DAYS[1]).values())
    assert ledger.unsent() == []


def test_the_intent_is_durable_before_the_venue_hears_of_it() -> None:
    ledger = account()
    seen: list[list[str]] = []

    class Looks(Flaky):
        def submit(self, order: OrderRequest) -> OrderResult:
            seen.append([o.client_id for o in self.ledger.intents("manual", DAYS[1])])
            return super().submit(order)

    OrderRouter(Looks(ledger), ledger).route(PLAN, **MONEY)
    assert seen == [[order.client_id for order in ORDERS]] * 3


def test_orders_go_out_in_the_plans_order_and_a_new_plan_asks_no_questions() -> None:
    ledger = account()
    venue = Flaky(ledger)
    results = OrderRouter(venue, ledger).route(PLAN, **MONEY)
    assert list(venue.sent) == [order.client_id for order in ORDERS] == [r.client_id for r in results]
    assert venue.asked == 0


def test_a_dry_run_touches_neither_venue_nor_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "none.db", account="demo")
    venue = Flaky(ledger)
    results = OrderRouter(venue, ledger, dry_run=True).route(PLAN, **MONEY)
    assert {r.status for r in results} == {OrderStatus.PLANNED}
    assert (venue.sent.total(), venue.asked, list(tmp_path.iterdir())) == (0, 0, [])


def test_a_router_that_could_not_record_is_refused_before_it_sends(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "none.db", account="demo")
    venue = Flaky(ledger)
    with pytest.raises(ReadOnlyLedgerError):
        OrderRouter(venue, ledger)
    assert venue.sent.total() == 0


def test_a_ledger_that_breaks_stops_the_sending_before_the_next_order(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = account()
    venue = Flaky(ledger)
    monkeypatch.setattr(ledger, "set_status", lambda *_: (_ for _ in ()).throw(RuntimeError("disk full")))
    with pytest.raises(RuntimeError, match="disk full"):
        OrderRouter(venue, ledger).route(PLAN, **MONEY)
    assert venue.sent.total() == 1


def test_cancellations_go_first_and_a_filled_order_stays_filled() -> None:
    ledger = account()
    venue = PaperExecutor(ledger, PANEL)
    for order in (buy("ACME", client_id="old-1"), buy("COIN/USD", client_id="old-2")):
        venue.submit(order)
    venue.advance(DAYS[5])  # a Saturday: the coin fills
    plan = Plan(DAYS[5], (buy("ACME", client_id="new"),), ("old-1", "old-2"))
    OrderRouter(venue, ledger).route(plan, **MONEY)
    status = {name: ledger.order(name).status for name in ("old-1", "old-2", "new")}  # type: ignore[union-attr]
    assert status == {"old-1": OrderStatus.CANCELED, "old-2": OrderStatus.FILLED, "new": OrderStatus.ACCEPTED}


def test_a_plan_comes_back_from_the_ledger_as_it_was() -> None:
    ledger = account()
    refusals = (
        Refusal("A", "s", Side.BUY, Decimal("0.00000100"), "min_notional", "d"), Refusal("B", "s", None, None, "ended"),
    )  # fmt: skip
    plan = Plan(DAYS[1], ORDERS, ("x", "y"), refusals, {"A": 1 / 3, "B": 0.0})
    ledger.store_plan("daily", plan.day, orders=plan.orders, plan=plan_record(plan), signals={}, **MONEY)
    back = stored_plan(ledger.cycle("daily", plan.day), ledger)  # type: ignore[arg-type]
    assert back == plan
    assert f"{back.refusals[0].quantity:f}" == "0.00000100"
