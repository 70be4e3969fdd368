"""Hours of coins through ccxt, against a Binance on this machine: fills are booked at their minute, bars are counted from there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd
import pytest
from hourly_market import Wants, hours
from test_cycle_on_binance import BinanceDesk

from trading_core.execution.journal import Journal
from trading_core.execution.monitor import Monitor
from trading_core.execution.stage import in_days
from trading_core.execution.venue.binance import BinanceServer
from trading_core.ledger import Ledger
from trading_core.model import ExitRules, Fill, Side
from trading_core.portfolio import Costs, RiskLimits
from trading_core.run.account_day import CycleReport
from trading_core.run.cycle import run_cycle
from trading_core.strategies import SmaCross, Strategy

COINS = hours().select(["C0/USD", "C1/USD"])


class Desk(BinanceDesk):
    "It decides at the end of each hour."

    def at(self, moment: pd.Timestamp, strategy: Strategy, **options: object) -> CycleReport:
        self.clock.advance(moment + pd.Timedelta("20s"))
        return run_cycle(
            COINS, {"coins": (strategy, 0.8)}, ledger=self.book, account="desk", as_of=moment, cash=10_000, job="scan",
            costs=Costs(rate=0), source_kind="test", executor=self.executor, **options,  # type: ignore[arg-type]
        )  # fmt: skip


@pytest.fixture(params=[0.0, 0.001], ids=["free", "fees"])
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    made = Desk(in_days(hours()).select(COINS.symbols), Costs(rate=request.param))
    with BinanceServer(made.venue) as made.server:
        yield made


def test_hour_after_hour_of_coins_at_binance_over_midnight(desk: Desk) -> None:
    class Crossing(SmaCross):
        exits = ExitRules(time_stop=4)

    moments = COINS.days[(COINS.days > "2024-07-02 12:30") & (COINS.days <= "2024-07-03 12:00")]
    reports = [desk.at(moment, Crossing(fast=2, slow=5)) for moment in moments]
    assert not any(report.unreachable for report in reports)
    assert desk.at(moments[-1], Crossing(fast=2, slow=5)).resumed
    fills = [fill for fill in desk.book.fills() if fill.reason != "fee"]
    assert len(fills) >= 6
    for fill in fills:
        assert fill.moment is not None
        assert fill.day == fill.moment.floor("1min") + pd.Timedelta("1min")
    assert sum(len([f for f in report.fills if f.reason != "fee"]) for report in reports) == len(fills)
    stopped = [fill for fill in fills if fill.reason == "time_stop"]
    assert stopped
    for sold in stopped:
        bought = max(fill.day for fill in fills if fill.symbol == sold.symbol and fill.day < sold.day)
        assert sold.day - bought == pd.Timedelta("4h")
    desk.agree()


def test_a_stop_between_two_bars_at_binance_is_sold_once_and_counts_among_the_orders_of_the_day(desk: Desk) -> None:
    rules = ExitRules(stop_loss=0.0001, take_profit=0.0001)
    wants, noon = Wants("C0/USD", exits=rules), pd.Timestamp("2024-07-02 12:00", tz="UTC")
    desk.at(noon, wants)
    desk.clock.advance(noon + pd.Timedelta("2min"))

    @contextmanager
    def books(write: bool) -> Iterator[Ledger]:
        yield desk.book

    def sales() -> list[Fill]:
        return [fill for fill in desk.book.fills() if fill.side is Side.SELL and fill.reason != "fee"]

    looks = 0
    while looks < 3:  # what a fee in coin leaves, less than a lot, is not sold again and again
        desk.clock.advance(desk.clock() + pd.Timedelta("3min"))
        Monitor(books, desk.executor(), {"coins": rules}, clock=desk.clock, within_days=True).look()
        looks += bool(sales())
        assert desk.clock() < noon + pd.Timedelta("55min")
    Journal(desk.executor(), desk.book, now=desk.clock, within_days=True).sync()
    (sale,) = sales()
    assert sale.reason in ("stop_loss", "take_profit")
    assert noon < sale.day < noon + pd.Timedelta("1h")
    report = desk.at(noon + pd.Timedelta("1h"), wants, limits=RiskLimits(max_orders_per_day=2))
    assert sale in report.fills
    assert [refusal.reason for refusal in report.plan.refusals] == ["max_orders_per_day"]
    desk.agree()
