"""Write, then send, then record: incidents that others had, played against the embedded venue through the real client."""

from __future__ import annotations

import pickle
from collections import Counter
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from trading_core.data import HybridDataNormalizer
from trading_core.errors import RefusedError
from trading_core.execution import ExecutorBase, Journal, MismatchError
from trading_core.execution.alpaca import AlpacaExecutor
from trading_core.execution.doctor import Doctor, NoWhyError
from trading_core.execution.journal import FEED, MANUAL, known_orders
from trading_core.execution.venue import Liquidity, ManualClock, PanelMarket, PaperVenue
from trading_core.execution.venue.faults import Faults, Force
from trading_core.execution.venue.local import local_session
from trading_core.ledger import FillConflictError, Ledger, ReadOnlyLedgerError
from trading_core.model import Fill, OrderRequest, OrderResult, OrderStatus, Side
from trading_core.portfolio import Costs

DAYS = pd.date_range("2024-03-18", "2024-04-07", tz="UTC")
SESSIONS = DAYS[(DAYS.day_of_week < 5) & (DAYS != "2024-03-29")]


def bars(price: float, on: pd.DatetimeIndex) -> pd.DataFrame:
    opens = [price + n for n in range(len(on))]
    frame = {
        "open": opens,
        "high": [p + 2 for p in opens],
        "low": [p - 2 for p in opens],
        "close": [p + 1 for p in opens],
    }
    return pd.DataFrame({**frame, "volume": 1e6}, on)


START = DAYS[1]
PANEL = HybridDataNormalizer().normalize({"ACME": bars(50, SESSIONS), "COIN/USD": bars(400, DAYS)})
ACCEPTED, FILLED, UNKNOWN = OrderStatus.ACCEPTED, OrderStatus.FILLED, OrderStatus.UNKNOWN
DONE = (ACCEPTED, FILLED)  # a venue says that it has an order before it says that it filled


class Desk:
    """An account at an embedded venue with a bad line, and our book of it."""

    def __init__(self, *script: Force, rate: float = 0.0, **venue: Any):
        self.clock = ManualClock(START)
        self.venue = PaperVenue(
            PanelMarket(PANEL), cash=Decimal(10_000), clock=self.clock, costs=Costs(rate=rate), rate_limit=None, **venue
        )
        self.book = Ledger("sqlite://", account="desk", write=True)
        self.line(*())
        self.journal().open_account("csv", START)
        self.line(*script)

    def line(self, *script: Force) -> None:
        self.session = local_session(self.venue, Faults(1, {}, script))

    def executor(self) -> ExecutorBase:
        return AlpacaExecutor("paper-key", "paper-secret", session=self.session, sleep=lambda seconds: None)

    def journal(self, kind: type[Journal] = Journal, **options: Any) -> Journal:
        return kind(self.executor(), self.book, now=self.clock, **options)

    def copies(self) -> Counter[str]:
        return Counter(order.client_id for order in self.venue.orders)

    def agree(self) -> None:
        self.line()
        assert self.journal().recover().ok
        there = self.executor()
        assert self.book.cash() == there.account().cash
        assert {s: p.quantity for s, p in self.book.positions().items()} == {
            s: p.quantity for s, p in there.positions().items()
        }
        assert set(self.copies().values()) <= {1}


def buy(name: str = "b-1", quantity: str = "2", symbol: str = "COIN/USD", **more: Any) -> OrderRequest:
    return OrderRequest(name, symbol, Side.BUY, Decimal(quantity), strategy="demo", **more)


def sell(name: str = "s-1", quantity: str = "2", symbol: str = "COIN/USD", **more: Any) -> OrderRequest:
    return OrderRequest(name, symbol, Side.SELL, Decimal(quantity), strategy="demo", **more)


def post(kind: str, nth: int = 1, **more: Any) -> Force:
    return Force(kind, nth, "POST", "/v2/orders", **more)


# Sending ----------------------------------------------------------------------------------------------------------------


class Witness(Journal):
    """Looks into the ledger at the moment of sending."""

    seen: list[tuple[str, int]]

    def _submit(self, order: OrderRequest) -> OrderResult:
        known = self.ledger.order(order.client_id)
        self.seen = [(str(known and known.status), len(self.ledger.events("sent", order.client_id)))]
        return super()._submit(order)


