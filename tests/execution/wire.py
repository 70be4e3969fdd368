"""A small market, venues on it and patience: what the tests of faults, server and streams share."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pandas as pd

from trading_core.data import HybridDataNormalizer
from trading_core.execution.venue import ManualClock, PanelMarket, PaperVenue

KEYS = ("paper-key", "paper-secret")
HEADERS = {"APCA-API-KEY-ID": KEYS[0], "APCA-API-SECRET-KEY": KEYS[1]}
DAYS = pd.date_range("2024-03-20", "2024-04-03", tz="UTC")
OPENS = pd.Series(range(50, 65), DAYS, dtype=float)
BARS = pd.DataFrame({"open": OPENS, "high": OPENS + 2, "low": OPENS - 1.5, "close": OPENS + 1, "volume": 39_000.0})
SHARES = BARS[BARS.index.day_of_week < 5].drop(pd.Timestamp("2024-03-29", tz="UTC"))
MARKET = PanelMarket(HybridDataNormalizer().normalize({"ACME": SHARES, "COIN/USD": BARS * 8}))


def fresh(start: str = "2024-03-28 15:00", **more: Any) -> PaperVenue:
    "A venue whose clock is in our hands, in the middle of a session unless said otherwise."
    return PaperVenue(MARKET, clock=ManualClock(start), **{"rate_limit": None, "cash": Decimal(100_000), **more})


def order(client_id: str, **more: str) -> dict[str, str]:
    "The body of an order."
    plain = {"symbol": "ACME", "qty": "10", "side": "buy", "type": "market", "time_in_force": "day"}
    return {**plain, "client_order_id": client_id, **more}


def wait_for(true: Callable[[], Any], seconds: float = 10.0) -> bool:
    "Whether something becomes true in time."
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.005)
    return bool(true())
