"""Whatever is sent to the venue in whatever order: nothing is sold twice, nothing is overfilled, and the books add up."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

import pytest
from venue_bench import Desk

from trading_core.execution.venue import Liquidity
from trading_core.execution.venue.account import cash_from
from trading_core.execution.venue.orders import OPEN
from trading_core.execution.venue.state import family
from trading_core.model import AssetClass, Side
from trading_core.portfolio import Costs


def wish(dice: Random, desk: Desk) -> dict[str, Any]:
    "Something that one might send, right or wrong."
    symbol = dice.choice(["ACME", "BOLT", "COIN/USD"])
    price = float(desk.venue.market.last(symbol, desk.venue.at) or 50)

    def near(low: float, high: float) -> str:
        return f"{price * dice.uniform(low, high):.2f}"

    asked: dict[str, Any] = {
        "symbol": symbol,
        "side": dice.choice(["buy", "buy", "sell"]),
        "qty": str(dice.choice([1, 2, 7, 10, 0.5, 33])),
    }
    asked["type"] = kind = dice.choice(["market", "market", "limit", "stop", "stop_limit", "trailing_stop"])
    asked["time_in_force"] = dice.choice(
        ["gtc", "ioc", "fok", "gtc"] if "/" in symbol else ["day", "day", "gtc", "ioc", "fok", "opg", "cls"]
    )
    if "limit" in kind:
        asked["limit_price"] = near(0.97, 1.03)
    if kind.startswith("stop"):
        asked["stop_price"] = near(0.97, 1.03)
    if kind == "trailing_stop":
        asked[dice.choice(["trail_percent", "trail_price"])] = str(dice.choice([1, 2]))
    if kind == "market" and dice.random() < 0.2:
        asked |= {"qty": None, "notional": str(dice.choice([50, 123.45]))}
    if dice.random() < 0.3:
        asked["order_class"] = dice.choice(["bracket", "oco", "oto"])
        asked["take_profit"] = {"limit_price": near(1.0, 1.05)} if dice.random() < 0.8 else None
        asked["stop_loss"] = {"stop_price": near(0.95, 1.0)} if dice.random() < 0.8 else None
    return asked


def act(dice: Random, desk: Desk) -> None:
    "One call, or some time."
    what = dice.random()
    open_orders = list(desk.venue.working.values())
    if what < 0.45:
        desk.send(**wish(dice, desk))
    elif what < 0.75:
        desk.clock.advance(f"{dice.choice([1, 7, 60, 300, 1500])}min")
        desk.venue.step()
    elif what < 0.85 and open_orders:
        desk.ask("DELETE", f"/v2/orders/{dice.choice(open_orders).id}")
    elif what < 0.95 and open_orders:
        order = dice.choice(open_orders)
        price = float(desk.venue.market.last(order.symbol, desk.venue.at) or 50)
        body = {"limit_price": f"{price * dice.uniform(0.97, 1.03):.2f}"} if order.work.limit else {}
        desk.ask("PATCH", f"/v2/orders/{order.id}", body=body | {"qty": str(dice.choice([1, 3, 12]))})
    elif desk.venue.held:
        symbol = dice.choice(sorted(desk.venue.held)).replace("/", "")
        desk.ask("DELETE", f"/v2/positions/{symbol}", dice.choice([{}, {"percentage": "50"}, {"qty": "1"}]))


def check(desk: Desk) -> None:
    "What must hold at every moment."
    venue = desk.venue
    for order in venue.orders:
        assert order.quantity is None or Decimal(0) <= order.filled <= order.quantity, order
        assert (order.status in OPEN) == (venue.working.get(order.number) is order), order
        parts = [Decimal(a["qty"]) for a in venue.activities if a.get("order_id") == order.id]
        assert sum(parts, Decimal(0)) == order.filled, order
    for order in (o for o in venue.orders if o.kind in ("oco", "bracket") and len(family(o)) > 1):
        done = sum((one.filled for one in family(order) if one.side is order.side), Decimal(0))
        head = order.parent or order
        whole = head.filled if head.kind == "bracket" else max(one.quantity or Decimal(0) for one in family(order))
        assert done <= whole, (order, done, whole)
    for symbol, holding in venue.held.items():
        assert holding.quantity > 0
        assert venue.free(symbol) >= 0, (symbol, holding, venue.free(symbol))
    sales = {o.symbol for o in venue.working.values() if o.side is Side.SELL and o.status != "held" and o.left > 0}
    assert sales <= set(venue.held), sales
    cash = cash_from(venue.activities, venue.opened_with)
    assert (cash[-1] if cash else venue.opened_with) == venue.cash


@pytest.mark.parametrize("seed", range(30))
def test_the_books_add_up_whatever_is_sent(seed: int) -> None:
    dice = Random(seed)
    costs = Costs(rate=0.001, slippage_bps=2, by_class={AssetClass.CRYPTO: {"rate": 0.0025}}) if seed % 3 else None
    desk = Desk("2024-03-20 14:00", liquidity=Liquidity(seed) if seed % 2 else None, costs=costs)
    for _ in range(80):
        if dice.random() < 0.05:
            desk.venue.fate = dice.choice(["late_reject", "partial_then_cancel"])
        act(dice, desk)
        check(desk)
    desk.ask("DELETE", "/v2/orders")
    assert not desk.venue.working
    desk.to("2024-04-12 19:00")
    check(desk)
