"""A small market and a venue on it, for the tests of the venue."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pandas as pd

from trading_core.data import HybridDataNormalizer
from trading_core.data.panel import Panel
from trading_core.execution.venue import Answer, ManualClock, PanelMarket, PaperVenue, route
from trading_core.sessions import sessions

FIRST, LAST = "2024-03-18", "2024-04-12"  # Good Friday is 29 March; New York is at UTC-4 throughout


def small_panel() -> Panel:
    "Two shares and a coin that rise by one a day; each day falls by 1.50 first and then rises to 2 above its open."
    every_day = pd.date_range(FIRST, LAST, tz="UTC")
    opens = pd.Series(range(50, 50 + len(every_day)), every_day, dtype=float)
    table = pd.DataFrame({"open": opens, "high": opens + 2, "low": opens - 1.5, "close": opens + 1, "volume": 3900.0})
    shares = table.loc[sessions("XNYS", FIRST, LAST)]
    return HybridDataNormalizer().normalize({"ACME": shares, "BOLT": shares / 4, "COIN/USD": table * 8})


PANEL = small_panel()
OPEN = {day: 50 + number for number, day in enumerate(pd.date_range(FIRST, LAST).strftime("%m-%d"))}


class Desk:
    "A venue, its clock, and a hand that sends requests to it."

    def __init__(self, start: str = "2024-03-25 15:00", cash: int = 100_000, **more: Any):
        self.clock = ManualClock(start)
        self.venue = PaperVenue(
            PanelMarket(PANEL), clock=self.clock, cash=Decimal(cash), **{"rate_limit": None, **more}
        )

    def ask(self, method: str, path: str, query: dict[str, str] | None = None, body: Any = None) -> Answer:
        return route(self.venue, method, path, query or {}, body)

    def get(self, path: str, **query: str) -> Any:
        answer = self.ask("GET", path, query)
        assert answer.status == 200, answer
        return answer.body

    def send(self, symbol: str = "ACME", side: str = "buy", qty: str = "10", **more: Any) -> Answer:
        force = "gtc" if "/" in symbol else "day"
        body = {"symbol": symbol, "side": side, "qty": qty, "type": "market", "time_in_force": force}
        return self.ask("POST", "/v2/orders", body={k: v for k, v in (body | more).items() if v is not None})

    def to(self, moment: str) -> list[tuple[str, str]]:
        "Let time pass; what was told, as names and client ids."
        self.clock.advance(moment)
        return [(event.name, event.order["client_order_id"]) for event in self.venue.step()]

    def order(self, client_id: str) -> Any:
        return self.get("/v2/orders:by_client_order_id", client_order_id=client_id)
