"""A yes is bound to the exact order, its price and its hour; an exit waits for nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pandas as pd
import pytest

from trading_core.config import ExecutionSettings
from trading_core.execution import (
    ApprovalRules,
    Approvals,
    Gate,
    Gated,
    NoSuchApprovalError,
    OrderRouter,
    digest_of,
)
from trading_core.execution.approvals import HaltedApprovalError, clock_of, gate_for
from trading_core.ledger import Cycle, Ledger
from trading_core.model import OrderRequest, OrderResult, OrderStatus, OrderType, Side, TimeInForce

DAY = pd.Timestamp("2024-03-28", tz="UTC")
BUY = OrderRequest("20240328-ACME-b-1", "ACME", Side.BUY, Decimal(10), strategy="demo")
SURE = OrderRequest("20240328-BOLT-b-1", "BOLT", Side.BUY, Decimal(5), strategy="demo")
EXIT = OrderRequest("20240328-COIN-s-1", "COIN/USD", Side.SELL, Decimal(1), "stop_loss", "demo", whole=True)
STRENGTHS = {"ACME": 0.5, "BOLT": 0.9, "COIN/USD": 0.0}
PRICES = {"ACME": Decimal(50), "BOLT": Decimal(80), "COIN/USD": Decimal(400)}


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2024, 3, 29, 0, 10, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def pass_(self, hours: float) -> None:
        self.time += timedelta(hours=hours)


class Venue:
    "Takes everything, or loses the line."

    name, paper = "test", True

    def __init__(self) -> None:
        self.sent: list[OrderRequest] = []
        self.broken = False

    def submit(self, order: OrderRequest) -> OrderResult:
        if self.broken:
            raise ConnectionResetError("reset")
        self.sent.append(order)
        return OrderResult(order.client_id, OrderStatus.ACCEPTED, f"v-{order.client_id}")

    def order(self, client_id: str) -> OrderResult | None:
        return next((OrderResult(client_id, OrderStatus.ACCEPTED) for o in self.sent if o.client_id == client_id), None)


def book() -> Ledger:
    ledger = Ledger("sqlite://", account="demo", write=True)
    ledger.bind("csv", "test", Decimal(10_000))
    return ledger


def planned(ledger: Ledger, *orders: OrderRequest, day: pd.Timestamp = DAY) -> Cycle:
    signals = {"demo": {o.symbol: STRENGTHS[o.symbol] for o in orders}}
    plan = {"targets": {}, "cancels": [], "refusals": []}
    cash = Decimal(10_000)
    return ledger.store_plan("daily", day, orders=orders, plan=plan, signals=signals, equity=cash, cash=cash)


class Desk:
    "An account with a plan, its gate, its desk, its journal and its clock."

    def __init__(self, mode: str = "manual", *orders: OrderRequest) -> None:
        self.orders = orders or (BUY, SURE, EXIT)
        self.ledger, self.clock, self.venue = book(), Clock(), Venue()
        self.cycle = planned(self.ledger, *self.orders)
        self.gate = Gate(self.ledger, ApprovalRules(mode), PRICES, now=self.clock)
        self.people = Approvals(self.ledger, now=self.clock)
        self.journal = OrderRouter(self.venue, self.ledger)  # type: ignore[arg-type]

    def pass_gate(self) -> Gated:
        return self.gate(self.cycle, self.orders)

    def status(self, order: OrderRequest) -> str:
        known = self.ledger.order(order.client_id)
        return known.status.value if known else ""


@pytest.mark.parametrize(("mode", "held"), [("auto", []), ("hybrid", ["ACME"]), ("manual", ["ACME", "BOLT"])])
def test_each_mode_holds_back_what_it_promises_and_never_an_exit(mode: str, held: list[str]) -> None:
    gated = Desk(mode).pass_gate()
    assert [order.symbol for order in gated.held] == held
    assert EXIT in gated.send
    assert all("trading approve" in result.message for result in gated.results)


def test_confidence_is_the_size_of_the_strength_and_counts_from_its_edge() -> None:
    rules = ApprovalRules("hybrid", confidence=0.8)
    answers = [rules.asks(BUY, strength) for strength in (0.8, 0.8 - 1e-12, 0.79, -0.9, None)]
    assert answers == [False, False, True, False, True]


def test_every_sale_is_free_even_a_resize() -> None:
    assert not ApprovalRules("manual").asks(replace(EXIT, whole=False, reason="resize"), 0.1)


def test_the_default_mode_follows_from_the_money() -> None:
    assert ApprovalRules.of(ExecutionSettings()).mode == "auto"
    assert ApprovalRules.of(ExecutionSettings(mode="live")).mode == "hybrid"
    assert ApprovalRules.of(ExecutionSettings(mode="live", approval="auto")).mode == "auto"


def test_everything_that_a_venue_acts_on_is_in_the_fingerprint() -> None:
    changes: list[dict[str, object]] = [
        {"client_id": "other"}, {"symbol": "BOLT"}, {"side": Side.SELL}, {"quantity": Decimal("10.0001")}, {"whole": True},
        {"order_type": OrderType.LIMIT}, {"time_in_force": TimeInForce.DAY}, {"limit_price": Decimal(1)},
        {"stop_price": Decimal(1)}, {"trail_percent": Decimal(1)},
    ]  # fmt: skip
    digests = {digest_of(replace(BUY, **change)) for change in changes}  # type: ignore[arg-type]
    assert len(digests) == len(changes)
    assert digest_of(BUY) not in digests
    assert digest_of(replace(BUY, quantity=Decimal("10.000"), strategy="x", reason="y")) == digest_of(BUY)


def test_asking_twice_is_one_question() -> None:
    desk = Desk()
    first, again = desk.pass_gate(), desk.pass_gate()
    assert first == again
    assert len(desk.ledger.approvals()) == 2
    assert len(desk.ledger.events("asked")) == 2


def test_a_yes_sends_that_order_once_and_a_second_yes_finds_nothing() -> None:
    desk = Desk()
    desk.pass_gate()
    item = desk.people.find(digest_of(BUY)[:12])
    assert desk.people.accept(item, desk.journal, Decimal("50.5")).status is OrderStatus.ACCEPTED
    assert [o.symbol for o in desk.venue.sent] == ["ACME"]
    with pytest.raises(NoSuchApprovalError, match="does not begin one question"):
        desk.people.find(digest_of(BUY))
    assert digest_of(SURE)[:12] in str(NoSuchApprovalError("x", [digest_of(SURE)]))


@pytest.mark.parametrize(("live", "sent"), [("51", True), ("49", True), ("51.01", False), ("48.99", False)])
def test_a_yes_holds_only_within_the_band_around_the_decision(live: str, sent: bool) -> None:
    desk = Desk("manual", BUY)
    desk.pass_gate()
    result = desk.people.accept(desk.people.waiting()[0], desk.journal, Decimal(live))
    assert (result.status is OrderStatus.ACCEPTED) is sent
    assert len(desk.venue.sent) == sent
    if not sent:
        assert "the price moved by" in result.message
        assert desk.ledger.approvals()[0].status == "expired"


def test_a_yes_in_the_last_second_counts_and_one_at_the_hour_does_not() -> None:
    for late, status in ((11.9997, "accepted"), (12, "expired")):
        desk = Desk("manual", BUY)
        desk.pass_gate()
        desk.clock.pass_(late)
        desk.people.accept(desk.people.waiting()[0], desk.journal)
        assert desk.status(BUY) == status


def test_a_no_is_final_and_keeps_its_reason() -> None:
    desk = Desk("manual", BUY)
    desk.pass_gate()
    desk.people.refuse(desk.people.waiting()[0], "earnings tomorrow")
    assert desk.status(BUY) == "canceled"
    assert "earnings tomorrow" in desk.ledger.order(BUY.client_id).message  # type: ignore[union-attr]
    assert not desk.people.waiting()
    assert desk.ledger.events("refused")["detail"][0]["why"] == "earnings tomorrow"


def test_a_newer_decision_takes_the_place_of_older_questions() -> None:
    desk = Desk("manual", BUY)
    desk.pass_gate()
    tomorrow = DAY + pd.Timedelta(days=1)
    newer = replace(BUY, client_id="20240329-ACME-b-1")
    gated = desk.gate(planned(desk.ledger, newer, day=tomorrow), [newer])
    assert gated.held == (newer,)
    assert desk.status(BUY) == "expired"
    assert "decided anew on 2024-03-29" in desk.ledger.order(BUY.client_id).message  # type: ignore[union-attr]
    assert [item.order for item in desk.people.waiting()] == [newer]


def test_an_altered_order_needs_a_new_approval_whenever_it_was_altered() -> None:
    desk = Desk("manual", BUY)
    desk.pass_gate()
    item = desk.people.waiting()[0]
    bigger = replace(BUY, quantity=Decimal(1000))
    desk.people.accept(replace(item, order=bigger), desk.journal)
    assert not desk.venue.sent
    assert desk.ledger.approvals()[0].why == "the order was altered; it needs a new approval"
    gated = desk.gate(desk.cycle, [bigger])
    assert gated.held == (bigger,)
    assert {a.digest for a in desk.ledger.approvals("asked")} == {digest_of(bigger)}


def test_after_a_kill_between_yes_and_sending_the_rerun_sends_it_if_the_yes_still_holds() -> None:
    for live, hours, goes in (("50", 1, True), ("60", 1, False), ("50", 13, False)):
        desk = Desk("manual", BUY)
        desk.pass_gate()

        class Killed:
            def send(self, order: OrderRequest) -> OrderResult:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            desk.people.accept(desk.people.waiting()[0], Killed())
        desk.clock.pass_(hours)
        prices = {"ACME": Decimal(live)}
        again = Gate(
            desk.ledger, ApprovalRules("manual"), PRICES, live=lambda symbols, p=prices: p, now=desk.clock
        )(desk.cycle, [BUY])  # fmt: skip
        assert (again.send == (BUY,)) is goes
        assert desk.status(BUY) == ("planned" if goes else "expired")


def test_an_order_that_may_have_arrived_is_looked_up_and_not_asked_about() -> None:
    desk = Desk("manual", BUY)
    desk.venue.broken = True
    assert desk.journal.send(BUY).status is OrderStatus.UNKNOWN
    assert desk.pass_gate() == Gated(send=(BUY,))
    assert not desk.ledger.approvals()


def test_a_halted_account_buys_nothing_whoever_says_yes() -> None:
    desk = Desk("manual", BUY)
    desk.pass_gate()
    desk.ledger.halt(DAY, "max_daily_loss", "the day's loss is 6 %")
    with pytest.raises(HaltedApprovalError, match="the question stays"):
        desk.people.accept(desk.people.waiting()[0], desk.journal)
    assert not desk.venue.sent
    desk.ledger.resume("a wrong price")
    assert desk.people.accept(desk.people.waiting()[0], desk.journal).status is OrderStatus.ACCEPTED


def test_what_nobody_answers_lapses() -> None:
    desk = Desk()
    desk.pass_gate()
    desk.clock.pass_(12)
    assert [item.order for item in desk.people.lapse()] == [BUY, SURE]
    assert (desk.status(BUY), desk.status(SURE), desk.status(EXIT)) == ("expired", "expired", "planned")


def test_nothing_can_be_answered_through_a_ledger_that_is_only_read(tmp_path: object) -> None:
    place = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger.open(place, "demo") as ledger:
        ledger.bind("csv", "test", Decimal(10_000))
        Gate(ledger, ApprovalRules("manual"), PRICES)(planned(ledger, BUY), [BUY])
    with Ledger(place, account="demo") as ledger:
        people = Approvals(ledger)
        with pytest.raises(Exception, match="opened for reading"):
            people.refuse(people.waiting()[0], "no")
    with Ledger(place, account="demo") as ledger:
        assert ledger.approvals()[0].status == "asked"


class March(Venue):
    "Replays last March, and tells the time of it."

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()

    def quotes(self, symbols: object) -> dict[str, object]:
        return {}

    def now(self) -> pd.Timestamp:
        return pd.Timestamp(self.clock.time) + pd.Timedelta(7, "ns")  # finer than a question keeps


def test_a_question_is_asked_and_lapses_by_the_clock_of_its_venue() -> None:
    ledger, venue = book(), March()
    cycle = planned(ledger, BUY)
    gate_for(ExecutionSettings(approval="manual", approval_hours=12))(ledger, venue, PRICES)(cycle, [BUY])  # type: ignore[arg-type]
    (asked,) = ledger.approvals("asked")
    assert asked.expires - asked.asked == timedelta(hours=12)
    assert asked.expires == datetime(2024, 3, 29, 12, 10, tzinfo=UTC)
    desk = Approvals(ledger, now=clock_of(venue))  # type: ignore[arg-type]
    venue.clock.pass_(11.9)
    assert desk.lapsed(desk.find(asked.digest), None) == ""
    venue.clock.pass_(0.2)
    assert "until 2024-03-29 12:10 UTC" in desk.lapsed(desk.find(asked.digest), None)
