"""A market of two shares and a coin over Easter, and strategies that say what a table says."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from trading_core.data import HybridDataNormalizer
from trading_core.data.panel import Panel
from trading_core.execution import PaperExecutor
from trading_core.ledger import Ledger
from trading_core.model import ExitRules, OrderRequest, OrderResult, OrderStatus
from trading_core.portfolio import Costs
from trading_core.run.account_day import CycleReport
from trading_core.run.cycle import run_cycle
from trading_core.strategies import Strategy

DAYS = pd.date_range("2024-03-18", "2024-04-14", tz="UTC")
COSTS = Costs(rate=0.001, slippage_bps=5)


def day(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def _bars(start: float, on: pd.DatetimeIndex, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = (start * np.exp(np.cumsum(rng.normal(0, 0.03, len(on))))).round(2)
    opens = (np.append(start, close[:-1]) * 1.001).round(2)
    high, low = np.maximum(opens, close), np.minimum(opens, close)
    return pd.DataFrame({"open": opens, "high": high, "low": low, "close": close, "volume": 1.0}, on)


def market() -> Panel:
    sessions = DAYS[(DAYS.day_of_week < 5) & (DAYS != "2024-03-29")]
    bars = {"ACME": _bars(50, sessions, 1), "BOLT": _bars(80, sessions, 2), "COIN/USD": _bars(400, DAYS, 3)}
    return HybridDataNormalizer().normalize(bars)


PANEL = market()


class Shares(Strategy):
    """Buys two shares on Thursdays, sells one of them on the next Wednesday, stops at 2 %."""

    exits = ExitRules(stop_loss=0.02, time_stop=6)

    def signals(self, panel: Panel) -> pd.DataFrame:
        table = pd.DataFrame(np.nan, panel.days, list(panel.symbols))
        table.loc[table.index.day_of_week == 3, ["ACME", "BOLT"]] = 0.6
        table.loc[table.index.day_of_week == 2, "BOLT"] = 0.0
        return table.where(panel.observed)


class Coins(Strategy):
    """In and out of a coin."""

    exits = ExitRules(take_profit=0.04)

    def signals(self, panel: Panel) -> pd.DataFrame:
        table = pd.DataFrame(np.nan, panel.days, list(panel.symbols))
        table.loc[table.index.day % 4 == 0, "COIN/USD"] = 1.0
        table.loc[table.index.day % 4 == 2, "COIN/USD"] = -1.0
        return table.where(panel.observed)


STRATEGIES = {"shares": (Shares(), 0.6), "coins": (Coins(), 0.3)}


def cycle(ledger: Ledger | str | Path, as_of: object, **options: object) -> CycleReport:
    """One cycle of the small account."""
    given: dict[str, object] = {
        "panel": PANEL, "strategies": STRATEGIES, "account": "small", "cash": 10_000, "costs": COSTS, "source_kind": "test",
    }  # fmt: skip
    return run_cycle(ledger=ledger, as_of=as_of, **(given | options))  # type: ignore[arg-type]


def book_of(ledger: Ledger) -> dict[str, object]:
    """All that must be the same whatever happened on the way."""
    orders = ledger.orders().drop(columns=["updated", "venue_id"]).to_dict("records")
    equity = ledger.equity_frame()
    return {
        "fills": ledger.fills(),
        "orders": [{k: v for k, v in row.items() if not pd.isna(v)} for row in orders],
        "equity": list(zip(equity.index, equity["equity"], equity["cash"], strict=True)),
        "cycles": ledger.cycles()[["job", "as_of", "status", "equity"]].to_dict("records"),
        "signals": ledger.signals().to_dict("records"),
        "cash": ledger.cash(),
    }


_MEMORY: dict[pd.Timestamp, Ledger] = {}


def undisturbed(until: pd.Timestamp, url: str | Path | None = None) -> Ledger:
    """A book in which a cycle ran on every day, open for writing."""
    for today in DAYS[until >= DAYS]:
        if today not in _MEMORY:
            earlier = _MEMORY.get(today - pd.Timedelta(days=1))
            _MEMORY[today] = earlier.scratch("small") if earlier else Ledger("sqlite://", account="small", write=True)
            cycle(_MEMORY[today], today)
    if url is None:
        return _MEMORY[until].scratch("small")
    with _MEMORY[until].reading() as ours, sqlite3.connect(url) as file:
        ours.connection.driver_connection.backup(file)  # type: ignore[union-attr]
    file.close()
    return Ledger(url, account="small", write=True)


class Killed(Exception):
    """The end of a process, as far as the program can tell: nothing in it may catch this.

    (An Exception, because SQLAlchemy throws a connection away after any other, and with it a database in memory.)
    """


class RemoteVenue(PaperExecutor):
    """A venue whose book of orders is not the ledger: it knows what it was sent, and nothing else."""

    name = "remote"

    def __init__(self, ledger: Ledger, panel: Panel, sent: Counter[str], fault: Callable[[str], None]):
        super().__init__(ledger, panel, COSTS)
        self.sent, self.fault = sent, fault

    def _known(self, client_id: str) -> OrderResult:
        return OrderResult(client_id, OrderStatus.ACCEPTED, f"remote-{client_id}")

    def submit(self, order: OrderRequest) -> OrderResult:
        self.fault(f"before {order.client_id}")
        self.sent[order.client_id] += 1
        self.fault(f"after {order.client_id}")
        return self._known(order.client_id)

    def order(self, client_id: str) -> OrderResult | None:
        self.fault(f"asked for {client_id}")
        known = self.ledger.order(client_id)
        if known is not None and known.status not in (OrderStatus.PLANNED, OrderStatus.UNKNOWN):
            return known
        return self._known(client_id) if client_id in self.sent else None
