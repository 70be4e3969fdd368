"""The same cycle through ccxt, against a Binance on this machine: coins only, and the book agrees with the exchange."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pandas as pd
import pytest
from small_market import DAYS, PANEL, STRATEGIES, day

from trading_core.data.panel import Panel
from trading_core.execution import MismatchError
from trading_core.execution.ccxt_executor import CcxtExecutor
from trading_core.execution.venue import ManualClock, PanelMarket
from trading_core.execution.venue.binance import BinanceServer, SpotBook
from trading_core.ledger import Ledger
from trading_core.model import OrderRequest, Side
from trading_core.portfolio import Costs
from trading_core.run.account_day import CycleReport
from trading_core.run.cycle import run_cycle

COINS = PANEL.select(["COIN/USD"])


class BinanceDesk:
    """An account at a Binance behind a socket, and our book of it."""

    server: BinanceServer

    def __init__(self, days: Panel, costs: Costs) -> None:
        self.symbols, self.clock = days.symbols, ManualClock(days.first)
        self.venue = SpotBook(
            PanelMarket(days), cash=Decimal(10_000), clock=self.clock, costs=costs, multiplier=1, rate_limit=None,
            key="paper-key", secret="paper-secret",
        )  # fmt: skip
        self.book = Ledger("sqlite://", account="desk", write=True)

    def executor(self, *_: object) -> CcxtExecutor:
        made = CcxtExecutor(
            "binance", "paper-key", "paper-secret", url=self.server.url, symbols=self.symbols, rateLimit=1,
            sleep=lambda seconds: None, clock=lambda: self.clock().timestamp(), timeout=5.0,
        )  # fmt: skip
        made.exchange.load_time_difference()
        return made

    def agree(self) -> None:
        there = self.executor()
        assert abs(self.book.cash() - there.account().cash) < Decimal("0.01")
        held = {s: p.quantity for s, p in there.positions().items()}
        assert {s: p.quantity for s, p in self.book.positions().items()} == held
        sent = [order.client_id for order in self.venue.orders]
        assert sorted(sent) == sorted(set(sent))


class Desk(BinanceDesk):
    """It decides at the end of each day."""

    def cycle(self, as_of: pd.Timestamp, **options: object) -> CycleReport:
        self.clock.advance(as_of + pd.Timedelta("24h10min"))
        return run_cycle(
            COINS, {"coins": STRATEGIES["coins"]}, ledger=self.book, account="desk", as_of=as_of, cash=10_000,
            costs=Costs(rate=0), source_kind="test", executor=self.executor, **options,  # type: ignore[arg-type]
        )  # fmt: skip


@pytest.fixture(params=[0.0, 0.001], ids=["free", "fees"])
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    made = Desk(COINS, Costs(rate=request.param))
    with BinanceServer(made.venue) as made.server:
        yield made


def test_a_fortnight_of_coins_at_binance(desk: Desk) -> None:
    nights = DAYS[day("2024-04-01") >= DAYS]
    reports = [desk.cycle(today) for today in nights]
    assert not any(report.unreachable for report in reports)
    assert len(desk.book.fills()) >= 5
    assert {fill.strategy for fill in desk.book.fills()} == {"coins"}
    desk.agree()


def test_a_trade_by_hand_at_binance_is_noticed(desk: Desk) -> None:
    desk.cycle(DAYS[0])
    desk.executor().submit(OrderRequest("by-hand", "COIN/USD", Side.BUY, Decimal(1)))
    with pytest.raises(MismatchError, match="buy 1 COIN/USD"):
        desk.cycle(DAYS[1])
    desk.cycle(DAYS[1], foreign="adopt")
    assert {fill.strategy for fill in desk.book.fills()} == {"manual"}
    assert desk.book.orders()["job"].tolist() == ["foreign"]
