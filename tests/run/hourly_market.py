"""Two shares and two coins in hours, a venue that trades them, and a strategy that buys back whatever was sold."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from intraday import mixed_panel
from test_cycle_on_a_venue import FREE, Desk

from trading_core.data.panel import Panel
from trading_core.execution.journal import Journal
from trading_core.execution.monitor import Monitor
from trading_core.execution.stage import in_days
from trading_core.model import ExitRules
from trading_core.run.account_day import CycleReport
from trading_core.run.cycle import run_cycle
from trading_core.strategies import Strategy


@lru_cache(maxsize=4)
def hours(seed: int = 0, first: str = "2024-07-01", last: str = "2024-07-10") -> Panel:
    "Over a half-day and a holiday, without a missing bar."
    return mixed_panel("1h", first, last, seed=seed, stocks=2, coins=2, missing=0.0)


class Wants(Strategy):
    "Wants some symbols at every bar that they have."

    def __init__(self, *symbols: str, exits: ExitRules | None = None):
        self.symbols, self._exits = symbols, exits or ExitRules()

    @property
    def exits(self) -> ExitRules:
        return self._exits

    def signals(self, panel: Panel) -> pd.DataFrame:
        table = pd.DataFrame(np.nan, panel.days, list(panel.symbols))
        table.loc[:, list(self.symbols)] = 0.3
        return table.where(panel.observed)


class HourlyDesk(Desk):
    "An account at an embedded venue that decides at the end of each hour."

    def __init__(self, panel: Panel | None = None, **options: Any):
        self.hours = panel or hours()
        super().__init__(in_days(self.hours), **options)
        self.strategies = {"wants": (Wants("C0/USD", exits=ExitRules(take_profit=0.0001, stop_loss=0.0001)), 1.0)}

    def at(self, moment: str | pd.Timestamp, seconds: float = 20.0, **options: Any) -> CycleReport:
        "The cycle of the bar that ends at a moment, some seconds later."
        bar = pd.Timestamp(moment, tz="UTC") if isinstance(moment, str) else moment
        self.clock.advance(bar + pd.Timedelta(seconds=seconds))
        given = {
            "executor": self.executor,
            "costs": FREE,
            "cash": 10_000,
            "source_kind": "test",
            "job": "scan",
        } | options
        return run_cycle(self.hours, self.strategies, ledger=self.book, account="desk", as_of=bar, **given)

    def settle(self, minutes: float = 2.0) -> None:
        "Some minutes later everything that was sent has filled, and is booked."
        self.clock.advance(self.clock() + pd.Timedelta(minutes=minutes))
        journal = self.journal()
        journal.settle()
        journal.sync()

    def journal(self) -> Journal:
        return Journal(self.executor(), self.book, now=self.clock, within_days=True)

    def monitor(self) -> Monitor:
        from contextlib import contextmanager

        @contextmanager
        def books(write: bool) -> Any:
            yield self.book

        rules = {name: strategy.exits for name, (strategy, _) in self.strategies.items()}
        return Monitor(books, self.executor(), rules, clock=self.clock, within_days=True)
