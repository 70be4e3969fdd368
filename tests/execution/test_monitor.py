"""The monitor sells when a stop is reached: once, on a fresh price, in an open market, whatever dies in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trading_core.config import MonitorSettings
from trading_core.data import HybridDataNormalizer
from trading_core.data.panel import Panel
from trading_core.execution import Look, Monitor, NothingToWatchError, PaperExecutor, Quote, open_hours
from trading_core.execution.alpaca import AlpacaExecutor
from trading_core.execution.journal import Journal
from trading_core.execution.monitor import CLOSED, Watch
from trading_core.execution.venue import ManualClock, PanelMarket, PaperVenue
from trading_core.execution.venue.faults import Fault, Faults
from trading_core.execution.venue.local import local_session
from trading_core.ledger import Ledger, account_lock
from trading_core.model import ExitRules, OrderRequest, OrderStatus, PositionInfo, Side, TimeInForce
from trading_core.portfolio import Holding
from trading_core.sessions import sessions

DAYS = pd.date_range("2024-11-25", "2024-12-06", tz="UTC")
SESSIONS = pd.DatetimeIndex(sessions("XNYS", DAYS[0], DAYS[-1]))  # Thanksgiving is missing, the day after is a half-day
RULES = {"shares": ExitRules(stop_loss=0.05, take_profit=0.30), "coins": ExitRules(trailing_stop=0.06)}


def at(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def panel(**changes: list[float]) -> Panel:
    "A share that falls from 50 to 44 on the half-day, and a coin that climbs and falls."
    rows = {
        "2024-11-25": [50, 50.5, 49.5, 50], "2024-11-26": [50, 50.5, 49.5, 50], "2024-11-27": [50, 50.5, 49.5, 50],
        "2024-11-29": [50, 51, 43.5, 44], "2024-12-02": [44, 45, 43, 44],
    }  # fmt: skip
    rows |= changes
    shares = pd.DataFrame([rows.get(f"{d:%Y-%m-%d}", [44, 45, 43, 44]) for d in SESSIONS], SESSIONS)
    steps = np.array([100, 100, 100, 110, 105, 100, 95, 95, 95, 95, 95, 95.0])
    coins = pd.DataFrame(np.column_stack([steps, steps + 2, steps - 2, steps + 1]), DAYS)
    tables = {"ACME": shares, "COIN/USD": coins}
    for table in tables.values():
        table.columns = pd.Index(["open", "high", "low", "close"])
        table["volume"] = 1e6
    return HybridDataNormalizer().normalize({name: table.astype(float) for name, table in tables.items()})


class Line(Faults):
    "A line that breaks when it is told to."

    def __init__(self) -> None:
        super().__init__(0, {})
        self.wanted: list[str] = []
        self.posts: list[str] = []

    def next(self, method: str, path: str) -> Fault | None:
        super().next(method, path)
        if method == "POST":
            self.posts.append(path)
        if not self.wanted or (self.wanted[0].startswith("POST ") and method != "POST"):
            return None
        kind = self.wanted.pop(0).removeprefix("POST ")
        return Fault(kind, self.calls, arrives=kind != "drop_request")


class Account:
    "A ledger, a venue, and a clock."

    def __init__(self, start: str = "2024-11-26 15:00", market: Panel | None = None) -> None:
        self.clock, self.line = ManualClock(start), Line()
        self.venue = PaperVenue(PanelMarket(market or panel()), clock=self.clock, key="k", secret="s")
        self.ledger = Ledger("sqlite://", account="demo", write=True)
        self.ledger.bind("csv", "alpaca", Decimal(100_000))
        self.locked = False

    def executor(self) -> AlpacaExecutor:
        session = local_session(self.venue, self.line)
        return AlpacaExecutor("k", "s", url="http://venue", session=session, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.clock.advance(pd.Timedelta(seconds=seconds))

    @contextmanager
    def books(self, write: bool) -> Iterator[Ledger]:
        if write and self.locked:
            from trading_core.ledger import AccountLockedError, Holder

            raise AccountLockedError("demo", Holder(4711, None))
        yield self.ledger

    def monitor(self, rules: dict[str, ExitRules] | None = None, **options: object) -> Monitor:
        return Monitor(self.books, self.executor(), rules or RULES, clock=self.clock, **options)  # type: ignore[arg-type]

    def journal(self) -> Journal:
        return Journal(self.executor(), self.ledger, now=self.clock)

    def hold(self, symbol: str = "ACME", quantity: str = "10", strategy: str = "shares") -> None:
        "Buy through the journal, now."
        force = TimeInForce.GTC if "/" in symbol else TimeInForce.DAY
        name = f"buy-{symbol.replace('/', '')}-{self.clock():%d%H%M%S}"
        order = OrderRequest(name, symbol, Side.BUY, Decimal(quantity), strategy=strategy, time_in_force=force)
        journal = self.journal()
        journal.send(order)
        self.sleep(5)
        self.venue.step()
        journal.settle()
        journal.sync()
        assert symbol in self.ledger.positions()

    def watch(self, until: str, *, restart: bool = False, rules: dict[str, ExitRules] | None = None, **options: object) -> list[Look]:  # fmt: skip
        "Look every ten minutes, with a fresh monitor for each look or with one for all."
        looks: list[Look] = []
        options.setdefault("settings", MonitorSettings(poll_seconds=600))
        monitor = self.monitor(rules, **options)
        while self.clock() < at(until):
            monitor = self.monitor(rules, **options) if restart else monitor
            looks.append(monitor.look())
            self.sleep(monitor.pause(looks[-1]))
        return looks

    def sales(self) -> list[str]:
        orders = self.ledger.orders()
        return list(orders.loc[orders["side"] == "sell", "status"])

    def at_the_venue(self) -> dict[str, Decimal]:
        self.venue.step()
        return {symbol: p.quantity for symbol, p in self.executor().positions().items()}


@pytest.mark.parametrize("restart", [False, True], ids=["one monitor", "restarted before every look"])
def test_a_stop_is_sold_once_and_near_its_line(restart: bool) -> None:
    account = Account()
    account.hold()
    looks = account.watch("2024-12-03 15:00", restart=restart)
    assert account.sales() == ["filled"]
    assert account.at_the_venue() == {}
    sold = account.ledger.fills()[-1]
    assert (sold.reason, sold.strategy, f"{sold.day:%Y-%m-%d}") == ("stop_loss", "shares", "2024-11-29")
    assert Decimal("46.5") < sold.price <= Decimal("47.5")
    assert sum(bool(look.results) for look in looks) == 1
    alarm = account.ledger.events("alarm", "ACME")
    assert len(alarm) == 1


@pytest.mark.parametrize("restart", [False, True], ids=["one monitor", "restarted before every look"])
def test_a_trailing_stop_hangs_from_the_highest_price_that_any_monitor_saw(restart: bool) -> None:
    account = Account()
    account.hold("COIN/USD", "2", "coins")
    looks = account.watch("2024-12-02 15:00", restart=restart)
    high = max(watch.highest for look in looks for watch in look.watched)
    sold = account.ledger.fills()[-1]
    assert high > 110
    assert (sold.reason, sold.side) == ("trailing_stop", Side.SELL)
    assert high * Decimal("0.92") < sold.price <= high * Decimal("0.94")
    assert account.at_the_venue() == {}


def test_a_high_between_two_runs_is_known_from_the_closes() -> None:
    account = Account()
    account.hold("COIN/USD", "2", "coins")
    day = account.clock().normalize()
    past = {"COIN/USD": Holding("COIN/USD", "coins", Decimal(2), 100.0, day, 3, 130.0)}
    other = {"COIN/USD": replace(past["COIN/USD"], entry_day=day - pd.Timedelta(days=5))}
    assert account.monitor(past=past).look().watched[0].highest == 130
    assert account.monitor(past=past).look().results == {}  # it has been sold by the look before
    account.hold("COIN/USD", "2", "coins")
    assert account.monitor(past=other).look().watched[0].highest < 130


def test_the_high_of_an_earlier_position_does_not_count_for_the_next() -> None:
    account = Account("2024-11-28 01:00")
    account.hold("COIN/USD", "2", "coins")
    account.watch("2024-11-30 00:00")
    assert account.at_the_venue() == {}
    account.hold("COIN/USD", "2", "coins")
    watched = account.monitor().look().watched[0]
    assert watched.highest == watched.position.entry_price


def test_nothing_happens_while_the_market_is_closed_or_on_holidays() -> None:
    account = Account("2024-11-27 15:00", panel(**{"2024-11-29": [44, 45, 43.5, 44]}))
    account.hold()
    looks = account.watch("2024-11-29 14:25")  # through Thanksgiving
    assert not any(look.results or look.alarms for look in looks)
    assert looks[-1].quiet == {"ACME": "its market is closed"}
    looks = account.watch("2024-11-29 15:00")
    assert account.sales() == ["filled"]
    assert next(look.moment for look in looks if look.results) >= at("2024-11-29 14:30")


def test_after_the_half_day_has_closed_an_alarm_waits_for_monday() -> None:
    account = Account()
    account.hold()
    account.clock.advance("2024-11-29 18:00:01")
    assert account.monitor().look().quiet == {"ACME": "its market is closed"}
    account.watch("2024-12-02 14:25")
    assert account.sales() == []
    account.watch("2024-12-02 15:00")
    assert account.sales() == ["filled"]


def test_no_sale_follows_from_an_old_price() -> None:
    account = Account()
    account.hold()
    account.clock.advance("2024-11-29 16:50")
    monitor = account.monitor()
    real = monitor.executor.quotes

    def old(symbols: object) -> dict[str, object]:
        found = real(symbols)  # type: ignore[arg-type]
        return {s: replace(q, moment=q.moment - pd.Timedelta(minutes=5)) for s, q in found.items()}

    monitor.executor.quotes = old  # type: ignore[assignment, method-assign]
    look = monitor.look()
    assert "300 seconds old" in look.quiet["ACME"]
    assert not look.alarms
    monitor.executor.quotes = real  # type: ignore[method-assign]
    assert monitor.look().results["ACME"].status.open or account.sales() == ["filled"]


def test_no_sale_follows_from_a_price_of_tomorrow() -> None:
    account = Account()
    account.hold()
    account.clock.advance("2024-11-29 16:50")
    monitor = account.monitor()
    real = monitor.executor.quotes

    def early(symbols: object) -> dict[str, object]:
        found = real(symbols)  # type: ignore[arg-type]
        return {s: replace(q, moment=q.moment + pd.Timedelta(days=1)) for s, q in found.items()}

    monitor.executor.quotes = early  # type: ignore[assignment, method-assign]
    look = monitor.look()
    assert "ahead of the venue's clock" in look.quiet["ACME"]
    assert not look.alarms
    assert not any(monitor.hear(quote) for quote in early(["ACME"]).values())  # type: ignore[arg-type]
    assert account.sales() == []


def test_without_a_clock_of_ours_the_venues_counts_and_the_stop_is_sold() -> None:
    account = Account()
    account.hold()
    account.clock.advance("2024-11-29 16:50")
    monitor = Monitor(account.books, account.executor(), RULES)
    look = monitor.look()
    assert look.moment == at("2024-11-29 16:50")
    assert list(look.results) == ["ACME"]
    assert look.results["ACME"].client_id.startswith("20241129-ACME-s-")
    assert look.blind == {}


def test_a_venue_that_does_not_tell_its_time_is_trouble_and_no_reason_to_die() -> None:
    account = Account()
    account.hold()
    account.clock.advance("2024-11-29 16:50")
    account.line.wanted += ["drop_request"] * 3  # one is asked for again
    monitor = Monitor(account.books, account.executor(), RULES)
    look = monitor.look()
    assert "tell the time" in look.trouble
    assert (look.watched, look.blind) == ((), {})
    assert list(monitor.look().results) == ["ACME"]


def test_a_price_that_is_heard_while_the_clock_is_silent_is_judged_by_the_next_look() -> None:
    account = Account()
    account.hold()
    account.clock.advance("2024-11-29 14:40")
    monitor = Monitor(account.books, account.executor(), RULES)
    monitor.look()
    account.clock.advance("2024-11-29 14:41")
    account.line.wanted += ["drop_request"] * 3
    low = Quote("ACME", Decimal(40), account.clock())
    assert monitor.hear(low)
    assert monitor.look().results["ACME"].status.open or account.sales() == ["filled"]
    late = replace(low, moment=low.moment - pd.Timedelta(hours=1))
    assert not monitor.hear(late)


@pytest.mark.parametrize(
    ("quiet", "blind"),
    [
        ({}, []),
        ({"ACME": CLOSED}, []),  # the coin was judged
        ({"ACME": CLOSED, "COIN/USD": CLOSED}, ["ACME", "COIN/USD"]),
        ({"COIN/USD": "the venue tells no price"}, ["COIN/USD"]),
        ({"ACME": CLOSED, "COIN/USD": "the venue tells no price"}, ["COIN/USD"]),
    ],
)
def test_a_look_knows_what_it_could_not_judge(quiet: dict[str, str], blind: list[str]) -> None:
    held = [Watch(PositionInfo(s, Decimal(1), Decimal(50)), "f", Decimal(50)) for s in ("ACME", "COIN/USD")]
    assert sorted(Look(at("2024-11-29 16:50"), tuple(held), quiet).blind) == blind
    assert Look(at("2024-11-29 16:50")).blind == {}  # nothing is open, so nothing is missed


def test_an_alarm_is_not_acted_on_while_its_price_is_stale_and_not_forgotten_when_it_recovers() -> None:
    account = Account()
    account.hold()
    account.clock.advance("2024-11-29 16:50")
    monitor = account.monitor()
    account.locked = True
    assert [alarm.reason for alarm in monitor.look().alarms] == ["stop_loss"]
    real = monitor.executor.quotes
    monitor.executor.quotes = lambda symbols: {  # type: ignore[method-assign]
        s: replace(q, price=Decimal(60), moment=q.moment - pd.Timedelta(hours=1)) for s, q in real(symbols).items()
    }
    account.locked = False
    assert not monitor.look().results
    monitor.executor.quotes = lambda symbols: {s: replace(q, price=Decimal(49)) for s, q in real(symbols).items()}  # type: ignore[method-assign]
    assert list(monitor.look().results) == ["ACME"]


@pytest.mark.parametrize("fault", ["drop_request", "drop_answer", "bad_gateway_html", "accepted_504", "truncated_json"])
def test_a_line_that_breaks_while_selling_neither_loses_nor_doubles_the_sale(fault: str) -> None:
    account = Account()
    account.hold()
    account.clock.advance("2024-11-29 16:50")
    account.line.posts.clear()
    account.line.wanted.append(f"POST {fault}")
    account.watch("2024-11-29 17:30", restart=True)
    assert account.at_the_venue() == {}
    assert account.sales() == ["filled"]
    assert len(account.ledger.events("alarm")) == 1


def test_a_line_that_is_dead_for_an_hour_is_told_and_then_made_up_for() -> None:
    account = Account()
    account.hold()
    account.clock.advance("2024-11-29 15:50")
    account.line.wanted += ["drop_request"] * 60
    monitor = account.monitor()
    troubles = 0
    while account.line.wanted:
        troubles += bool(monitor.look().trouble)
        account.sleep(30)
    assert troubles > 5
    account.sleep(300)
    monitor.look()
    account.sleep(5)
    monitor.look()
    assert account.at_the_venue() == {}


def test_a_sale_that_waits_already_is_left_alone() -> None:
    account = Account()
    account.hold()
    account.clock.advance("2024-11-29 12:00")  # before the opening: the run's sale is queued
    sale = OrderRequest(
        "run-sale", "ACME", Side.SELL, Decimal(10), "time_stop", "shares", True, time_in_force=TimeInForce.DAY
    )
    account.journal().send(sale)
    account.clock.advance("2024-11-29 16:50")
    account.venue.step = lambda: []  # type: ignore[method-assign]  # the venue dawdles
    look = account.monitor().look()
    account.ledger.orders()
    assert len(account.sales()) == 1
    assert not look.results or look.results["ACME"].client_id == "run-sale"


def test_a_sale_of_the_run_that_nobody_knows_of_is_sent_again_and_not_joined_by_another() -> None:
    account = Account()
    account.hold()
    account.clock.advance("2024-11-29 16:45")
    account.line.wanted.append("POST drop_request")
    sale = OrderRequest(
        "run-sale", "ACME", Side.SELL, Decimal(10), "time_stop", "shares", True, time_in_force=TimeInForce.DAY
    )
    assert account.journal().send(sale).status is OrderStatus.UNKNOWN
    account.watch("2024-11-29 17:20")
    assert account.at_the_venue() == {}
    assert account.sales() == ["filled"]


def test_what_stands_in_the_way_is_taken_back_first() -> None:
    account = Account()
    account.hold()
    account.clock.advance("2024-11-29 16:50")
    limit = OrderRequest(
        "add", "ACME", Side.BUY, Decimal(5), strategy="shares", limit_price=Decimal(30), order_type="limit",  # type: ignore[arg-type]
        time_in_force=TimeInForce.DAY,
    )  # fmt: skip
    from trading_core.model import OrderType

    account.journal().send(replace(limit, order_type=OrderType.LIMIT))
    account.watch("2024-11-29 17:20")
    assert account.ledger.order("add").status is OrderStatus.CANCELED  # type: ignore[union-attr]
    assert account.at_the_venue() == {}


def test_a_rejected_sale_is_tried_again_under_the_next_number_with_growing_pauses() -> None:
    account = Account()
    account.hold()
    account.clock.advance("2024-11-29 16:50")
    monitor = account.monitor()
    submit, tried = monitor.executor.submit, []

    def picky(order: OrderRequest) -> object:
        tried.append((account.clock(), order.client_id))
        if len(tried) < 4:
            from trading_core.model import OrderResult

            return OrderResult(order.client_id, OrderStatus.REJECTED, message="halted")
        return submit(order)

    monitor.executor.submit = picky  # type: ignore[assignment, method-assign]
    while account.clock() < at("2024-11-29 17:40") and account.at_the_venue():
        monitor.look()
        account.sleep(30)
    assert account.at_the_venue() == {}
    assert len({client_id for _, client_id in tried}) == 4
    pauses = np.diff([moment.value for moment, _ in tried]) / 1e9
    assert list(pauses) == [60, 120, 240]
    assert account.sales() == ["rejected"] * 3 + ["filled"]


def test_a_held_lock_delays_the_sale_and_the_price_may_recover_meanwhile() -> None:
    account = Account(market=panel(**{"2024-11-29": [50, 51, 43.5, 50.5]}))
    account.hold()
    account.clock.advance("2024-11-29 15:42")
    account.locked = True
    monitor = account.monitor()
    while not monitor.look().alarms:
        account.sleep(30)
    account.clock.advance("2024-11-29 17:50")
    assert account.venue.market.price("ACME", account.clock()) > 48  # type: ignore[operator]
    look = monitor.look()
    assert "process 4711" in look.trouble
    assert monitor.pause(look) == 1.0
    account.locked = False
    monitor.look()
    account.sleep(5)
    assert account.at_the_venue() == {}


def test_the_real_lock_is_taken_only_to_act(tmp_path: Path) -> None:
    place = f"sqlite:///{tmp_path}/ledger.db"
    account = Account()
    account.ledger = Ledger.open(place, "demo")
    account.ledger.bind("csv", "alpaca", Decimal(100_000))
    account.hold()
    account.ledger.close()

    def books(write: bool) -> Ledger:
        return Ledger(place, account="demo", write=write)

    monitor = Monitor(books, account.executor(), RULES, clock=account.clock)
    with account_lock(place, "demo"):
        assert not monitor.look().trouble  # nothing to do, no lock needed
        account.clock.advance("2024-11-29 16:50")
        assert f"process {os.getpid()}" in monitor.look().trouble
    assert monitor.look().results["ACME"].status in (OrderStatus.FILLED, OrderStatus.ACCEPTED)
    with account_lock(place, "demo"):
        pass  # let go of at once


def test_positions_that_are_not_to_be_held_overnight_go_ten_minutes_before_the_close() -> None:
    for day, closes in (("2024-11-27", "21:00"), ("2024-11-29", "18:00")):
        account = Account(f"{day} 15:00", panel(**{"2024-11-29": [50, 50.5, 49.5, 50]}))
        account.hold()
        account.watch(f"{day} 22:00", overnight={"shares": False})
        sold = account.ledger.fills()[-1]
        assert sold.reason == "flatten"
        assert sold.moment is not None
        early = at(f"{day} {closes}") - sold.moment
        assert pd.Timedelta(minutes=9) <= early <= pd.Timedelta(minutes=10)


def test_what_was_left_overnight_by_mistake_goes_at_the_next_opening() -> None:
    account = Account("2024-11-27 15:00", panel(**{"2024-11-29": [50, 50.5, 49.5, 50]}))
    account.hold()
    account.clock.advance("2024-11-28 02:00")
    account.watch("2024-11-29 15:00", overnight={"shares": False})
    sold = account.ledger.fills()[-1]
    assert sold.moment is not None
    assert (sold.reason, sold.moment <= at("2024-11-29 14:45")) == ("flatten", True)


def test_coins_have_no_night() -> None:
    account = Account(market=panel())
    account.hold("COIN/USD", "2", "coins")
    account.watch("2024-11-27 12:00", rules={"coins": ExitRules()}, overnight={"coins": False})
    assert account.sales() == []


def test_an_order_that_fills_during_the_day_is_watched_from_then_on() -> None:
    account = Account("2024-11-29 12:00", panel(**{"2024-11-29": [50, 51, 43.5, 44]}))
    order = OrderRequest(
        "buy", "ACME", Side.BUY, Decimal(10), strategy="shares", time_in_force=TimeInForce.DAY
    )  # fmt: skip
    account.journal().send(order)  # queued before the opening
    account.watch("2024-11-29 18:00")
    assert account.sales() == ["filled"]
    assert account.ledger.fills()[-1].reason == "stop_loss"


def test_positions_of_nobody_and_positions_without_rules_are_left_alone() -> None:
    account = Account()
    account.hold(strategy="manual")
    account.watch("2024-12-03 15:00")
    assert account.sales() == []
    assert "ACME" in account.at_the_venue()


def test_paper_trading_has_nothing_to_watch() -> None:
    account = Account()
    with pytest.raises(NothingToWatchError, match="tells no prices"):
        Monitor(account.books, PaperExecutor(account.ledger, panel()), RULES)


def test_hours_of_an_exchange_know_holidays_and_half_days() -> None:
    assert open_hours("XNYS", at("2024-11-28 16:00")) is None
    assert open_hours("XNYS", at("2024-11-29 17:59:59")) == (at("2024-11-29 14:30"), at("2024-11-29 18:00"))
    assert open_hours("XNYS", at("2024-11-29 18:00")) is None
    assert open_hours("XNYS", at("2024-07-01 13:30")) == (at("2024-07-01 13:30"), at("2024-07-01 20:00"))
    assert open_hours("24/7", at("2024-12-25 03:00")) is not None


def test_under_random_faults_restarts_and_locks_no_stop_is_lost_and_nothing_is_sold_twice() -> None:
    alarms = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        lows = {f"{d:%Y-%m-%d}": list(np.sort(rng.uniform(40, 52, 4))[[1, 3, 0, 2]]) for d in SESSIONS[2:]}
        account = Account(market=panel(**{"2024-11-26": [50, 50.5, 49.5, 50], **lows}))
        account.hold()
        account.hold("COIN/USD", "2", "coins")
        crossed: dict[str, pd.Timestamp] = {}
        monitor = account.monitor()
        while account.clock() < at("2024-12-04 22:00"):
            account.locked = rng.random() < 0.1
            account.line.wanted = [str(k) for k in rng.choice(["drop_request", "drop_answer", "accepted_504"], 1)] * int(rng.random() < 0.1)  # fmt: skip
            monitor = account.monitor() if rng.random() < 0.05 else monitor
            look = monitor.look()
            for alarm in look.alarms:
                crossed.setdefault(alarm.watch.symbol, look.moment)
            account.sleep(float(rng.choice([30, 300, 1200])))
        account.locked, account.line.wanted = False, []
        for _ in range(3):
            monitor.look()
            account.sleep(5)
        held = account.at_the_venue()
        assert all(quantity > 0 for quantity in held.values()), seed
        assert not crossed.keys() & held.keys(), (seed, crossed, held)
        bought = {"ACME": Decimal(10), "COIN/USD": Decimal(2)}
        for symbol in crossed:
            sold = sum(f.quantity for f in account.ledger.fills() if f.symbol == symbol and f.side is Side.SELL)
            assert sold == bought[symbol], (seed, symbol, sold)
        alarms += len(crossed)
    assert alarms >= 6


COINS_ONLY = """
[market]
symbols = BTC/USD
[execution]
executor = alpaca
url = {url}
[monitor]
poll_seconds = 0.2
[strategies.coins]
class = trading_core.strategies:CryptoReversal
stop_loss = 0.05
[ledger]
account = demo
"""


def falling_coin() -> Panel:
    "A coin whose price stands at 100 today, as it did yesterday."
    today = pd.Timestamp.now(tz="UTC").normalize()
    days = pd.date_range(today - pd.Timedelta(days=3), today + pd.Timedelta(days=1))
    bars = pd.DataFrame({"open": 100.0, "high": 101.0, "low": 99.0, "close": 100.0, "volume": 1e6}, days)
    return HybridDataNormalizer().normalize({"BTC/USD": bars})


def test_a_stream_rings_when_a_stop_is_reached_between_two_looks() -> None:
    from threading import Event

    from trading_core.execution.price_stream import WatchedPrices
    from trading_core.execution.venue.server import VenueServer

    account, bell = Account(), Event()
    account.hold("COIN/USD", "2", "coins")
    account.clock.advance("2024-11-29 00:00")  # the coin stands at 105, after 112
    with VenueServer(account.venue) as server:
        far = AlpacaExecutor("k", "s", url=server.url)
        monitor = Monitor(account.books, far, {"coins": ExitRules(stop_loss=0.04)}, clock=account.clock)

        def heard(quote: Quote) -> None:
            if monitor.hear(quote):
                bell.set()

        with WatchedPrices("k", "s", heard, url=server.url) as stream:
            assert not monitor.look().alarms
            stream.watch(monitor.symbols)
            for _ in range(900):
                with server.lock:
                    account.clock.advance(pd.Timedelta(minutes=5))
                if bell.wait(0.01):
                    break
        assert bell.is_set()
        look = monitor.look()  # hours later for a poll, at once for the bell
        assert list(look.results) == ["COIN/USD"]
        account.clock.advance(pd.Timedelta(seconds=5))
        monitor.look()
    sold = account.ledger.fills()[-1]
    assert sold.reason == "stop_loss"
    assert account.ledger.positions() == {}


def test_what_is_heard_is_judged_like_what_is_seen() -> None:
    from trading_core.execution.executor import Quote

    account = Account()
    account.hold()
    account.clock.advance("2024-11-29 15:00")
    monitor = account.monitor()
    monitor.look()
    now = account.clock()
    assert not monitor.hear(Quote("ACME", Decimal("49"), now))
    assert not monitor.hear(Quote("ACME", Decimal("40"), now - pd.Timedelta(minutes=10)))  # old news
    assert not monitor.hear(Quote("BOLT", Decimal("1"), now))  # not held
    assert monitor.hear(Quote("ACME", Decimal("46"), now))
    assert list(monitor.look().results) == ["ACME"]
    account.sleep(5)
    assert not monitor.look().alarms
    assert account.at_the_venue() == {}


def test_the_program_sells_over_a_real_line_and_stops_politely(tmp_path: Path) -> None:
    from trading_core.execution.venue import wall_clock
    from trading_core.execution.venue.server import VenueServer

    venue = PaperVenue(PanelMarket(falling_coin()), clock=wall_clock, key="k", secret="s")
    with VenueServer(venue) as server:
        (tmp_path / "settings.ini").write_text(COINS_ONLY.format(url=server.url))
        place = f"sqlite:///{tmp_path}/outputs/ledger.db"
        with Ledger.open(place, "demo") as ledger:
            ledger.bind("simulated", "alpaca", Decimal(100_000))
            journal = Journal(AlpacaExecutor("k", "s", url=server.url), ledger)
            journal.send(OrderRequest("buy-1", "BTC/USD", Side.BUY, Decimal(2), strategy="coins"))
            for _ in range(50):
                journal.settle()
                if journal.sync():
                    break
            assert "BTC/USD" in ledger.positions()
            with ledger.writing() as step:  # as if it had been bought at 120
                from trading_core.ledger import tables

                step.execute(tables.fills.update().values(price=Decimal(120)))
                step.execute(tables.positions.update().values(entry_price=Decimal(120)))
        keys = {"ALPACA_API_KEY": "k", "ALPACA_SECRET_KEY": "s"}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TRADING_")}
        program = [sys.executable, "-c", "from trading_core.cli import main; main()", "monitor"]
        with subprocess.Popen(
            program, cwd=tmp_path, env=clean | keys, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            said = [process.stdout.readline(), process.stdout.readline()]
            process.send_signal(signal.SIGTERM)
            said.append(process.communicate(timeout=20)[0])
        assert process.returncode == 0, said
        assert "Watching the positions of account demo" in said[0]
        assert "BTC/USD: " in said[1]
        assert said[2].endswith("Stopped.\n")
        with Ledger.open(place, "demo") as ledger:
            Journal(AlpacaExecutor("k", "s", url=server.url), ledger).sync()
            assert ledger.positions() == {}
            assert ledger.fills()[-1].reason in ("stop_loss", "fee")