def test_the_intent_and_that_it_is_being_sent_are_durable_before_anything_goes_out() -> None:
    journal = Desk().journal(Witness)
    assert journal.send(buy()).status in DONE
    assert journal.seen == [("unknown", 1)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "kind", ["drop_answer", "accepted_504", "truncated_json", "error_500", "reset", "delay", "drop_request"]
)
def test_after_a_time_out_the_order_is_there_once_and_filled_once(kind: str) -> None:
    desk = Desk(post(kind, arrives=True))
    first = desk.journal().send(buy())
    assert first.status is UNKNOWN
    assert desk.book.order("b-1").status is UNKNOWN  # type: ignore[union-attr]
    for _ in range(3):
        desk.journal().send(buy())
    assert desk.copies() == {"b-1": 1}
    desk.agree()
    assert sum(fill.quantity for fill in desk.book.fills()) == 2


def test_not_found_right_after_an_ambiguous_send_proves_nothing() -> None:
    desk = Desk(post("delay", after=3))
    journal = desk.journal()
    assert journal.send(buy()).status is UNKNOWN
    assert [result.status for result in journal.settle()] == [UNKNOWN]
    assert journal.give_up("b-1", "too late").status is UNKNOWN
    for _ in range(3):
        desk.journal().settle()
    assert desk.book.order("b-1").status is FILLED  # type: ignore[union-attr]
    assert desk.copies() == {"b-1": 1}
    desk.agree()


def test_a_clear_no_is_a_rejection_with_the_venues_words() -> None:
    said = Desk().journal().send(buy(quantity="1000"))
    assert said.status is OrderStatus.REJECTED
    assert "insufficient" in said.message


def test_the_same_id_is_the_same_order_for_ever() -> None:
    desk = Desk()
    assert desk.journal().send(buy()).status in DONE
    assert desk.journal().send(buy()).status in DONE
    desk.book = Ledger("sqlite://", account="desk", write=True)  # the ledger is lost, the id is taken
    desk.book.bind("csv", "alpaca", Decimal(10_000))
    assert desk.journal().send(buy()).status in DONE
    assert desk.copies() == {"b-1": 1}


def test_where_ids_are_forgotten_nothing_is_sent_again_while_a_copy_may_arrive() -> None:
    class Forgetful(AlpacaExecutor):
        ids_forever = False

    desk = Desk(post("drop_request"))

    def journal() -> Journal:
        venue = Forgetful("paper-key", "paper-secret", session=desk.session, sleep=lambda seconds: None)
        return Journal(venue, desk.book, now=desk.clock)

    assert journal().send(buy()).status is UNKNOWN
    assert journal().send(buy()).status is UNKNOWN
    assert desk.copies() == {}
    desk.clock.advance("200s")
    assert journal().send(buy()).status in DONE
    assert desk.copies() == {"b-1": 1}


def test_a_guard_that_refuses_an_order_before_it_goes_out_leaves_nothing_unknown() -> None:
    class Guarded(AlpacaExecutor):
        def submit(self, order: OrderRequest) -> OrderResult:
            raise RefusedError("too large")

    desk = Desk()
    venue = Guarded("paper-key", "paper-secret", session=desk.session)
    said = Journal(venue, desk.book, now=desk.clock).send(buy())
    assert (said.status, said.message) == (OrderStatus.REJECTED, "too large")


def test_a_journal_that_could_not_write_is_not_made() -> None:
    desk = Desk()
    with pytest.raises(ReadOnlyLedgerError):
        Journal(desk.executor(), Ledger("no such file.db", account="desk"))


# Taking back ------------------------------------------------------------------------------------------------------------


def waiting_order(desk: Desk, name: str = "b-1") -> OrderRequest:
    """An order in a share, while the exchange is closed."""
    order = buy(name, symbol="ACME")
    assert desk.journal().send(order).status is ACCEPTED
    return order


def test_an_order_that_was_never_sent_is_taken_back_without_a_word() -> None:
    desk = Desk()
    desk.book.add_intents([buy()])
    assert desk.journal().cancel("b-1").status is OrderStatus.CANCELED
    assert desk.copies() == {}


def test_a_lost_cancellation_is_made_good_by_the_next_start() -> None:
    desk = Desk()
    waiting_order(desk)
    desk.line(Force("drop_request", 1, "DELETE"))
    assert desk.journal().cancel("b-1").status is not OrderStatus.CANCELED
    assert desk.book.order("b-1").status is ACCEPTED  # type: ignore[union-attr]
    desk.line()
    desk.journal().settle()
    assert desk.book.order("b-1").status is OrderStatus.CANCELED  # type: ignore[union-attr]
    desk.agree()


def test_an_unknown_order_that_was_to_be_taken_back_is_taken_back_when_it_turns_up() -> None:
    desk = Desk(post("delay", after=2))
    journal = desk.journal()
    assert journal.send(buy(symbol="ACME")).status is UNKNOWN
    assert journal.cancel("b-1").status is UNKNOWN
    for _ in range(3):
        desk.journal().settle()
    assert desk.book.order("b-1").status is OrderStatus.CANCELED  # type: ignore[union-attr]
    desk.clock.advance(DAYS[3])
    desk.agree()
    assert desk.book.fills() == []


