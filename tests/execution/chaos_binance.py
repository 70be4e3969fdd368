"""Chaos schedules at an exchange: the same faults, the real ccxt, a Binance in this process and ids that are free again."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from requests import PreparedRequest, Response, Session

from trading_core.cli.chaos import real_evening
from trading_core.data import HybridDataNormalizer
from trading_core.execution.ccxt_executor import CcxtExecutor
from trading_core.execution.chaos import (
    ACCOUNT,
    QUIET,
    Life,
    Nights,
    Outcome,
    Schedule,
    ShelfLedger,
    Wear,
    World,
    shelf,
)
from trading_core.execution.invariants import OwnBook, VenueBook, stops_kept, violations
from trading_core.execution.journal import Journal
from trading_core.execution.owed import owed_closings
from trading_core.execution.stage import Restless, Stage, walk
from trading_core.execution.venue.binance import BinanceDesk, BinanceLine, SpotBook
from trading_core.execution.venue.book import Liquidity
from trading_core.execution.venue.faults import Call, Fault
from trading_core.execution.venue.line import Reply
from trading_core.execution.venue.local import raise_lost, response_of
from trading_core.ledger import account_lock
from trading_core.model import Asset
from trading_core.portfolio import track
from trading_core.run.venue_cycle import swept

ACTIVE = ("COIN/USD", "GOLD/USD")


@lru_cache(maxsize=8)
def coin_stage(number: int) -> Stage:
    """A restless market of two coins."""
    rng, days = np.random.default_rng(number), pd.date_range("2024-03-01", periods=60, tz="UTC")
    panel = HybridDataNormalizer().normalize({symbol: walk(rng, days, 0.04) for symbol in ACTIVE})
    return Stage(panel, {"coins": (Restless(number, "crypto"), 0.6)}, resize=0.05 if number % 2 else None)


class FatefulLine(BinanceLine):
    """A line on which orders that were taken come to grief as they do at the other venue."""

    def arrive(self, call: Call) -> Reply:
        if self.faults is not None and (call.method, call.path) == ("POST", "/api/v3/order"):
            self.venue.fate = self.faults.next_order(call.method, call.path)
        answer = super().arrive(call)
        self.venue.fate = ""
        return answer


class SteppingLine(Session):
    """The way to the exchange, on which a process may be killed before a request and after its answer."""

    def __init__(self, world: BinanceWorld, wear: Wear):
        super().__init__()
        self.world, self.wear = world, wear

    def request(self, method: str, url: str, **given: Any) -> Response:  # type: ignore[override]
        request, split = PreparedRequest(), urlsplit(url)
        request.method, request.url = method, url
        data = given.get("data") or b""
        body = data.decode() if isinstance(data, bytes) else data
        key = given["headers"].get("X-MBX-APIKEY", "")
        self.wear.step(f"{method} {split.path}")
        self.wear.requests += 1
        if self.wear.requests == self.wear.trouble.crowd_at:
            self.world.crowd()
        reply = self.world.line.carry(Call(method, split.path, {"raw": split.query or body, "key": key}, None))
        if isinstance(reply, Fault):
            raise_lost(request, reply, given.get("timeout"))
        assert isinstance(reply, Reply)
        self.wear.step(f"answer {reply.status}")
        return response_of(request, reply)


class BinanceWorld(World):
    """What survives a process, at an exchange."""

    def __init__(self, schedule: Schedule):
        super().__init__(schedule)
        self.venue = SpotBook(
            self.stage.market, cash=self.stage.cash, clock=self.faults.clock(self.clock), costs=self.stage.costs,
            liquidity=Liquidity(schedule.seed) if schedule.pieces else None, multiplier=1, rate_limit=None,
        )  # fmt: skip
        shelf().empty()
        ShelfLedger("sqlite://", account=ACCOUNT, write=True).bind("chaos", "binance", self.stage.cash)
        self.desk = BinanceDesk(self.venue)
        self.line = FatefulLine(self.desk, self.faults)
        self.wear = Wear(QUIET, self.log)

    def way(self, wear: Wear) -> dict[str, Any]:
        self.wear = wear
        return {}

    def exchange(self) -> CcxtExecutor:
        """ccxt's Binance, at this one."""
        dice = random.Random(f"rests {self.schedule.seed} {self.faults.calls}")
        made = CcxtExecutor(
            "binance", self.venue.key, self.venue.secret, symbols=ACTIVE, url="http://binance", enableRateLimit=False,
            sleep=lambda seconds: self.clock.advance(pd.Timedelta(seconds=seconds)),
            clock=lambda: float(self.clock().timestamp()), jitter=dice.random, session=SteppingLine(self, self.wear),
        )  # fmt: skip
        made.exchange.milliseconds = lambda: self.clock().value // 1_000_000
        return made

    def book(self) -> VenueBook:
        """The exchange's book, under the names that a client knows."""
        book, names = VenueBook.of(self.venue), self.desk.names
        orders = [
            replace(told, client_id=names[o.number]) for told, o in zip(book.orders, self.venue.orders, strict=True)
        ]
        ids: dict[str, str] = {}
        activities = []
        for place, item in enumerate(book.activities):
            if item["activity_type"] == "FILL":
                ids[item["id"]] = f"{item['symbol'].replace('/', '')}-{place + 1}"
                activities.append({**item, "id": ids[item["id"]]})
            else:
                fill = ids[item["group_id"]]
                activities.append({**item, "id": f"{fill}-fee", "group_id": fill})
        return replace(book, orders=orders, activities=activities)


