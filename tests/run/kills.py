"""Real processes, really killed: an evening at a venue behind a socket, step by step, on whatever database keeps the book."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

import pandas as pd
import pytest
import requests
from intraday import mixed_panel
from small_market import PANEL, STRATEGIES, day
from sqlalchemy import event

from trading_core.data.panel import Panel
from trading_core.execution.alpaca import AlpacaExecutor
from trading_core.execution.invariants import OwnBook, VenueBook, violations
from trading_core.execution.journal import Journal
from trading_core.execution.stage import in_days
from trading_core.execution.venue import ManualClock, PanelMarket, PaperVenue
from trading_core.execution.venue.line import Line
from trading_core.execution.venue.local import local_session
from trading_core.execution.venue.server import VenueServer
from trading_core.ledger import AccountLockedError, Ledger
from trading_core.portfolio import Costs
from trading_core.run.cycle import run_cycle
from trading_core.strategies import Strategy

PROCESSES = multiprocessing.get_context("forkserver")  # this one has a server's threads, and must not be forked
PROCESSES.set_forkserver_preload(
    [
        "kills_warm",
        "alpaca.trading.client",
        "trading_core.ledger.server",
        "psycopg",
    ]
)
FREE, ACCOUNT = Costs(rate=0), "kills"


@dataclass(frozen=True)
class Scene:
    """A market, its cycles before the one that is killed, and when each of them runs."""

    panel: Panel
    strategies: dict[str, tuple[Strategy, float]]
    before: list[pd.Timestamp]
    busy: pd.Timestamp
    wait: pd.Timedelta  # from a bar's label until its cycle
    rest: pd.Timestamp  # when all markets have opened once more
    days: Panel  # the venue's prices


class Swaps(Strategy):
    """Each hour out of two coins and into two others; shares on the marks between."""

    def signals(self, panel: Panel) -> pd.DataFrame:
        table = pd.DataFrame(0.0, panel.days, list(panel.symbols))
        even = panel.days.hour % 2 == 0
        table.loc[even, ["C0/USD", "C1/USD", "S0"]] = 0.2
        table.loc[~even, ["C2/USD", "C3/USD", "S1"]] = 0.2
        return table.where(panel.observed)


@cache
def scene(name: str) -> Scene:
    """Easter in days, or an afternoon in hours."""
    if name == "days":
        nights = [day(f"2024-03-{number}") for number in (21, 22, 25, 26, 27)]
        busy, wait = day("2024-03-28"), pd.Timedelta(days=1)  # Maundy Thursday
        return Scene(PANEL, STRATEGIES, nights, busy, wait, day("2024-04-02"), PANEL)
    panel = mixed_panel("1h", "2024-07-01", "2024-07-05", stocks=2, coins=4, missing=0.0)
    moments = [pd.Timestamp(f"2024-07-02 {hour}", tz="UTC") for hour in ("15:00", "15:30", "16:00", "16:30", "17:00")]
    rest = pd.Timestamp("2024-07-02 19:00", tz="UTC")
    return Scene(panel, {"swaps": (Swaps(), 1.0)}, moments[:-1], moments[-1], pd.Timedelta("20s"), rest, in_days(panel))


class Steps:
    """Counts what a process does, and kills it before one of its steps."""

    def __init__(self, kill_at: int):
        self.kill_at, self.names = kill_at, list[str]()

    def step(self, what: str) -> None:
        self.names.append(what)
        if len(self.names) == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, ledger: Ledger) -> None:
        def execute(_: Any, __: Any, statement: str, *rest: Any) -> None:
            if statement.startswith(("INSERT", "UPDATE", "DELETE")):
                self.step(" ".join(statement.split(None, 3)[:3]).lower())

        event.listen(ledger.engine, "before_cursor_execute", execute)
        event.listen(ledger.engine, "commit", lambda _: self.step("commit"))


class SteppingSocket(requests.Session):
    """A session in which each request and each answer is a step."""

    def __init__(self, steps: Steps):
        super().__init__()
        self.steps, self.trust_env = steps, False

    def request(self, method: str, url: str, *given: Any, **named: Any) -> requests.Response:  # type: ignore[override]
        self.steps.step(f"{method} {url.partition('/v2')[2]}")
        answer = super().request(method, url, *given, **named)
        self.steps.step(f"answer to {method}")
        return answer


def evening(ledger: Ledger, executor: AlpacaExecutor, as_of: Any, on: str = "days") -> None:
    run_cycle(
        scene(on).panel, scene(on).strategies, ledger=ledger, account=ACCOUNT, cash=10_000, costs=FREE, source_kind="test", as_of=as_of,
        executor=lambda book, panel: executor,
    )  # fmt: skip


def work(url: str, place: str, kill_at: int, told: Any = None, on: str = "days") -> None:
    """What a child does: an evening's work, with its own lock, ledger and connection; it exits with 3 when it is locked out."""
    assert "kills_warm" in sys.modules, "the process that children are forked from did not load what they need"
    steps = Steps(kill_at)
    try:
        ledger = Ledger.open(place, ACCOUNT)
    except AccountLockedError as locked:
        os._exit(locked.exit_code)
    steps.watch(ledger)
    evening(
        ledger,
        AlpacaExecutor("paper-key", "paper-secret", url=url, session=SteppingSocket(steps), timeout=20),
        scene(on).busy,
        on,
    )
    ledger.close()
    if told is not None:
        told.send(steps.names)