def test_a_filled_order_cannot_be_taken_back_and_says_so() -> None:
    desk = Desk()
    desk.journal().send(buy())
    assert desk.journal().cancel("b-1").status is FILLED


def test_an_order_is_given_up_only_when_no_copy_can_arrive() -> None:
    desk = Desk(post("drop_request"))
    desk.journal().send(buy())
    assert desk.journal().give_up("b-1", "late").status is UNKNOWN
    desk.clock.advance("1h")
    assert desk.journal().give_up("b-1", "late", START) == OrderResult("b-1", OrderStatus.EXPIRED, message="late")
    desk.agree()


# Fills ------------------------------------------------------------------------------------------------------------------


def test_parts_are_booked_as_they_come_and_never_from_the_orders_running_total() -> None:
    desk = Desk(liquidity=Liquidity(seed=3))
    desk.journal().send(buy(quantity="5"))
    seen = []
    for _ in range(12):
        desk.journal().sync()
        seen.append(sum(fill.quantity for fill in desk.book.fills()))
        desk.clock.advance("1min")
    assert seen == sorted(seen)
    assert len(set(seen)) > 1
    assert seen[-1] == 5
    assert len(desk.book.fills()) == len({fill.venue_id for fill in desk.book.fills()})
    desk.agree()


def test_a_restart_does_not_count_a_position_twice() -> None:
    desk = Desk()
    desk.journal().send(buy())
    for _ in range(4):
        desk.journal().recover()
    assert desk.book.positions()["COIN/USD"].quantity == 2


def test_a_page_of_the_log_that_is_told_twice_is_booked_once() -> None:
    class Stutter(AlpacaExecutor):
        def fills_after(self, cursor: str) -> tuple[list[Fill], str]:
            fills, newer = super().fills_after("")
            return [*fills, *fills], newer

    desk = Desk()
    desk.journal().send(buy())
    venue = Stutter("paper-key", "paper-secret", session=desk.session)
    for _ in range(2):
        Journal(venue, desk.book, now=desk.clock).sync()
    assert len(desk.book.fills()) == 1


def test_an_id_that_is_used_for_another_fill_stops_everything() -> None:
    class Reusing(AlpacaExecutor):
        def fills_after(self, cursor: str) -> tuple[list[Fill], str]:
            fills, newer = super().fills_after("")
            from dataclasses import replace

            return [replace(fill, quantity=fill.quantity + 1) for fill in fills], newer

    desk = Desk()
    desk.journal().send(buy())
    desk.journal().sync()
    venue = Reusing("paper-key", "paper-secret", session=desk.session)
    with pytest.raises(FillConflictError):
        Journal(venue, desk.book, now=desk.clock).sync()
    assert sum(fill.quantity for fill in desk.book.fills()) == 2


def test_fills_and_the_place_are_stored_together_or_not_at_all() -> None:
    desk = Desk()
    desk.journal().send(buy())
    before = desk.book.cursor(FEED)

    class Dying(Journal):
        def notice(self, subject: str, **detail: object) -> None:
            raise KeyboardInterrupt

    desk.executor().submit(buy("by-hand"))
    with pytest.raises(KeyboardInterrupt):
        desk.journal(Dying).sync()
    assert (desk.book.cursor(FEED), desk.book.fills()) == (before, [])
    desk.journal(foreign="adopt").recover()
    assert len(desk.book.fills()) == 2


def test_what_was_missed_while_nobody_listened_is_in_the_log() -> None:
    desk = Desk()
    waiting_order(desk)
    desk.clock.advance(DAYS[2])  # the order fills at the open, and no stream is there to say so
    [fill] = desk.journal().sync()
    assert (fill.client_id, fill.strategy, fill.day) == ("b-1", "demo", START)
    assert desk.book.order("b-1").status is FILLED  # type: ignore[union-attr]


def test_nine_decimals_leave_no_dust() -> None:
    desk = Desk(rate=0.0025)
    desk.journal().send(buy(quantity="1.234567"))
    desk.journal().recover()
    desk.journal().send(sell(quantity="1", whole=True))
    desk.journal().recover()
    assert desk.executor().positions() == {}
    assert desk.book.positions() == {}
    desk.agree()


def test_a_fee_in_coin_belongs_to_whoever_bought_the_coin() -> None:
    desk = Desk(rate=0.0025)
    desk.journal().send(buy())
    desk.journal().sync()
    fees = [fill for fill in desk.book.fills() if fill.reason == "fee"]
    assert [(fee.strategy, fee.quantity) for fee in fees] == [("demo", Decimal("0.005"))]
    desk.agree()


