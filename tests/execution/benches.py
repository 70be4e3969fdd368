"""Benches: an executor on an empty account at a venue whose clock, line and market are in our hands."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from decimal import ROUND_DOWN, Decimal
from typing import Any

import numpy as np
import pandas as pd

from trading_core.data import HybridDataNormalizer
from trading_core.data.panel import Panel
from trading_core.execution.alpaca import AlpacaExecutor
from trading_core.execution.ccxt_executor import CcxtExecutor
from trading_core.execution.executor import ExecutorBase
from trading_core.execution.venue import ManualClock, PanelMarket, PaperVenue
from trading_core.execution.venue.binance import BinanceServer, SpotBook
from trading_core.execution.venue.book import Liquidity
from trading_core.execution.venue.faults import Fault, Faults
from trading_core.execution.venue.server import VenueServer
from trading_core.model import Fill, OrderRequest, OrderType
from trading_core.portfolio import Costs
from trading_core.sessions import sessions

DAYS = pd.date_range("2024-03-25", "2024-04-19", tz="UTC")
SESSIONS = pd.DatetimeIndex(sessions("XNYS", DAYS[0], DAYS[-1]))


def bars(price: float, on: pd.DatetimeIndex, step: float = 1.0) -> pd.DataFrame:
    opens = price + step * np.arange(len(on), dtype=float)
    frame = {"open": opens, "high": opens + 2, "low": opens - 2, "close": opens + 0.5, "volume": 1000.0}
    return pd.DataFrame(frame, on)


def small_panel() -> Panel:
    return HybridDataNormalizer().normalize(
        {"ACME": bars(50, SESSIONS), "COIN/USD": bars(400, DAYS), "PENNY": bars(20, SESSIONS, 0.01)}
    )


PANEL = small_panel()


class OnDemand(Faults):
    """A line that breaks once, in the way that was asked for."""

    def __init__(self) -> None:
        super().__init__(0, {})
        self.wanted: list[tuple[str, str]] = []

    def next(self, method: str, path: str) -> Fault | None:
        super().next(method, path)
        if not self.wanted or not method.startswith(self.wanted[0][1]):
            return None
        kind, _ = self.wanted.pop(0)
        return Fault(kind, self.calls, arrives=kind != "drop_request")


class Half(Liquidity):
    """A thin market: half of an order fills, the rest a minute later."""

    def piece(self, order: Any, wanted: Decimal) -> Decimal:
        step = Decimal(1) if wanted == wanted.to_integral_value() else Decimal("1e-6")
        return wanted if order.executions else (wanted / 2).quantize(step, ROUND_DOWN)


class VenueBench:
    """Everything that does not depend on how the executor reaches the venue."""

    symbols = ("ACME", "COIN/USD")

    def __init__(self, start: str = "2024-03-25 21:00") -> None:
        self.clock, self.faults = ManualClock(start), OnDemand()
        self.venue = PaperVenue(PanelMarket(PANEL), clock=self.clock, key="paper-key", secret="paper-secret")

    tries = 3  # how often a question is asked before it counts as lost

    def sleep(self, seconds: float) -> None:
        self.clock.advance(pd.Timedelta(seconds=seconds))

    def seconds(self) -> float:
        return self.clock().timestamp()

    def executor(self) -> ExecutorBase:
        raise NotImplementedError

    def next_day(self) -> list[Fill]:
        known = {fill.venue_id for fill in self.executor().fills()}
        after = SESSIONS[SESSIONS.searchsorted(self.clock().normalize(), side="right")]
        self.clock.advance(after + pd.Timedelta(hours=21))
        self.venue.step()
        return [fill for fill in self.executor().fills() if fill.venue_id not in known]

    def lose(self, what: str, method: str = "") -> None:
        times = 1 if method else self.tries
        self.faults.wanted += [({"request": "drop_request", "answer": "drop_answer"}[what], method)] * times

    def fill_part(self) -> None:
        self.venue.liquidity = Half()
        after = SESSIONS[SESSIONS.searchsorted(self.clock().normalize(), side="right")]
        self.clock.advance(after + pd.Timedelta(hours=13, minutes=30, seconds=1))
        self.venue.step()

    def waiting(self, order: OrderRequest) -> OrderRequest:
        return order


class LocalBench(VenueBench):
    """Alpaca's protocol in this process: real client, real requests, no socket."""

    def executor(self) -> AlpacaExecutor:
        from trading_core.execution.venue.local import local_session

        return AlpacaExecutor(
            "paper-key",
            "paper-secret",
            url="http://venue",
            session=local_session(self.venue, self.faults),
            sleep=self.sleep,
            clock=self.seconds,
        )


