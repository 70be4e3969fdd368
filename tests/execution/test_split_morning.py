"""The morning of a split: no stop fires on a price of new shares, and none is forgotten that was really reached."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace

import pandas as pd
import pytest
from test_monitor import Account, at, panel

from trading_core.config import MonitorSettings
from trading_core.execution import Look, Monitor, Quote
from trading_core.execution.splits import Split, splits_of
from trading_core.execution.venue import Clearing, PanelMarket, PaperVenue
from trading_core.model import ExitRules, Side
from trading_core.report.venue_state import state_bands, venue_state

RULES = {"shares": ExitRules(stop_loss=0.05, take_profit=0.30, trailing_stop=0.08)}
SPLIT = at("2024-12-02")  # a Monday
MORNING = at("2024-12-02 14:40")


class Morning(Account):
    """Ten shares bought at 50 on a Tuesday, a price from Monday on, and what the venue makes of it."""

    def __init__(
        self, ratio: float = 4.0, opens: float = 12.5, clearing: Clearing | None = None, *,
        tells: bool = True, friday: list[float] | None = None,
    ):  # fmt: skip
        new = [opens, opens * 1.01, opens * 0.99, opens]
        days = ["2024-11-27", "2024-11-29"]
        later = ["2024-12-02", "2024-12-03", "2024-12-04", "2024-12-05", "2024-12-06"]
        flat: dict[str, list[float]] = {day: [50, 50.5, 49.5, 50] for day in days} | dict.fromkeys(later, new)
        flat["2024-11-29"] = friday or flat["2024-11-29"]
        market = panel(**flat)  # type: ignore[arg-type]
        super().__init__(market=market)
        happened = {"ACME": pd.DataFrame({"split": [ratio], "dividend": [0.0]}, [SPLIT])} if ratio != 1 else {}
        self.venue = PaperVenue(PanelMarket(market, happened), clock=self.clock, key="k", secret="s", clearing=clearing)
        self.hold()
        self.clock.advance(at("2024-11-29 17:55" if friday else "2024-11-29 20:00"))
        self.venue.step()
        if not tells:
            self.venue.market.actions = {}  # type: ignore[attr-defined]
        self.closes = {"ACME": Quote("ACME", Decimal(50), at("2024-11-29"))}

    def looks(self, until: str, monitor: Monitor | None = None, **options: object) -> list[Look]:
        options.setdefault("closes", self.closes)
        self.clock.advance(MORNING)
        return self.watch(until, rules=RULES, **options)

    def held(self) -> Decimal:
        return self.ledger.positions()["ACME"].quantity


@pytest.mark.parametrize(("ratio", "opens"), [(4.0, 12.6), (0.1, 505.0), (1.5, 33.2)])
@pytest.mark.parametrize("restart", [False, True], ids=["one monitor", "restarted before every look"])
def test_on_the_morning_of_a_split_no_stop_fires_and_the_split_is_booked_at_the_first_look(
    ratio: float, opens: float, restart: bool
) -> None:
    account = Morning(ratio, opens)
    looks = account.looks("2024-12-03 20:00", restart=restart)
    assert account.sales() == []
    [action] = account.ledger.actions()
    assert (action.day, float(action.amount), account.held()) == (SPLIT, ratio, account.at_the_venue()["ACME"])
    assert looks[0].booked[0].startswith("split ")
    assert not any(look.booked for look in looks[1:])
    assert not looks[0].doubts
    assert len(account.ledger.events("split")) == 1


def test_after_the_split_a_stop_is_one_of_new_shares_and_sells_all_of_them() -> None:
    account = Morning(4.0, 11.8)  # 47.2 of an old share
    account.looks("2024-12-02 15:30")
    account.sleep(60)
    account.watch("2024-12-02 16:00", rules=RULES)
    assert account.at_the_venue() == {}
    sold = account.ledger.fills()[-1]
    assert (sold.side, sold.quantity, sold.reason) == (Side.SELL, 40, "stop_loss")
    assert account.ledger.positions() == {}
    assert account.ledger.realised()["ACME"] == pytest.approx(Decimal(-28), abs=Decimal(4))


def test_a_high_that_was_seen_before_a_split_is_divided_by_it() -> None:
    account = Morning(4.0, 12.6)
    account.ledger.book([], "high ACME", f"{account.ledger.fills()[0].venue_id}|52")
    looks = account.looks("2024-12-02 15:30")
    assert looks[-1].watched[0].highest == 13
    assert account.sales() == []


@pytest.mark.parametrize("orders", ["kept", "canceled"])
def test_where_the_venue_is_late_with_a_split_that_it_announced_nothing_is_sold_until_it_is_done(orders: str) -> None:
    account = Morning(4.0, 12.6, Clearing(late_hours=8, orders=orders))
    looks = account.looks("2024-12-02 20:00")
    assert account.sales() == []
    assert (
        "a split 4 for 1 of ACME on 2024-12-02, told by alpaca, is not in its quantity yet" in looks[0].doubts["ACME"]
    )
    assert looks[0].blind == {"ACME": looks[0].doubts["ACME"]}
    assert any("held back" in line for line in looks[0].lines())
    assert [look.booked for look in looks if look.booked] == [("split 4 for 1 of ACME on 2024-12-02: 10 became 40",)]
    assert account.held() == 40


@pytest.mark.parametrize(("ratio", "opens"), [(4.0, 12.6), (0.1, 505.0)])
def test_where_nobody_tells_of_a_split_a_person_is_told_and_nothing_is_sold_all_day(ratio: float, opens: float) -> None:
    account = Morning(ratio, opens, tells=False)
    looks = account.looks("2024-12-02 20:30")
    assert account.sales() == []
    assert account.ledger.actions() == []
    assert all("of which nobody has told" in look.doubts["ACME"] for look in looks)
    assert len(account.ledger.events("doubt")) == 1
    cycle = SimpleNamespace(previous_day=at("2024-11-29"), as_of=SPLIT, fills=())
    state = venue_state(SimpleNamespace(ledger=account.ledger), cycle)
    assert [text.startswith("ACME: 50 before the opening") for text in state.doubts] == [True]
    assert "The monitor held back and sold nothing" in state_bands(state)
    cycle.previous_day, cycle.as_of = SPLIT, at("2024-12-03")
    assert venue_state(SimpleNamespace(ledger=account.ledger), cycle).doubts == []


def test_a_real_fall_by_a_half_is_held_back_and_a_person_who_has_looked_lets_it_be_sold() -> None:
    account = Morning(1.0, 25.0)
    assert account.looks("2024-12-02 15:30")[0].doubts
    assert account.sales() == []
    account.watch("2024-12-02 16:00", rules=RULES, closes=account.closes, settings=MonitorSettings(split_doubt=0))
    assert account.sales() == ["filled"]


def test_a_word_to_the_doctor_ends_the_doubts_of_a_running_monitor_for_the_session() -> None:
    account = Morning(1.0, 25.0)
    account.ledger.bind("csv", "alpaca")
    monitor = account.monitor(RULES, closes=account.closes)
    account.clock.advance(MORNING)
    assert monitor.look().doubts
    account.ledger.note("looked", "demo", why="there was no split", at=account.clock().isoformat())
    assert monitor.look().results
    account.sleep(60)
    monitor.look()
    assert account.sales() == ["filled"]


def test_a_real_fall_by_a_fifth_or_within_a_session_is_sold_at_once() -> None:
    account = Morning(1.0, 40.0)
    account.looks("2024-12-02 15:00")
    assert account.sales() == ["filled"]
    account = Morning(1.0, 50.0)
    monitor = account.monitor(RULES, closes=account.closes)
    account.clock.advance(MORNING)
    assert not monitor.look().doubts
    assert monitor.hear(Quote("ACME", Decimal("24.9"), account.clock()))
    assert monitor.look().results["ACME"].status.value in ("accepted", "filled")


def test_a_stream_that_tells_the_first_price_of_new_shares_raises_no_alarm() -> None:
    account = Morning(4.0, 12.6, tells=False)
    monitor = account.monitor(RULES, closes=account.closes)
    account.clock.advance(at("2024-12-02 14:00"))
    monitor.look()
    account.clock.advance(at("2024-12-02 14:30:05"))
    assert not monitor.hear(Quote("ACME", Decimal("12.60"), account.clock()))
    look = monitor.look()
    assert look.doubts
    assert not look.alarms
    assert account.sales() == []


def test_a_split_too_small_to_be_seen_in_the_price_is_seen_in_the_quantity_before_a_sale() -> None:
    account = Morning(1.1, 45.4, tells=False)
    looks = account.looks("2024-12-02 15:30")
    assert account.sales() == []
    assert all(
        "its quantity looks like a split, 11 for 10, of which nobody has told" in look.doubts["ACME"] for look in looks
    )
    told = Morning(1.1, 45.4, tells=False)
    split = [Split("ACME", SPLIT, 1.1, "the run's prices")]
    looks = told.looks("2024-12-02 15:30", splits=split)
    assert told.sales() == []
    assert (told.held(), len(told.ledger.actions())) == (11, 1)


def test_the_prices_of_the_run_may_know_of_a_split_that_is_not_booked_yet() -> None:
    account = Morning(4.0, 12.6, Clearing(late_hours=30), tells=False)
    split = Split("ACME", SPLIT, 4.0, "the run's prices")
    closes = {"ACME": Quote("ACME", Decimal("12.5"), SPLIT)}
    account.clock.advance(at("2024-12-03 14:35"))
    looks = account.watch("2024-12-03 20:00", rules=RULES, closes=closes, splits=[split])
    assert "told by the run's prices" in looks[0].doubts["ACME"]
    assert account.sales() == []
    assert account.held() == 40
    assert splits_of(panel()) == []


@pytest.mark.parametrize("fault", ["drop_answer", "drop_request", "error_500", "reset"])
@pytest.mark.parametrize("nth", range(8))
def test_a_line_that_breaks_on_the_morning_of_a_split_sells_nothing_and_books_it_once(fault: str, nth: int) -> None:
    account = Morning(4.0, 12.6)
    monitor = account.monitor(RULES, closes=account.closes)
    account.clock.advance(MORNING)
    calls = account.line.calls
    broken = account.line.next

    def once(method: str, path: str) -> object:
        if account.line.calls - calls == nth:
            account.line.wanted = [fault]
        return broken(method, path)

    account.line.next = once  # type: ignore[method-assign,assignment]
    for _ in range(3):
        monitor.look()
        account.sleep(30)
    assert account.line.calls > calls + nth
    assert account.sales() == []
    assert [float(action.after) for action in account.ledger.actions()] == [40]


def test_an_alarm_of_the_day_before_waits_until_the_split_is_booked_and_sells_all_new_shares() -> None:
    account = Morning(4.0, 11.8, Clearing(late_hours=8), friday=[50, 50.5, 46.5, 47])
    monitor = account.monitor(RULES, closes=account.closes)
    account.locked = True
    assert [alarm.reason for alarm in monitor.look().alarms] == ["stop_loss"]
    account.clock.advance(MORNING)
    account.locked = False
    held_back = monitor.look()
    assert (held_back.results, account.sales()) == ({}, [])
    assert held_back.doubts
    account.clock.advance(at("2024-12-02 17:10"))
    assert monitor.look().booked
    account.sleep(60)
    monitor.look()
    assert account.at_the_venue() == {}
    assert (account.ledger.fills()[-1].quantity, account.ledger.fills()[-1].reason) == (40, "stop_loss")


@pytest.mark.parametrize("ran", [False, True], ids=["no run since", "a run has decided"])
def test_a_price_that_was_in_doubt_is_one_like_any_other_when_a_run_has_decided_on_its_day(ran: bool) -> None:
    account = Morning(1.0, 25.0)
    monitor = account.monitor({"shares": ExitRules(stop_loss=0.6)}, closes=account.closes)
    account.clock.advance(MORNING)
    assert monitor.look().doubts
    if ran:
        account.ledger.store_plan(
            "daily", SPLIT, orders=[], plan={"cancels": [], "refusals": [], "targets": {}}, signals={},
            equity=Decimal(1), cash=Decimal(1),
        )  # fmt: skip
    account.clock.advance(at("2024-12-03 14:40"))
    assert bool(monitor.look().doubts) != ran
