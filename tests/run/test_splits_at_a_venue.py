"""Splits at a venue: booked once with what they do to orders, a difference where nobody tells of one, and never a loss."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_market import Killed
from test_cycle_on_a_venue import Bomb, Desk

from trading_core.backtest import backtest
from trading_core.data import HybridDataNormalizer
from trading_core.data.intervals import grid
from trading_core.data.panel import Panel
from trading_core.execution import Journal, MismatchError
from trading_core.execution.doctor import Doctor
from trading_core.execution.stage import in_days
from trading_core.execution.venue import Clearing, ManualClock, PanelMarket, PaperVenue
from trading_core.execution.venue.faults import Faults, Force
from trading_core.model import ExitRules, OrderRequest, OrderStatus, Side
from trading_core.portfolio import Costs
from trading_core.report.day import day_report
from trading_core.report.venue_state import venue_state
from trading_core.run.cycle import run_cycle
from trading_core.strategies import Strategy

DAYS = pd.date_range("2024-03-18", "2024-04-14", tz="UTC")
SESSIONS = DAYS[(DAYS.day_of_week < 5) & (DAYS != "2024-03-29")]
SPLIT = pd.Timestamp("2024-03-26", tz="UTC")
EVE = SPLIT - pd.Timedelta("1D")  # Monday; its orders fill on the morning of the split


def day(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def bars(start: float, on: pd.DatetimeIndex, seed: int, ratio: float = 1.0, dividend: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = start * np.exp(np.cumsum(rng.normal(0.004, 0.01, len(on))))
    opens = np.append(start, close[:-1]) * 1.001
    after = np.where(on >= SPLIT, ratio, 1.0)
    table = pd.DataFrame(
        {"open": opens, "high": np.maximum(opens, close), "low": np.minimum(opens, close), "close": close}, on
    )
    table = (table.div(after, axis=0)).round(4).assign(volume=1e6, split=1.0, dividend=0.0)
    table.loc[SPLIT, ["split", "dividend"]] = ratio, dividend
    return table


def market(ratio: float = 4.0, dividend: float = 0.0) -> dict[str, pd.DataFrame]:
    return {
        "ACME": bars(100, SESSIONS, 1, ratio, dividend),
        "BOLT": bars(80, SESSIONS, 2).drop(columns=["split", "dividend"]),
        "COIN/USD": bars(400, DAYS, 3).drop(columns=["split", "dividend"]),
    }


class Buyer(Strategy):
    """Buys both shares on the first Tuesday, and later what `later` says."""

    exits = ExitRules(stop_loss=0.05, trailing_stop=0.10)

    def __init__(self, later: dict[str, tuple[str, float]] | None = None):
        self.later = later or {}

    def signals(self, panel: Panel) -> pd.DataFrame:
        table = pd.DataFrame(np.nan, panel.days, list(panel.symbols))
        table.loc[table.index == "2024-03-19", ["ACME", "BOLT"]] = 0.4
        for when, (symbol, strength) in self.later.items():
            table.loc[table.index == when, symbol] = strength
        return table.where(panel.observed)


class SplitDesk(Desk):
    """An account at a venue that carries out splits, with prices that tell of them from their day on."""

    def __init__(
        self, ratio: float = 4.0, later: Any = None, *, clearing: Clearing | None = None, tells: bool = True,
        dividend: float = 0.0,
    ):  # fmt: skip
        self.tables = market(ratio, dividend)
        super().__init__(HybridDataNormalizer().normalize(self.tables))
        own = self.tables["ACME"][["split", "dividend"]]
        told = {"ACME": own[(own["split"] != 1) | (own["dividend"] > 0)]}
        self.venue = PaperVenue(
            PanelMarket(self.panel, told), cash=Decimal(10_000), clock=self.clock, costs=Costs(rate=0),
            rate_limit=None, clearing=clearing,
        )  # fmt: skip
        self.strategies = {"buyer": (Buyer(later), 1.0)}
        self.whole, self.tells = self.panel, tells

    def cycle(self, as_of: pd.Timestamp, **options: Any) -> Any:
        tables = {s: table[table.index <= as_of] for s, table in self.tables.items()}
        if not self.tells:
            tables = {s: table.drop(columns=["split", "dividend"], errors="ignore") for s, table in tables.items()}
        self.panel = HybridDataNormalizer().normalize(tables)
        return super().cycle(as_of, **options)

    def nights(self, until: object, since: object = DAYS[0], **options: Any) -> list[Any]:
        return [self.cycle(today, **options) for today in DAYS[(since <= DAYS) & (until >= DAYS)]]

    def journal(self) -> Journal:
        return Journal(self.executor(), self.book)

    def agree(self) -> None:
        there = self.executor()
        assert {s: p.quantity for s, p in self.book.positions().items()} == {
            s: p.quantity for s, p in there.positions().items()
        }
        assert self.book.cash() == there.account().cash
        assert self.book.rebuild() == []


@pytest.mark.parametrize("ratio", [4.0, 0.1, 1.5])
def test_night_after_night_over_a_split_comes_to_what_one_backtest_comes_to(ratio: float) -> None:
    desk = SplitDesk(ratio, {"2024-04-03": ("ACME", 0.0)})
    reports = desk.nights(DAYS[-1])
    result = backtest(desk.strategies, desk.whole, cash=10_000, costs=Costs(rate=0))
    ours, theirs = desk.book.fills_frame(), result.fills
    order = ["day", "symbol", "side"]
    assert ours[[*order, "reason"]].values.tolist() == theirs[[*order, "reason"]].values.tolist()
    np.testing.assert_allclose(ours["quantity"], theirs["quantity"], rtol=1e-8)
    np.testing.assert_allclose(desk.book.equity(), result.equity, atol=0.01)
    assert [(a.day, a.symbol, float(a.amount)) for a in desk.book.actions()] == [(SPLIT, "ACME", ratio)]
    assert all(report.differences == () for report in reports)
    desk.agree()


def test_a_split_is_booked_in_the_night_after_its_day_and_every_run_again_books_nothing() -> None:
    desk = SplitDesk()
    desk.nights(SPLIT - pd.Timedelta("1D"))
    before = desk.book.positions()["ACME"]
    desk.cycle(SPLIT)
    after = desk.book.positions()["ACME"]
    assert after.quantity == 4 * before.quantity
    assert abs(after.entry_price * 4 - before.entry_price) < Decimal("1e-8")
    for _ in range(3):
        assert desk.cycle(SPLIT).resumed
    assert len(desk.book.actions()) == len(desk.book.events("split")) == 1
    assert not [fill for fill in desk.book.fills() if fill.side is Side.SELL]
    desk.agree()


def test_nights_that_were_missed_over_a_split_are_valued_in_the_shares_of_each_day() -> None:
    daily, lazy = SplitDesk(), SplitDesk()
    daily.nights(day("2024-04-01"))
    lazy.nights(day("2024-03-24"))
    lazy.cycle(day("2024-04-01"))
    assert lazy.book.actions() == daily.book.actions()
    pd.testing.assert_series_equal(lazy.book.equity(), daily.book.equity())


def test_a_split_that_nobody_tells_of_stays_a_difference_that_says_what_it_looks_like() -> None:
    desk = SplitDesk(tells=False)
    desk.nights(SPLIT - pd.Timedelta("1D"))
    desk.venue.market.actions = {}  # and the venue announces nothing
    with pytest.raises(
        MismatchError, match="it looks like a split, 4 for 1, of which neither prices nor venue have told"
    ):
        desk.cycle(SPLIT)
    assert desk.book.actions() == []


def test_a_split_of_another_quantity_than_told_stays_a_difference() -> None:
    desk = SplitDesk()
    desk.nights(SPLIT - pd.Timedelta("1D"))
    desk.clock.advance(SPLIT + pd.Timedelta("10h"))
    desk.venue.step()
    desk.venue.held["ACME"].quantity += 3
    with pytest.raises(MismatchError, match="ACME"):
        desk.cycle(SPLIT)
    assert desk.book.actions() == []


def test_a_broker_who_is_late_stops_the_run_until_the_new_shares_are_there() -> None:
    desk = SplitDesk(clearing=Clearing(late_hours=24, orders="kept"))
    desk.nights(SPLIT - pd.Timedelta("1D"))
    evenings, orders = len(desk.book.equity()), desk.orders_at_venue()
    with pytest.raises(MismatchError, match=r"before a split 4 for 1 of ACME on 2024-03-26, told by the run's prices"):
        desk.cycle(SPLIT)
    assert (len(desk.book.equity()), desk.orders_at_venue()) == (evenings, orders)
    desk.cycle(SPLIT + pd.Timedelta("1D"))
    assert len(desk.book.actions()) == 1
    assert desk.book.equity().pct_change().abs().max() < 0.05
    desk.agree()


def test_a_split_that_only_the_venue_has_announced_and_not_carried_out_stops_the_run_too() -> None:
    desk = SplitDesk(tells=False, clearing=Clearing(late_hours=30))
    desk.nights(EVE)
    with pytest.raises(MismatchError, match="told by alpaca"):
        desk.cycle(SPLIT)
    desk.cycle(SPLIT + pd.Timedelta("1D"))
    assert len(desk.book.actions()) == 1
    assert not [fill for fill in desk.book.fills() if fill.side is Side.SELL]


def test_a_split_that_was_called_off_stops_the_run_until_a_person_says_so() -> None:
    desk = SplitDesk(1.0)
    desk.nights(EVE)
    desk.venue.market.actions = {"ACME": pd.DataFrame({"split": [4.0], "dividend": [0.0]}, [SPLIT])}
    with pytest.raises(MismatchError, match="say that there was none: trading doctor --repair --why"):
        desk.cycle(SPLIT)
    assert Doctor(desk.journal()).repair("the split was called off, see the company's page") == []
    assert desk.cycle(SPLIT).plan is not None
    desk.nights(DAYS[-1], since=SPLIT)
    assert desk.book.actions() == []
    desk.agree()


@pytest.mark.parametrize(("fractions", "ratio"), [("paid", 0.1), ("raised", 0.1), ("raised", 1.5)])
def test_what_a_venue_does_with_fractions_of_a_share_is_booked_as_it_did(fractions: str, ratio: float) -> None:
    desk = SplitDesk(ratio, clearing=Clearing(fractions=fractions))
    desk.nights(DAYS[-1])
    [action] = desk.book.actions()
    assert action.after == action.after.to_integral_value() != action.before * action.amount
    desk.agree()


def test_killed_at_any_statement_of_the_night_after_a_split_it_is_booked_once() -> None:
    whole = SplitDesk()
    whole.nights(SPLIT - pd.Timedelta("1D"))
    bomb = Bomb(whole.book, None)
    whole.cycle(SPLIT)
    total = bomb.count
    whole.cycle(SPLIT + pd.Timedelta("1D"))
    for at in range(1, total + 1, 11):
        desk = SplitDesk()
        desk.nights(SPLIT - pd.Timedelta("1D"))
        bomb = Bomb(desk.book, at)
        with pytest.raises(Killed):
            desk.cycle(SPLIT)
        bomb.at = None
        for today in (SPLIT, SPLIT + pd.Timedelta("1D")):
            desk.cycle(today)
        told = desk.book.actions(), desk.book.positions(), desk.book.equity().tolist()
        assert told == (whole.book.actions(), whole.book.positions(), whole.book.equity().tolist()), f"{at} of {total}"
        assert set(desk.orders_at_venue().values()) == {1}


# Orders that meet a split -----------------------------------------------------------------------------------------------

SELLS, BUYS = {"2024-03-25": ("ACME", 0.0)}, {"2024-03-19": ("ACME", np.nan), "2024-03-25": ("ACME", 0.4)}


def killed_before_sending(desk: SplitDesk, today: pd.Timestamp) -> None:
    """A cycle whose plan is stored, and nothing sent."""

    def kill(name: str) -> None:
        if name == "send":
            raise Killed

    with pytest.raises(Killed):
        desk.cycle(today, step=kill)


def at_noon(desk: SplitDesk, today: pd.Timestamp) -> Any:
    """The cycle of `today`, run again at noon of the next day, before New York opens."""
    desk.clock.advance(today + pd.Timedelta("36h"))
    return desk.cycle(today)


@pytest.mark.parametrize(("ratio", "new"), [(4.0, 4), (0.1, Decimal("0.1"))])
def test_a_purchase_planned_before_a_split_and_sent_after_it_is_one_of_new_shares(ratio: float, new: Any) -> None:
    desk = SplitDesk(ratio, BUYS)
    desk.nights(EVE - pd.Timedelta("1D"))
    killed_before_sending(desk, EVE)
    [planned] = desk.book.unsent()
    for _ in range(2):
        at_noon(desk, EVE)
    [sent] = [order for order in desk.venue.orders if order.symbol == "ACME"]
    assert sent.quantity == planned.quantity * new
    assert len(desk.book.events("order split")) == 1
    desk.nights(DAYS[-1], since=SPLIT)
    assert desk.book.positions()["ACME"].quantity == planned.quantity * new
    assert set(desk.orders_at_venue().values()) == {1}
    desk.agree()


def test_a_purchase_of_more_of_what_is_held_is_changed_in_the_step_that_books_the_split() -> None:
    desk = SplitDesk(4.0, {"2024-03-25": ("ACME", 0.9)})
    desk.nights(EVE - pd.Timedelta("1D"))
    desk.clock.advance(EVE + pd.Timedelta("24h"))
    held = desk.book.positions()["ACME"].quantity
    more = OrderRequest("20240325-ACME-b-more", "ACME", Side.BUY, Decimal(3), strategy="buyer")
    desk.book.store_plan(
        "daily",
        EVE,
        orders=[more],
        plan={"cancels": [], "refusals": [], "targets": {}},
        signals={},
        equity=Decimal(1),
        cash=Decimal(1),
    )
    for _ in range(3):
        at_noon(desk, EVE)
    assert [order.quantity for order in desk.venue.orders if order.client_id == more.client_id] == [12]
    desk.nights(SPLIT + pd.Timedelta("1D"), since=SPLIT)
    assert desk.book.positions()["ACME"].quantity == 4 * held + 12
    desk.agree()


@pytest.mark.parametrize("later", [SELLS, BUYS], ids=["of what is held", "of what is not"])
def test_killed_at_any_statement_of_the_morning_an_order_becomes_one_of_new_shares_once(later: Any) -> None:
    def morning(at: int | None) -> tuple[int, SplitDesk]:
        desk = SplitDesk(4.0, later)
        desk.nights(EVE - pd.Timedelta("1D"))
        killed_before_sending(desk, EVE)
        bomb = Bomb(desk.book, at)
        if at is not None:
            with pytest.raises(Killed):
                at_noon(desk, EVE)
            bomb.at = None
        at_noon(desk, EVE)
        return bomb.count, desk

    total, whole = morning(None)
    told = [(order.client_id, order.quantity) for order in whole.venue.orders]
    assert total > 20
    for at in range(1, total + 1, 11):
        _, desk = morning(at)
        assert [(order.client_id, order.quantity) for order in desk.venue.orders] == told, f"killed at {at} of {total}"
        assert desk.book.actions() == whole.book.actions()


def test_a_sale_of_all_planned_before_a_split_sells_all_new_shares_once() -> None:
    desk = SplitDesk(4.0, SELLS)
    desk.nights(EVE - pd.Timedelta("1D"))
    killed_before_sending(desk, EVE)
    at_noon(desk, EVE)
    desk.nights(DAYS[-1], since=SPLIT)
    assert "ACME" not in desk.book.positions()
    assert len([order for order in desk.venue.orders if order.symbol == "ACME" and order.side is Side.SELL]) == 1
    desk.agree()


def test_a_decision_that_is_late_and_made_after_the_split_orders_new_shares_at_the_prices_of_its_day() -> None:
    daily, late = SplitDesk(4.0, SELLS), SplitDesk(4.0, SELLS)
    for desk in (daily, late):
        desk.nights(EVE - pd.Timedelta("1D"))
    planned = daily.cycle(EVE)
    told = at_noon(late, EVE)
    [ours], [theirs] = ([o for o in r.plan.orders if o.symbol == "ACME"] for r in (told, planned))
    assert (ours.whole, ours.quantity) == (True, 4 * theirs.quantity)
    assert late.book.equity().iloc[-1] == daily.book.equity().iloc[-1]
    late.nights(DAYS[-1], since=SPLIT)
    assert "ACME" not in late.book.positions()
    late.agree()


@pytest.mark.parametrize("later", [SELLS, BUYS], ids=["a sale", "a purchase"])
def test_an_order_that_an_announced_split_would_meet_is_held_back_with_a_sentence(later: Any) -> None:
    desk = SplitDesk(4.0, later)
    desk.nights(EVE - pd.Timedelta("1D"))
    before = desk.orders_at_venue()
    report = desk.cycle(EVE)
    assert [result.status for result in report.results] == [OrderStatus.PLANNED]
    assert "a split 4 for 1 of ACME on 2024-03-26, told by alpaca, comes first" in report.results[0].message
    assert desk.orders_at_venue() == before
    run = SimpleNamespace(
        panel=desk.panel, strategies=desk.strategies, ledger=desk.book, benchmark=desk.panel.close["ACME"],
        account="desk", job="daily", simulated=True,
    )  # fmt: skip
    assert [line.status.startswith("held back: a split 4 for 1") for line in day_report(run, report).orders] == [True]
    at_noon(desk, EVE)
    assert sum((desk.orders_at_venue() - before).values()) == 1
    desk.nights(DAYS[-1], since=SPLIT)
    assert ("ACME" in desk.book.positions()) == (later is BUYS)
    desk.agree()


@pytest.mark.parametrize("orders", ["canceled", "kept"])
@pytest.mark.parametrize("ratio", [4.0, 0.1])
def test_a_sale_of_all_that_meets_a_split_of_which_nobody_told_is_owed_until_the_position_is_gone(
    orders: str, ratio: float
) -> None:
    desk = SplitDesk(ratio, SELLS, clearing=Clearing(orders=orders))
    announced, desk.venue.market.actions = desk.venue.market.actions, {}
    assert announced
    desk.nights(DAYS[-1])
    assert "ACME" not in desk.book.positions()
    assert {fill.reason for fill in desk.book.fills() if fill.side is Side.SELL and fill.symbol == "ACME"} == {"signal"}
    sold = sum(fill.quantity for fill in desk.book.fills() if fill.symbol == "ACME" and fill.side is Side.SELL)
    assert sold == desk.book.actions()[0].after if desk.book.actions() else sold > 0
    desk.agree()


@pytest.mark.parametrize("lost", ["", "drop_answer", "drop_request"])
@pytest.mark.parametrize("later", [SELLS, BUYS | {"2024-03-19": ("ACME", 0.2)}], ids=["a sale", "a purchase"])
def test_an_order_of_old_shares_that_the_venue_keeps_is_taken_back_before_the_split_is_booked(
    later: Any, lost: str
) -> None:
    desk = SplitDesk(4.0, later, clearing=Clearing(orders="kept"))
    desk.nights(EVE - pd.Timedelta("1D"))
    announced, desk.venue.market.actions = desk.venue.market.actions, {}
    desk.cycle(EVE)
    if later is not SELLS:
        more = OrderRequest("20240325-ACME-b-more", "ACME", Side.BUY, Decimal(3), strategy="buyer")
        desk.journal().send(more, job="daily", as_of=EVE)
    [old] = [order for order in desk.venue.working.values() if order.symbol == "ACME"]
    desk.venue.market.actions = announced
    desk.faults = Faults(1, {}, [Force(lost, 1, "DELETE")]) if lost else None
    first = at_noon(desk, EVE)
    assert bool(first.unreachable) == bool(lost)
    assert len(desk.book.actions()) == (0 if lost else 1)
    desk.faults = None
    at_noon(desk, EVE)
    assert desk.venue.by_client[old.client_id].status == "canceled"
    assert len(desk.book.actions()) == 1
    desk.nights(day("2024-03-30"), since=SPLIT)
    assert ("ACME" in desk.book.positions()) == (later is not SELLS)
    assert set(desk.orders_at_venue().values()) == {1}
    desk.agree()


@pytest.mark.parametrize("kind", ["drop_answer", "drop_request", "error_500", "reset"])
@pytest.mark.parametrize("nth", [2, 5, 8])
def test_whatever_the_line_does_on_the_night_after_a_split_it_is_booked_once_and_nothing_is_doubled(
    kind: str, nth: int
) -> None:
    desk = SplitDesk(4.0, {"2024-03-26": ("ACME", 0.0)})
    desk.nights(EVE)
    desk.faults = Faults(1, {}, [Force(kind, nth)])
    desk.cycle(SPLIT)
    desk.faults = None
    desk.nights(SPLIT + pd.Timedelta("2D"), since=SPLIT)
    assert [float(action.amount) for action in desk.book.actions()] == [4.0]
    assert "ACME" not in desk.book.positions()
    assert set(desk.orders_at_venue().values()) == {1}
    desk.agree()


def test_a_dry_run_over_a_split_says_so_and_books_nothing() -> None:
    desk = SplitDesk()
    desk.nights(EVE)
    dry = desk.cycle(SPLIT, dry_run=True)
    assert desk.book.actions() == []
    assert next(d.why for d in dry.differences if d.kind == "position").endswith("which the next run books")
    assert not [order for order in dry.plan.orders if order.side is Side.SELL]


def test_the_report_says_in_words_what_was_booked_and_only_on_its_day() -> None:
    desk = SplitDesk(4.0, dividend=0.5, clearing=Clearing(pays_after_days=7))
    reports = desk.nights(DAYS[-1])
    told = {r.as_of: venue_state(SimpleNamespace(ledger=desk.book), r).booked for r in reports[1:]}
    held = desk.book.actions()[0]
    split = f"split 4 for 1 of ACME on 2024-03-26: {held.before.normalize():f} became {held.after.normalize():f}"
    paid = f"dividend of ACME on 2024-04-02, as the venue paid it: ${held.before / 2:,.2f}"
    assert {day: said for day, said in told.items() if said} == {SPLIT: [split], day("2024-04-02"): [paid]}


# Dividends --------------------------------------------------------------------------------------------------------------


def test_a_dividend_is_booked_with_the_cash_that_the_venue_tells_once_on_the_day_that_it_is_paid() -> None:
    desk = SplitDesk(1.0, dividend=0.5, clearing=Clearing(pays_after_days=7))
    reports = desk.nights(DAYS[-1])
    [paid] = [fill for fill in desk.book.fills() if fill.reason == "dividend"]
    held = desk.book.positions()["ACME"].quantity
    assert (paid.day, paid.cash_change, paid.strategy) == (SPLIT + pd.Timedelta("7D"), held / 2, "buyer")
    for _ in range(2):
        desk.cycle(DAYS[-1])
    assert len([fill for fill in desk.book.fills() if fill.reason == "dividend"]) == 1
    assert desk.book.realised()["ACME"] == paid.cash_change
    assert all(report.differences == () for report in reports)
    desk.agree()


def test_a_dividend_that_is_paid_after_the_sale_belongs_to_the_strategy_that_held_it() -> None:
    desk = SplitDesk(1.0, {"2024-03-27": ("ACME", 0.0)}, dividend=0.5, clearing=Clearing(pays_after_days=7))
    desk.nights(DAYS[-1])
    [paid] = [fill for fill in desk.book.fills() if fill.reason == "dividend"]
    assert paid.strategy == "buyer"
    assert "ACME" not in desk.book.positions()
    desk.agree()


def test_the_doctor_books_a_split_that_the_venue_has_announced_and_leaves_another_difference_alone() -> None:
    desk = SplitDesk()
    desk.nights(EVE)
    desk.clock.advance(SPLIT + pd.Timedelta("12h"))
    found = Doctor(desk.journal()).examine()
    assert found.ok
    assert len(desk.book.actions()) == 1
    other = SplitDesk()
    other.nights(EVE)
    other.clock.advance(SPLIT + pd.Timedelta("12h"))
    other.venue.market.actions = {}
    assert not Doctor(other.journal()).examine().ok
    assert other.book.actions() == []


# Hours ------------------------------------------------------------------------------------------------------------------


def hourly(start: float, ends: pd.DatetimeIndex, ratio: float = 1.0) -> pd.DataFrame:
    """Bars of an hour that hardly move, four for one from the split on."""
    new = ends.normalize() >= SPLIT
    price = start * (1 + 0.001 * np.sin(np.arange(len(ends)))) / np.where(new, ratio, 1.0)
    table = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), price), ends).assign(volume=1e6)
    if ratio == 1:
        return table
    table["split"] = 1.0
    table.loc[ends[new][0], "split"] = ratio
    return table.assign(dividend=0.0)


class Once(Strategy):
    """Buys the share in its first hour, and stops at 5 %."""

    exits = ExitRules(stop_loss=0.05, trailing_stop=0.05)

    def signals(self, panel: Panel) -> pd.DataFrame:
        table = pd.DataFrame(np.nan, panel.days, list(panel.symbols))
        table.loc[table.index == "2024-03-25 14:30", "ACME"] = 0.5
        return table.where(panel.observed)


def test_hour_after_hour_over_the_night_of_a_split_the_account_keeps_its_worth_and_sells_nothing() -> None:
    shares = grid("XNYS", "1h", "2024-03-25", "2024-03-26")
    tables = {"ACME": hourly(100, shares, 4.0), "COIN/USD": hourly(400, grid("24/7", "1h", "2024-03-25", "2024-03-26"))}
    whole = HybridDataNormalizer().normalize(tables, interval="1h")
    desk = SplitDesk()
    told = {"ACME": pd.DataFrame({"split": [4.0], "dividend": [0.0]}, pd.DatetimeIndex([SPLIT]))}
    desk.clock = ManualClock("2024-03-25 00:00")
    desk.venue = PaperVenue(
        PanelMarket(in_days(whole), told), cash=Decimal(10_000), clock=desk.clock, costs=Costs(rate=0), rate_limit=None
    )
    for moment in whole.days[(whole.days >= "2024-03-25 14:30") & (whole.days <= "2024-03-26 18:00")]:
        desk.clock.advance(moment + pd.Timedelta("1min"))
        seen = HybridDataNormalizer().normalize(
            {s: table[table.index <= moment] for s, table in tables.items()}, interval="1h"
        )
        run_cycle(
            seen, {"once": (Once(), 1.0)}, ledger=desk.book, account="desk", as_of=moment, executor=desk.executor,
            costs=Costs(rate=0), cash=10_000, source_kind="test",
        )  # fmt: skip
    [action] = desk.book.actions()
    assert (action.day, action.after) == (SPLIT, 4 * action.before)
    assert [fill.side for fill in desk.book.fills()] == [Side.BUY]
    assert desk.book.equity().pct_change().abs().max() < 0.01
    assert len(desk.book.equity()) > 24
    desk.agree()


@pytest.mark.parametrize("seed", range(12))
def test_whatever_split_line_and_broker_the_book_is_the_venue_s_and_nothing_is_doubled_or_short(seed: int) -> None:
    dice = Random(seed)
    ratio = dice.choice([2.0, 3.0, 4.0, 1.5, 7.0, 0.1, 0.5, 0.05])
    clearing = Clearing(
        dice.choice([0, 0, 12, 30]), dice.choice(["kept", "paid", "raised"]), dice.choice(["canceled", "kept"]), 5
    )
    later = {
        "2024-03-25": ("ACME", dice.choice([0.0, 0.2, np.nan])),
        "2024-04-03": ("ACME", dice.choice([0.0, np.nan])),
    }
    desk = SplitDesk(ratio, later, clearing=clearing, dividend=dice.choice([0.0, 0.3]), tells=dice.random() < 0.7)
    if dice.random() < 0.3:
        desk.venue.market.actions = {}
    desk.cycle(DAYS[0])
    refused: list[MismatchError] = []
    kinds = ("drop_request", "drop_answer", "delay", "error_500", "reset")
    for today in DAYS[1:]:
        desk.faults = Faults(seed * 100 + today.day, dict.fromkeys(kinds, 0.03))
        for _ in range(dice.choice([1, 1, 2])):
            try:
                desk.cycle(today)
            except MismatchError as error:
                refused.append(error)
        assert all(holding.quantity > 0 for holding in desk.venue.held.values())
    desk.faults = None
    assert set(desk.orders_at_venue().values()) == {1}
    assert len(desk.book.actions()) <= 1
    known = desk.tells or desk.venue.market.actions
    assert all(clearing.late_hours == 30 and "before a split" in str(error) for error in refused) or not known
    if known:
        desk.cycle(DAYS[-1])
        desk.agree()
    sold = [order for order in desk.venue.orders if order.side is Side.SELL and order.symbol == "ACME"]
    bought = sum(f.quantity for f in desk.book.fills() if f.symbol == "ACME" and f.side is Side.BUY and f.quantity)
    assert sum(order.filled for order in sold) <= bought * Decimal(max(ratio, 1)) + 1