def without_dust(activities: Iterable[Mapping[str, Any]], assets: Mapping[str, Asset]) -> list[Mapping[str, Any]]:
    """The log, with what a sale leaves below a lot sold as well."""
    held: dict[str, Decimal] = {}
    told = list[Mapping[str, Any]]()
    for item in activities:
        symbol, sale = item["symbol"], item.get("side") == "sell"
        quantity = Decimal(item["qty"])
        held[symbol] = held.get(symbol, Decimal(0)) + (-quantity if sale else quantity)
        dust = sale and held[symbol] < assets[symbol].lot
        told.append({**item, "qty": str(quantity + held[symbol])} if dust else item)
        held[symbol] = Decimal(0) if dust else held[symbol]
    return told


def coin_evening(life: Life, day: pd.Timestamp) -> None:
    """An evening's work, through the journal's own executor."""
    life.executor = life.journal.executor  # type: ignore[assignment]
    real_evening(life, day)


class CoinNights(Nights):
    """Evenings and days at the exchange, where a sale of all leaves less than a lot, which nobody can sell."""

    def last_look(self, life: Life) -> None:
        life.journal.recover()
        panel = self.world.stage.panel
        held = track(swept(life.ledger.fills(), panel.assets), panel, panel.last)
        self.owing = bool(owed_closings(life.ledger, held))

    def outcome(self) -> Outcome:
        world = self.world
        assert isinstance(world, BinanceWorld)
        theirs, ours = world.book(), OwnBook.of(ShelfLedger("sqlite://", account=ACCOUNT, write=True))
        world.counts.update(orders=len(theirs.orders), fills=len(theirs.activities), faults=len(world.faults.struck))
        wrong = (*self.wrong, *(what for what in violations(theirs, ours) if "stops_kept" not in what))
        swept_up = replace(theirs, activities=without_dust(theirs.activities, world.stage.panel.assets))
        wrong = (*wrong, *(f"stops_kept: {what}" for what in stops_kept(swept_up, ours)))
        return Outcome(world.schedule.seed, wrong, dict(world.counts), tuple(world.log))


def play_at_binance(seed: int) -> Outcome:
    """Play a schedule at the exchange."""
    schedule = Schedule.of(seed, coin_stage(seed % 8))
    world = BinanceWorld(schedule)

    def make(_: Any, ledger: Any, now: Any) -> Journal:
        return Journal(world.exchange(), ledger, now=now)

    player, days = CoinNights(world, make, coin_evening, account_lock), schedule.stage.panel.days
    for number, night in enumerate(schedule.nights):
        player.night(days[schedule.row + number], night)
    for day in days[schedule.row + len(schedule.nights) :]:
        player.rest(day)
        if not player.owing:
            break
    return player.outcome()