def executor_of(venue: PaperVenue) -> AlpacaExecutor:
    return AlpacaExecutor("paper-key", "paper-secret", session=local_session(venue))


def begun(place: str, on: str = "days") -> bytes:
    """The venue on the evening of the busy day, before anybody has worked; the book of the days before is at `place`."""
    at = scene(on)
    clock = ManualClock(at.before[0])
    venue = PaperVenue(PanelMarket(at.days), cash=Decimal(10_000), clock=clock, costs=FREE, rate_limit=None)
    for night in at.before:
        clock.advance(night + at.wait)
        with Ledger.open(place, ACCOUNT) as ledger:
            evening(ledger, executor_of(venue), night, on)
    clock.advance(at.busy + at.wait)
    return pickle.dumps(venue)


class Stall(VenueServer):
    """A server that one venue after the other may use."""

    def let(self, venue: PaperVenue) -> None:
        with self.lock:
            self.venue, self.lock, self._line, self._told = venue, venue.lock, Line(venue), len(venue.events)


@contextmanager
def stall(venue: bytes) -> Iterator[Stall]:
    with Stall(pickle.loads(venue)) as server:
        yield server


def run(target: Callable[..., None], *given: Any) -> Any:
    child = PROCESSES.Process(target=target, args=given)
    with pytest.MonkeyPatch.context() as patch:  # the process that children are forked from finds this file, too
        here = os.path.dirname(__file__)
        patch.setenv("PYTHONPATH", os.pathsep.join((here, os.path.dirname(here))), prepend=os.pathsep)
        child.start()
    return child


def journal_steps(server: Stall, venue: bytes, place: str, on: str = "days") -> list[int]:
    """The numbers of an undisturbed evening's steps: around each commit and each order, and after each answer to one.

    What was written before a commit is gone with it, and questions change nothing: a kill anywhere else is one of these.
    """
    ours, theirs = PROCESSES.Pipe(duplex=False)
    server.let(pickle.loads(venue))
    child = run(work, server.url, place, 0, theirs, on)
    assert ours.poll(60), "the child did not finish"
    names = ours.recv()
    child.join(20)
    assert child.exitcode == 0
    around = ["", *names]  # what each step follows
    return [
        number
        for number, name in enumerate(names, 1)
        if name in ("commit", "answer to POST") or name.startswith("POST") or around[number - 1] == "commit"
    ]


def at_rest(venue: PaperVenue, place: str, on: str = "days") -> list[str]:
    """What is wrong when all markets have opened once more, and one more start has recovered."""
    assert isinstance(venue.clock, ManualClock)
    venue.clock.advance(scene(on).rest)
    with Ledger.open(place, ACCOUNT) as ledger:
        Journal(executor_of(venue), ledger, within_days=not scene(on).panel.daily).recover()
        assert len(OwnBook.of(ledger).orders) >= 4
        return violations(VenueBook.of(venue), OwnBook.of(ledger))


def killed_and_replaced(server: Stall, started: bytes, place: str, number: int, on: str = "days") -> None:
    """Kill an evening at a step, start two processes at once in its place, and see that nothing is lost or doubled."""
    venue = pickle.loads(started)
    server.let(venue)
    killed = run(work, server.url, place, number, None, on)
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL, f"at step {number} it ended with {killed.exitcode}"
    pair = [run(work, server.url, place, 0, None, on) for _ in range(2)]
    for child in pair:
        child.join(60)
    codes = sorted(child.exitcode for child in pair)
    assert codes in ([0, 0], [0, 3]), f"after a kill at step {number} they ended with {codes}"
    assert at_rest(venue, place, on) == [], f"killed at step {number}"
