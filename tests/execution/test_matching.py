"""One set of rules says when and at what price an order executes: on paper, at the venue, and as a backtest would."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from trading_core.data import HybridDataNormalizer
from trading_core.data.panel import Panel
from trading_core.execution import PaperExecutor, paper_day
from trading_core.execution.matching import Hit, Working, first_hit
from trading_core.execution.paper import opens_of
from trading_core.execution.path import Session, hours_of, price_in, session_path
from trading_core.ledger import Ledger, positions_of
from trading_core.model import Asset, Fill, OrderRequest, OrderStatus, OrderType, Side, TimeInForce, money
from trading_core.portfolio import Costs, fill_open
from trading_core.sessions import sessions

ACME = Asset.of("ACME")
OPENS, CLOSES = (pd.Timestamp(f"2024-03-25 {hour}", tz="UTC").value for hour in ("13:30", "20:00"))


def day(first: float, high: float, low: float, last: float) -> Session:
    return session_path(OPENS, CLOSES, (money(first), money(high), money(low), money(last)))


def executed(
    session: Session, kind: OrderType, side: Side = Side.SELL, force: TimeInForce = TimeInForce.DAY, **prices: str
) -> Decimal | None:
    work = Working(side, kind, **{name: Decimal(price) for name, price in prices.items()})  # type: ignore[arg-type]
    hit, _ = first_hit(work, force, [session], session.opens, session.closes, ACME)
    return hit.price if hit else None


def test_a_gap_fills_a_stop_at_the_open_and_not_at_its_price() -> None:
    assert executed(day(45, 47, 44, 46), OrderType.STOP, stop="48") == 45
    assert executed(day(50, 53, 44, 46), OrderType.STOP, stop="48") == 48
    assert executed(day(50, 53, 49, 52), OrderType.STOP, stop="48") is None


def test_a_buy_stop_works_upwards() -> None:
    assert executed(day(50, 53, 49, 52), OrderType.STOP, Side.BUY, stop="52.5") == Decimal("52.5")
    assert executed(day(55, 56, 54, 55), OrderType.STOP, Side.BUY, stop="52.5") == 55


def test_a_limit_is_never_worse_than_its_price_and_takes_a_better_open() -> None:
    assert executed(day(45, 47, 44, 46), OrderType.LIMIT, Side.BUY, limit="48") == 45
    assert executed(day(50, 53, 47, 52), OrderType.LIMIT, Side.BUY, limit="48") == 48
    assert executed(day(50, 53, 49, 52), OrderType.LIMIT, limit="52.9") == Decimal("52.9")


def test_a_stop_limit_waits_for_its_limit_once_it_is_triggered() -> None:
    falls_then_rises = day(50, 53, 47, 52)
    assert executed(falls_then_rises, OrderType.STOP_LIMIT, stop="48", limit="47.5") == 48
    assert executed(falls_then_rises, OrderType.STOP_LIMIT, stop="48", limit="51") == 51
    assert executed(day(50, 53, 49, 52), OrderType.STOP_LIMIT, stop="48", limit="51") is None


def test_a_trailing_stop_follows_the_best_price_only() -> None:
    assert executed(day(50, 60, 49, 49.5), OrderType.TRAILING_STOP, trail_percent="5") == 57
    assert executed(day(50, 60, 49, 49.5), OrderType.TRAILING_STOP, trail_price="2") == 58
    assert executed(day(50, 60, 49, 49.5), OrderType.TRAILING_STOP, Side.BUY, trail_price="10.5") is None
    assert executed(day(50, 60, 49, 55), OrderType.TRAILING_STOP, Side.BUY, trail_price="2") == 51


@pytest.mark.parametrize(
    ("force", "price"), [(TimeInForce.OPG, 50), (TimeInForce.CLS, 52), (TimeInForce.IOC, 50), (TimeInForce.GTC, 50)]
)
def test_auctions_have_one_price(force: TimeInForce, price: int) -> None:
    assert executed(day(50, 53, 49, 52), OrderType.MARKET, Side.BUY, force) == price


def test_an_order_placed_at_noon_meets_the_price_of_noon_and_not_the_mornings() -> None:
    session = day(50, 53, 47, 52)
    noon = (OPENS + CLOSES) // 2
    hit, _ = first_hit(Working(Side.BUY, OrderType.MARKET), TimeInForce.DAY, [session], noon, CLOSES, ACME)
    assert hit == Hit(noon, price_in(session, noon, ACME))
    late, _ = first_hit(
        Working(Side.BUY, OrderType.LIMIT, limit=Decimal("47.5")), TimeInForce.DAY, [session], noon + 1, CLOSES, ACME
    )
    assert late is None  # the low of the day was in the morning


def test_the_path_stays_within_its_bar_and_its_ends_are_exact() -> None:
    dice = np.random.default_rng(4)
    for _ in range(200):
        first, last = dice.uniform(1, 100, 2).round(4)
        high, low = max(first, last) + dice.uniform(0, 5), min(first, last) * dice.uniform(0.8, 1)
        session = day(first, high, low, last)
        assert (price_in(session, OPENS, ACME), price_in(session, CLOSES, ACME)) == (money(first), money(last))
        for moment in np.linspace(OPENS, CLOSES, 17).astype(int):
            assert money(low) <= price_in(session, int(moment), ACME) <= money(high)


def test_asking_in_between_changes_no_execution() -> None:
    dice = np.random.default_rng(5)
    kinds = [
        Working(Side.SELL, OrderType.STOP, stop=Decimal("48.5")), Working(Side.BUY, OrderType.LIMIT, limit=Decimal("48.2")),
        Working(Side.SELL, OrderType.TRAILING_STOP, trail_percent=Decimal(4)),
        Working(Side.SELL, OrderType.STOP_LIMIT, limit=Decimal("49"), stop=Decimal("48.5")),
    ]  # fmt: skip
    for _ in range(60):
        first, last = dice.uniform(46, 54, 2).round(2)
        session = day(first, max(first, last) + dice.uniform(0, 3), min(first, last) - dice.uniform(0, 3), last)
        for work in kinds:
            whole, _ = first_hit(work, TimeInForce.GTC, [session], OPENS, CLOSES, ACME)
            found, now = None, work
            cuts = sorted({OPENS, CLOSES, *map(int, dice.integers(OPENS, CLOSES, 5))})
            for start, until in pairwise(cuts):
                found, now = first_hit(now, TimeInForce.GTC, [session], start, until, ACME)
                if found:
                    break
            assert (whole is None) == (found is None)
            if whole and found:
                assert abs(whole.price - found.price) <= Decimal("0.01") * 2
                assert abs(whole.moment - found.moment) < 120e9


DAYS = pd.date_range("2024-03-01", "2024-05-31", tz="UTC")


def random_panel(seed: int) -> Panel:
    dice = np.random.default_rng(seed)
    bars = {}
    for symbol in ("ACME", "BOLT", "COIN/USD", "DROP"):
        on = DAYS if "/" in symbol else sessions("XNYS", DAYS[0], DAYS[-1])
        on = on[dice.random(len(on)) > (0.2 if symbol == "DROP" else 0.02)]
        opens = 50 * np.exp(np.cumsum(dice.normal(0, 0.02, len(on))))
        closes = opens * np.exp(dice.normal(0, 0.01, len(on)))
        table = pd.DataFrame({"open": opens, "close": closes}, on)
        table["high"], table["low"] = table.max(axis=1) * 1.01, table.min(axis=1) * 0.99
        bars[symbol] = table.assign(volume=1e6).round(4)
    return HybridDataNormalizer().normalize(bars)


@pytest.mark.parametrize("share", [None, 2e-5])
@pytest.mark.parametrize("seed", range(8))
def test_market_orders_on_paper_fill_exactly_as_in_a_backtest(seed: int, share: float | None) -> None:
    panel, dice = random_panel(seed), np.random.default_rng(seed + 100)
    costs = Costs(rate=0.001, slippage_bps=5, minimum=1.0, volume_share=share)
    past: list[Fill] = []
    cash, waiting = Decimal(10_000), list[OrderRequest]()
    for row, when in enumerate(panel.days[5:], start=5):
        held = {symbol: position.quantity for symbol, position in positions_of(past).items()}
        opens = opens_of(panel, row, {order.symbol for order in waiting})
        volumes = dict(zip(panel.symbols, panel.arrays["volume"][row].tolist(), strict=True))
        expected, refused, left = fill_open(
            waiting, opens, held, sum((f.cash_change for f in past), cash), costs, panel.assets, when, volumes
        )
        happened = paper_day(panel, row, past, waiting, cash, costs)
        assert [f for f in happened.fills if f.reason != "delisted"] == expected
        assert sum(r.status in (OrderStatus.REJECTED, OrderStatus.CANCELED) for r in happened.results) == len(refused)
        begun = {r.client_id for r in happened.results if r.status is OrderStatus.PARTIALLY_FILLED}
        assert begun == {f.client_id for f in expected} & {order.client_id for order in left}
        past += happened.fills
        waiting = left
        for symbol in dice.permutation(panel.symbols):
            if dice.random() < 0.4 and symbol not in {order.symbol for order in waiting}:
                side = Side.SELL if symbol in positions_of(past) and dice.random() < 0.6 else Side.BUY
                size = Decimal(int(dice.integers(1, 90)))
                waiting.append(OrderRequest(f"{when:%Y%m%d}-{symbol}", symbol, side, size, whole=side is Side.SELL))
    assert len(past) > 50


def account(cash: str = "10000") -> Ledger:
    ledger = Ledger("sqlite://", account="demo", write=True)
    ledger.bind("csv", "paper", Decimal(cash))
    return ledger


def small_panel(rows: list[tuple[float, float, float, float]]) -> Panel:
    on = sessions("XNYS", "2024-03-04", "2024-05-31")[: len(rows)]
    table = pd.DataFrame(rows, on, ["open", "high", "low", "close"])
    return HybridDataNormalizer().normalize({"ACME": table.assign(volume=1.0)})


def live(panel: Panel, *orders: OrderRequest, held: int = 10) -> dict[str, tuple[str, Decimal | None, str]]:
    "Each order's last status, its price and its day, after all days of a panel; a new executor each day."
    ledger = account()
    PaperExecutor(ledger, panel).submit(OrderRequest("first", "ACME", Side.BUY, Decimal(held)))
    PaperExecutor(ledger, panel, Costs(rate=0.0)).advance(panel.days[0])
    for order in orders:
        PaperExecutor(ledger, panel).submit(order)
    for when in panel.days[1:]:
        PaperExecutor(ledger, panel, Costs(rate=0.0)).advance(when)
    filled = {fill.client_id: fill for fill in ledger.fills()}
    told = {}
    for order in orders:
        known = ledger.order(order.client_id)
        assert known is not None
        fill = filled.get(order.client_id)
        told[order.client_id] = (str(known.status), fill.price if fill else None, f"{fill.day:%m-%d}" if fill else "")
    return told


def sale(client_id: str, kind: OrderType, force: TimeInForce = TimeInForce.GTC, **prices: str) -> OrderRequest:
    order = OrderRequest(client_id, "ACME", Side.SELL, Decimal(1), order_type=kind, time_in_force=force)
    return replace(order, **{name: Decimal(price) for name, price in prices.items()})


def test_paper_takes_limits_and_stops_and_remembers_a_trailing_stop_over_restarts() -> None:
    panel = small_panel([(50, 51, 49, 50), (50, 56, 50, 55), (55, 60, 54, 59), (59, 59.5, 50, 51), (45, 46, 44, 45)])
    told = live(
        panel,
        sale("trail", OrderType.TRAILING_STOP, trail_percent="5"),
        sale("stop", OrderType.STOP, stop_price="49.50"),
        sale("limit", OrderType.LIMIT, limit_price="58"),
        sale("stop limit", OrderType.STOP_LIMIT, stop_price="49.80", limit_price="49"),
        sale("never", OrderType.LIMIT, limit_price="70"),
    )
    assert told == {
        "trail": ("filled", Decimal(57), "03-07"),  # five per cent below the 60 of the day before
        "stop": ("filled", Decimal(45), "03-08"),  # gapped over
        "limit": ("filled", Decimal(58), "03-06"),
        "stop limit": ("accepted", None, ""),  # the gap went past its limit, too
        "never": ("accepted", None, ""),
    }


def test_paper_keeps_a_triggered_stop_limit_working_until_its_limit_is_reached() -> None:
    panel = small_panel([(50, 51, 49, 50), (50, 50, 46, 46.5), (46, 47, 45, 46), (47, 53, 46, 52)])
    told = live(panel, sale("late", OrderType.STOP_LIMIT, stop_price="48", limit_price="50.50"))
    assert told == {"late": ("filled", Decimal("50.50"), "03-07")}


def test_an_order_for_a_day_or_an_auction_ends_with_it() -> None:
    panel = small_panel([(50, 51, 49, 50), (50, 53, 49, 52), (52, 60, 51, 59)])
    told = live(
        panel,
        sale("day", OrderType.LIMIT, TimeInForce.DAY, limit_price="58"),
        sale("now", OrderType.LIMIT, TimeInForce.IOC, limit_price="52"),
        sale("open", OrderType.MARKET, TimeInForce.OPG),
        sale("close", OrderType.MARKET, TimeInForce.CLS),
        sale("open limit", OrderType.LIMIT, TimeInForce.OPG, limit_price="52"),
    )
    assert {name: status for name, (status, *_) in told.items()} == {
        "day": "expired", "now": "expired", "open": "filled", "close": "filled", "open limit": "expired",
    }  # fmt: skip
    assert (told["open"][1], told["close"][1]) == (Decimal(50), Decimal(52))


def test_a_limit_pays_no_slippage_and_a_stop_does() -> None:
    panel = small_panel([(50, 51, 49, 50), (50, 53, 47, 52)])
    costs = Costs(rate=0.0, slippage_bps=100)
    orders = [sale("limit", OrderType.LIMIT, limit_price="52.50"), sale("stop", OrderType.STOP, stop_price="48")]
    bought = Fill("f", "first", "ACME", Side.BUY, Decimal(9), Decimal(50), Decimal(0), panel.days[0])
    fills = paper_day(panel, 1, [bought], orders, Decimal(1000), costs).fills
    assert {fill.client_id: fill.price for fill in fills} == {"limit": Decimal("52.50"), "stop": Decimal("47.52")}


def test_a_half_day_closes_early() -> None:
    hours = hours_of("XNYS")
    number = hours.on(pd.Timestamp("2024-11-29", tz="UTC").value)
    assert number is not None
    assert hours.closes[number] == pd.Timestamp("2024-11-29 18:00", tz="UTC").value
    assert hours.on(pd.Timestamp("2024-11-28", tz="UTC").value) is None


# A part of the volume -------------------------------------------------------------------------------------------------

TENTH = Costs(rate=0.0, volume_share=0.1)


def thin_account(rows: list[tuple[float, float, float, float]], volume: float) -> tuple[Ledger, PaperExecutor, Panel]:
    panel, ledger = small_panel(rows), account()
    volumes = np.asfortranarray(np.full(panel.shape, volume))
    panel = replace(panel, arrays={**panel.arrays, "volume": volumes})
    return ledger, PaperExecutor(ledger, panel, TENTH), panel


@pytest.mark.parametrize("force", [TimeInForce.IOC, TimeInForce.OPG, TimeInForce.CLS])
def test_what_the_volume_left_of_an_order_for_one_moment_is_gone(force: TimeInForce) -> None:
    ledger, venue, panel = thin_account([(50, 52, 49, 51)] * 3, 40.0)
    venue.submit(OrderRequest("b", "ACME", Side.BUY, Decimal(10), time_in_force=force))
    venue.advance(panel.days[1])
    assert [fill.quantity for fill in ledger.fills()] == [Decimal(4)]
    known = ledger.order("b")
    assert known is not None
    assert (known.status, known.message) == (
        OrderStatus.CANCELED, "6 of ACME were not to be had within the volume",
    )  # fmt: skip
    assert venue.open_orders() == []


def test_a_limit_order_for_the_day_ends_with_the_day_and_one_good_till_cancelled_goes_on() -> None:
    ledger, venue, panel = thin_account([(50, 52, 49, 51)] * 4, 40.0)
    for name, force in (("day", TimeInForce.DAY), ("gtc", TimeInForce.GTC)):
        venue.submit(
            OrderRequest(
                name, "ACME", Side.BUY, Decimal(3), order_type=OrderType.LIMIT, limit_price=Decimal(50),
                time_in_force=force,
            )
        )  # fmt: skip
    venue.advance(panel.days[1])
    assert [(f.client_id, f.quantity) for f in ledger.fills()] == [("day", Decimal(3)), ("gtc", Decimal(1))]
    venue.advance(panel.days[2])
    assert [(f.client_id, f.quantity) for f in ledger.fills()[2:]] == [("gtc", Decimal(2))]
    assert len({fill.venue_id for fill in ledger.fills()}) == 3


def test_orders_of_one_symbol_share_the_volume_of_a_bar() -> None:
    ledger, venue, panel = thin_account([(50, 52, 49, 51)] * 4, 40.0)
    for name in ("one", "other"):
        venue.submit(OrderRequest(name, "ACME", Side.BUY, Decimal(3)))
    for row, total in ((1, 4), (2, 6)):
        venue.advance(panel.days[row])
        assert sum(fill.quantity for fill in ledger.fills()) == total
    assert [o.status for o in map(ledger.order, ("one", "other")) if o] == [OrderStatus.FILLED] * 2


def test_a_stop_that_was_reached_sells_the_rest_at_the_next_opens_whatever_the_price() -> None:
    rows = [(50, 52, 49, 51), (50, 50, 47, 49), (55, 56, 54, 55), (56, 57, 55, 56)]
    ledger, venue, panel = thin_account(rows, 40.0)
    ledger.add_fills([Fill("1", "1", "ACME", Side.BUY, Decimal(9), Decimal(50), Decimal(0), panel.days[0])])
    stop = OrderRequest("s", "ACME", Side.SELL, Decimal(9), order_type=OrderType.STOP, stop_price=Decimal(48))
    venue.submit(stop)
    for row in (1, 2, 3):
        venue.advance(panel.days[row])
    assert [(f.quantity, f.price) for f in ledger.fills()[1:]] == [
        (Decimal(4), Decimal(48)), (Decimal(4), Decimal(55)), (Decimal(1), Decimal(56)),
    ]  # fmt: skip
    assert venue.positions() == {}


def test_without_volume_a_reached_trailing_stop_stays_reached() -> None:
    rows = [(50, 52, 49, 51), (51, 51, 40, 41), (60, 61, 59, 60)]
    ledger, venue, panel = thin_account(rows, 40.0)
    volumes = np.asfortranarray([[40.0], [0.0], [400.0]])
    venue.panel = replace(panel, arrays={**panel.arrays, "volume": volumes})
    ledger.add_fills([Fill("1", "1", "ACME", Side.BUY, Decimal(9), Decimal(50), Decimal(0), panel.days[0])])
    venue.submit(
        OrderRequest(
            "t", "ACME", Side.SELL, Decimal(9), order_type=OrderType.TRAILING_STOP, trail_percent=Decimal(5)
        )
    )  # fmt: skip
    venue.advance(panel.days[1])
    known = ledger.order("t")
    assert known is not None
    assert (known.status, known.message.endswith("triggered")) == (OrderStatus.ACCEPTED, True)
    venue.advance(panel.days[2])
    assert [(f.quantity, f.price) for f in ledger.fills()[1:]] == [(Decimal(9), Decimal(60))]


def test_when_cash_cuts_the_rest_of_an_order_the_order_is_over() -> None:
    ledger, venue, panel = thin_account([(50, 52, 49, 51), (50, 52, 49, 51), (9000, 9100, 8900, 9000)], 40.0)
    venue.submit(OrderRequest("b", "ACME", Side.BUY, Decimal(10)))
    for row in (1, 2):
        venue.advance(panel.days[row])
    first, second = ledger.fills()
    assert (first.quantity, first.cut, second.cut) == (Decimal(4), False, True)
    assert ledger.pending() == []
    known = ledger.order("b")
    assert known is not None
    assert known.status is OrderStatus.FILLED
