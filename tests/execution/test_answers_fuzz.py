"""Whatever Alpaca's trading interface answers: amounts, orders and fills that can be true, or a VenueError; never another exception."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from sizes import size
from spoiled import faulty, names

from trading_core.execution.alpaca import AlpacaExecutor
from trading_core.execution.executor import VenueError
from trading_core.model import Fill, OrderRequest, OrderResult, OrderStatus, OrderType, Side

CASES = settings(
    max_examples=size(300, 10_000), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)  # fmt: skip
ORDER = {
    "id": "61e6", "client_order_id": "20240328-AAPL-b-1", "created_at": "2024-03-28T13:00:00Z", "submitted_at": "2024-03-28T13:00:00Z",
    "symbol": "AAPL", "asset_class": "us_equity", "qty": "2.5", "filled_qty": "1", "type": "limit", "order_type": "limit", "side": "buy",
    "time_in_force": "day", "limit_price": "170.5", "stop_price": None, "trail_percent": None, "status": "partially_filled", "replaced_by": None,
}  # fmt: skip
FILL = {
    "id": "20240328::a", "activity_type": "FILL", "transaction_time": "2024-03-28T14:30:00.5Z", "type": "fill", "symbol": "AAPL",
    "side": "buy", "qty": "1.5", "price": "170.25", "cum_qty": "1.5", "leaves_qty": "0", "order_id": "61e6",
}  # fmt: skip
FEE = {
    "id": "20240328::b",
    "activity_type": "CFEE",
    "date": "2024-03-28",
    "symbol": "BTC/USD",
    "qty": "-0.000006",
    "net_amount": "0",
}
POSITION = {
    "symbol": "BTCUSD",
    "asset_class": "crypto",
    "qty": "0.5",
    "qty_available": "0.25",
    "avg_entry_price": "70100.5",
    "side": "long",
}
ASSET = {
    "symbol": "BTC/USD",
    "class": "crypto",
    "tradable": True,
    "fractionable": True,
    "min_trade_increment": "0.0001",
    "price_increment": "1",
}
ANSWERS: dict[str, Any] = {
    "/account": {"id": "e6fe", "cash": "-23140.2", "equity": "103820.56", "currency": "USD", "status": "ACTIVE"},
    "/positions": [POSITION, POSITION | {"symbol": "AAPL", "asset_class": "us_equity", "qty": "5"}],
    "/positions/BTCUSD": POSITION,
    "/orders": [ORDER, ORDER | {"id": "61e7", "client_order_id": "20240328-MSFT-b-1", "symbol": "MSFT"}],
    "/orders:by_client_order_id": ORDER,
    "/orders/61e6": ORDER,
    "/account/activities": [FILL, FEE, FEE | {"id": "20240328::c", "activity_type": "FEE", "net_amount": "-0.43", "group_id": "20240328::a"}],
    "/assets/BTC%2FUSD": ASSET,
    "/clock": {"timestamp": "2024-03-28T10:00:00.5-04:00", "is_open": True},
    "data": {"trades": {"AAPL": {"t": "2024-03-28T14:00:00Z", "p": 170.5, "s": 100}, "MSFT": {"t": "2024-03-28T14:00:00Z", "p": 420, "s": 1}}},
}  # fmt: skip


class Told:
    "A line over which one answer is wrong."

    keys = ("k", "s", "")

    def __init__(self, answers: dict[str, Any]):
        self.answers = answers

    def ask(self, what: str, method: str, path: str, query: Any = None) -> Any:
        if method == "DELETE":
            return None
        found = self.answers["/orders/61e6" if path.startswith("/orders/") else path]
        return found if method != "POST" else self.answers["/orders:by_client_order_id"]

    def data(self, what: str, path: str, query: Any, version: str) -> Any:
        return self.answers["data"]

    def sleep(self, seconds: float) -> None:
        pass


def venue_of(answers: dict[str, Any]) -> AlpacaExecutor:
    venue = AlpacaExecutor("k", "s")
    venue.line = Told(answers)  # type: ignore[assignment]
    return venue


SALE = OrderRequest("20240328-AAPL-b-1", "BTC/USD", Side.SELL, Decimal("0.5"), whole=True, reason="", order_type=OrderType.LIMIT, limit_price=Decimal("70000"))  # fmt: skip
QUESTIONS: dict[str, tuple[str, Any]] = {
    "account": ("/account", lambda venue: venue.account()),
    "positions": ("/positions", lambda venue: venue.positions()),
    "open orders": ("/orders", lambda venue: venue.open_orders()),
    "an order": ("/orders:by_client_order_id", lambda venue: venue.order("20240328-AAPL-b-1")),
    "fills": ("/account/activities", lambda venue: venue.fills()),
    "fills after": ("/account/activities", lambda venue: venue.fills_after("")[0]),
    "whose fills": ("/orders/61e6", lambda venue: venue.fills()),
    "assets": ("/assets/BTC%2FUSD", lambda venue: venue.assets(["BTC/USD"])),
    "quotes": ("data", lambda venue: venue.quotes(["AAPL", "MSFT"])),
    "the time": ("/clock", lambda venue: venue.now()),
    "what can be sold": ("/positions/BTCUSD", lambda venue: venue.submit(SALE)),
    "a coin's tick": ("/assets/BTC%2FUSD", lambda venue: venue.submit(SALE)),
    "what became of it": ("/orders:by_client_order_id", lambda venue: venue.submit(SALE)),
    "a cancel": ("/orders:by_client_order_id", lambda venue: venue.cancel("20240328-AAPL-b-1")),
}


def possible(told: Any) -> None:
    "What is promised of everything that a venue is said to have told."
    if isinstance(told, dict):
        told = list(told.values())
    for one in told if isinstance(told, list) else [told]:
        for name, value in (vars(one) if hasattr(one, "__dict__") else {}).items():
            if isinstance(value, Decimal):
                assert value.is_finite(), (name, value)
            assert name not in ("symbol", "client_id", "venue_id", "currency") or isinstance(value, str)
            assert not isinstance(value, float)
            assert value is not pd.NaT
        if isinstance(one, Fill) and one.reason != "fee":
            assert one.quantity > 0
            assert one.price > 0
        if isinstance(one, OrderResult):
            assert isinstance(one.status, OrderStatus)


@CASES
@given(
    st.sampled_from(sorted(QUESTIONS)).flatmap(
        lambda name: st.tuples(st.just(name), faulty(ANSWERS[QUESTIONS[name][0]]))
    )
)
@example(("account", {"cash": "NaN", "equity": "1"}))
@example(("account", {"cash": "1", "equity": "Infinity"}))
@example(("positions", [POSITION | {"qty": "NaN"}]))
@example(("positions", [POSITION | {"symbol": 5, "asset_class": "us_equity"}]))
@example(("open orders", [{"client_order_id": "x"}]))
@example(("an order", ORDER | {"client_order_id": None}))
@example(("an order", ORDER | {"filled_qty": "NaN"}))
@example(("fills", [FILL | {"order_id": ["61e6"]}]))
@example(("fills", [FILL | {"qty": "-1.5"}]))
@example(("fills", [{"id": "x"}]))
@example(("fills", [FEE | {"group_id": ["x"], "net_amount": "-0.43"}]))
@example(("quotes", {"trades": {"AAPL": {"p": -1, "t": "2024-03-28T14:00:00Z"}}}))
@example(("quotes", {"trades": {"AAPL": {"p": 1, "t": None}}}))
@example(("the time", {"timestamp": "NaT"}))
@example(("a coin's tick", ASSET | {"price_increment": "0"}))
@example(("a coin's tick", ASSET | {"price_increment": "none"}))
@example(("what can be sold", POSITION | {"qty_available": "NaN"}))
def test_any_answer_of_a_venue_can_be_true_or_is_a_venue_error(asked: tuple[str, Any]) -> None:
    name, wrong = asked
    path, ask = QUESTIONS[name]
    venue = venue_of(ANSWERS | {path: json.loads(json.dumps(wrong))})
    try:
        told = ask(venue)
    except VenueError as refused:
        names(refused, "alpaca")
        return
    possible(told)


@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_the_answers_of_these_tests_are_right_when_nothing_is_wrong(name: str) -> None:
    told = QUESTIONS[name][1](venue_of(ANSWERS))
    possible(told)
    assert told is not None
    if isinstance(told, OrderResult):
        assert told.status is OrderStatus.PARTIALLY_FILLED
