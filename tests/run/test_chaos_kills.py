"""Real processes, really killed at each step of an evening at a venue behind a socket, and two started at once in their place."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
from small_market import PANEL, STRATEGIES, day
from sqlalchemy import event

from trading_core.execution.alpaca import AlpacaExecutor
from trading_core.execution.invariants import OwnBook, VenueBook, violations
from trading_core.execution.journal import Journal
from trading_core.execution.venue import ManualClock, PanelMarket, PaperVenue
from trading_core.execution.venue.local import local_session
from trading_core.execution.venue.server import VenueServer
from trading_core.ledger import AccountLockedError, Ledger
from trading_core.portfolio import Costs
from trading_core.run.cycle import run_cycle

PROCESSES = multiprocessing.get_context("forkserver")  # this one has a server's threads, and must not be forked
PROCESSES.set_forkserver_preload(["trading_core.execution.alpaca", "trading_core.run.venue_cycle", "small_market"])
FREE, ACCOUNT = Costs(rate=0), "kills"
NIGHTS = [day(f"2024-03-{number}") for number in (21, 22, 25, 26, 27)]
BUSY, NIGHT = day("2024-03-28"), pd.Timedelta(days=1)  # Maundy Thursday
BLOCKS = 3


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


def evening(ledger: Ledger, executor: AlpacaExecutor, as_of: Any) -> None:
    run_cycle(
        PANEL, STRATEGIES, ledger=ledger, account=ACCOUNT, cash=10_000, costs=FREE, source_kind="test", as_of=as_of,
        executor=lambda book, panel: executor,
    )  # fmt: skip


def work(url: str, path: str, kill_at: int, told: Any = None) -> None:
    """What a child does: an evening's work, with its own lock, ledger and connection; it exits with 3 when it is locked out."""
    steps = Steps(kill_at)
    try:
        ledger = Ledger.open(path, ACCOUNT)
    except AccountLockedError as locked:
        os._exit(locked.exit_code)
    steps.watch(ledger)
    evening(
        ledger, AlpacaExecutor("paper-key", "paper-secret", url=url, session=SteppingSocket(steps), timeout=20), BUSY
    )
    ledger.close()
    if told is not None:
        told.send(steps.names)


@dataclass
class Before:
    """Venue and ledger on the evening of the busy day, before anybody has worked."""

    venue: bytes
    ledger: Path

    def again(self, folder: Path) -> tuple[PaperVenue, Path]:
        folder.mkdir()
        shutil.copytree(self.ledger.parent, folder, dirs_exist_ok=True)
        return pickle.loads(self.venue), folder / self.ledger.name


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Before:
    path = tmp_path_factory.mktemp("before") / "ledger.db"
    clock = ManualClock(NIGHTS[0])
    venue = PaperVenue(PanelMarket(PANEL), cash=Decimal(10_000), clock=clock, costs=FREE, rate_limit=None)
    for night in NIGHTS:
        clock.advance(night + NIGHT)
        with Ledger.open(path, ACCOUNT) as ledger:
            evening(ledger, executor_of(venue), night)
    clock.advance(BUSY + NIGHT)
    return Before(pickle.dumps(venue), path)


def executor_of(venue: PaperVenue) -> AlpacaExecutor:
    return AlpacaExecutor("paper-key", "paper-secret", session=local_session(venue))


def run(target: Callable[..., None], *given: Any) -> Any:
    child = PROCESSES.Process(target=target, args=given)
    child.start()
    return child


def journal_steps(before: Before, folder: Path) -> list[int]:
    """The numbers of an undisturbed evening's steps: around each commit and each order, and after each answer to one.

    What was written before a commit is gone with it, and questions change nothing: a kill anywhere else is one of these.
    """
    venue, path = before.again(folder)
    ours, theirs = PROCESSES.Pipe(duplex=False)
    with VenueServer(venue) as server:
        child = run(work, server.url, str(path), 0, theirs)
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


def at_rest(venue: PaperVenue, path: Path) -> list[str]:
    """What is wrong when all markets have opened once more, and one more start has recovered."""
    assert isinstance(venue.clock, ManualClock)
    venue.clock.advance(day("2024-04-02"))
    with Ledger.open(path, ACCOUNT) as ledger:
        Journal(executor_of(venue), ledger).recover()
        assert len(OwnBook.of(ledger).orders) >= 4
        return violations(VenueBook.of(venue), OwnBook.of(ledger))


@pytest.mark.parametrize("block", range(BLOCKS))
def test_killed_at_every_journal_step_with_two_processes_in_its_place_nothing_is_lost_or_doubled(
    before: Before, tmp_path: Path, block: int
) -> None:
    steps = journal_steps(before, tmp_path / "count")
    assert len(steps) >= 25, steps
    for number in steps[block::BLOCKS]:
        venue, path = before.again(tmp_path / str(number))
        with VenueServer(venue) as server:
            killed = run(work, server.url, str(path), number)
            killed.join(60)
            assert killed.exitcode == -signal.SIGKILL, f"at step {number} it ended with {killed.exitcode}"
            pair = [run(work, server.url, str(path), 0) for _ in range(2)]
            for child in pair:
                child.join(60)
        codes = sorted(child.exitcode for child in pair)
        assert codes in ([0, 0], [0, 3]), f"after a kill at step {number} they ended with {codes}"
        assert at_rest(venue, path) == [], f"killed at step {number}"