def ids(fills: Iterable[Fill]) -> list[str]:
    return [fill.venue_id for fill in fills]


class SocketBench(VenueBench):
    """Alpaca's protocol over a real socket."""

    def __init__(self, servers: ExitStack) -> None:
        super().__init__()
        self.server = servers.enter_context(VenueServer(self.venue, self.faults))

    def executor(self) -> AlpacaExecutor:
        line = {"sleep": self.sleep, "clock": self.seconds, "timeout": 1.0}
        return AlpacaExecutor("paper-key", "paper-secret", url=self.server.url, **line)


def falling_panel() -> Panel:
    """Prices that fall by a tenth a day: an order at 5 % below today's price waits, and fills tomorrow."""
    closes = 400 * 0.9 ** np.arange(len(DAYS))
    frame = {"open": closes, "high": closes * 1.01, "low": closes * 0.99, "close": closes * 0.995, "volume": 1000.0}
    return HybridDataNormalizer().normalize(
        {"COIN/USD": pd.DataFrame(frame, DAYS), "GOLD/USD": pd.DataFrame(frame, DAYS) / 4}
    )


FALLING = falling_panel()


class BinanceBench(VenueBench):
    """Binance's protocol over a real socket; its market never closes, so orders wait by their limit."""

    symbols = ("COIN/USD", "GOLD/USD")

    def __init__(self, servers: ExitStack) -> None:
        self.clock, self.faults = ManualClock("2024-03-26 10:00"), OnDemand()
        self.venue = SpotBook(
            PanelMarket(FALLING),
            clock=self.clock,
            costs=Costs(rate=0.001),
            multiplier=1,
            rate_limit=None,
            key="paper-key",
            secret="paper-secret",
        )
        self.server = servers.enter_context(BinanceServer(self.venue, self.faults))
        self.executor()  # which sets its clock

    def executor(self) -> CcxtExecutor:
        made = CcxtExecutor(
            "binance",
            "paper-key",
            "paper-secret",
            url=self.server.url,
            symbols=self.symbols,
            sleep=self.sleep,
            clock=self.seconds,
            timeout=2.0,
            rateLimit=1,
        )
        wanted, self.faults.wanted = self.faults.wanted, []
        made.reachable()
        made.exchange.load_time_difference()
        self.faults.wanted = wanted
        return made

    def next_day(self) -> list[Fill]:
        known = {fill.venue_id for fill in self.executor().fills()}
        self.clock.advance(self.clock().normalize() + pd.Timedelta(hours=34))
        self.venue.step()
        return [fill for fill in self.executor().fills() if fill.venue_id not in known]

    def fill_part(self) -> None:
        self.venue.liquidity = Half(pause=3_600_000_000_000)
        self.clock.advance(self.clock().normalize() + pd.Timedelta(hours=24, minutes=1))
        self.venue.step()

    def waiting(self, order: OrderRequest) -> OrderRequest:
        price = self.venue.market.last(order.symbol, self.clock().value)
        if price is None:
            return order
        limit = (price * Decimal("0.95")).quantize(Decimal("0.01"))
        return replace(order, order_type=OrderType.LIMIT, limit_price=limit)