# Others -----------------------------------------------------------------------------------------------------------------


def test_the_place_stays_before_a_trade_that_nobody_has_explained() -> None:
    desk = Desk()
    desk.executor().submit(buy("by-hand"))
    desk.journal().send(buy())
    for _ in range(2):
        with pytest.raises(MismatchError) as refused:
            desk.journal().recover()
    assert desk.book.cursor(FEED) == ""
    assert [fill.client_id for fill in desk.book.fills()] == ["b-1"]
    assert len(desk.book.events("foreign")) == 1
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)
    desk.journal(foreign="adopt").recover()
    assert {fill.client_id: fill.strategy for fill in desk.book.fills()} == {"by-hand": MANUAL, "b-1": "demo"}
    assert desk.book.orders().set_index("client_id").loc["by-hand", "job"] == "foreign"


def test_a_sale_by_hand_of_what_a_strategy_holds_is_taken_in() -> None:
    desk = Desk()
    desk.journal().send(buy())
    desk.journal().recover()
    desk.executor().submit(sell("by-hand", "2"))
    desk.journal(foreign="adopt").recover()
    assert desk.book.positions() == {}
    desk.agree()


def test_an_adopted_order_that_fills_later_in_parts_is_ours_to_follow() -> None:
    desk = Desk()
    desk.executor().submit(buy("by-hand", symbol="ACME"))
    desk.journal(foreign="adopt").recover()
    assert known_orders(desk.book, ["by-hand"])["by-hand"].strategy == MANUAL
    desk.clock.advance(DAYS[2])
    desk.journal(foreign="adopt").recover()
    assert desk.book.order("by-hand").status is FILLED  # type: ignore[union-attr]
    assert desk.book.positions()["ACME"].strategy == MANUAL


def test_an_order_over_here_and_open_there_is_noted_and_the_doctor_takes_the_venues_word() -> None:
    desk = Desk()
    waiting_order(desk)
    with desk.book.writing() as step:
        step.exec_driver_sql("UPDATE orders SET status = 'expired'")
    desk.journal().settle()
    assert list(desk.book.events("contradiction")["subject"]) == ["b-1"]
    done = Doctor(desk.journal()).repair("an old backup")
    assert [(step.what, step.subject) for step in done] == [("overruled", "b-1")]
    desk.clock.advance(DAYS[2])
    desk.agree()
    assert desk.book.positions()["ACME"].strategy == "demo"


# The doctor -------------------------------------------------------------------------------------------------------------


def test_nothing_is_mended_without_a_reason() -> None:
    with pytest.raises(NoWhyError, match="say why"):
        Doctor(Desk().journal()).repair("")


@pytest.mark.parametrize("cash", ["-0.02", "12.34"])
def test_cash_is_adjusted_to_the_cent_and_the_entry_says_why(cash: str) -> None:
    desk = Desk()
    desk.journal().send(buy())
    desk.journal().recover()
    desk.venue.cash += Decimal(cash)
    with pytest.raises(MismatchError):
        desk.journal().recover()
    Doctor(desk.journal()).repair("interest")
    desk.agree()
    entry = desk.book.fills()[-1]
    assert (entry.reason, entry.cash_change) == ("adjustment", Decimal(cash))
    assert desk.book.events("repaired")["detail"].iloc[-1]["why"] == "interest"
    assert set(desk.book.positions()) == {"COIN/USD"}


def test_half_a_cent_is_rounding() -> None:
    desk = Desk()
    desk.venue.cash += Decimal("0.004")
    assert [d.why for d in desk.journal().recover().explained] == ["rounding of the venue"]


def test_a_position_that_no_trade_explains_is_adjusted_at_the_venues_average() -> None:
    desk = Desk()
    desk.journal().send(buy())
    desk.journal().recover()
    held = desk.venue.held["COIN/USD"]
    held.quantity *= 3  # a split that nobody told us of
    done = Doctor(desk.journal()).repair("three for one")
    assert {step.what for step in done} == {"adjusted"}
    desk.agree()


def test_a_repair_that_may_not_adopt_leaves_the_refusal_standing() -> None:
    desk = Desk()
    desk.executor().submit(buy("by-hand"))
    with pytest.raises(MismatchError):
        Doctor(desk.journal()).repair("just looking", adopt=False)
    assert desk.book.fills() == []
    assert desk.book.events("repaired").empty


def test_a_healthy_book_is_left_alone() -> None:
    desk = Desk()
    desk.journal().send(buy())
    desk.journal().recover()
    assert Doctor(desk.journal()).repair("no reason to worry") == []
