"""Bad days by the hundred, drawn from seeds: nothing is lost, nothing is doubled, and each mistake that we know of is noticed."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mutants import MUTANTS

from trading_core.execution.chaos import (
    ACCOUNT,
    QUIET,
    Life,
    Night,
    Outcome,
    Schedule,
    ShelfLedger,
    Trouble,
    World,
    chaos,
    play,
)
from trading_core.execution.journal import Journal
from trading_core.ledger import account_lock
from trading_core.model import OrderRequest, Side

SEEDS = int(os.environ.get("CHAOS_SEEDS", "500"))
BLOCKS = 4


@pytest.mark.parametrize("block", range(BLOCKS))
def test_five_hundred_bad_days_lose_and_double_nothing(block: int) -> None:
    part = SEEDS // BLOCKS
    report = chaos(range(block * part, (block + 1) * part))
    assert report.schedules == part
    assert report.ok, f"{report}\nThe whole story: trading chaos --seed N --verbose"
    c = report.counts
    for what in ("killed", "VenueUnreachable", "UnwritableLedgerError", "AccountLockedError", "faults"):
        assert c.get(what, 0) > 0, f"{what} never struck in {part} schedules: this proves little"
    assert c["fills"] > c["orders"] > part


@pytest.mark.parametrize("mistake", MUTANTS)
def test_a_journal_with_a_mistake_is_caught_within_500_seeds(mistake: str) -> None:
    caught = next((seed for seed in range(500) if not play(seed, **MUTANTS[mistake]).ok), None)
    assert caught is not None
    outcome = play(caught, **MUTANTS[mistake])
    assert outcome.violations == play(caught, **MUTANTS[mistake]).violations  # it replays
    assert play(caught).ok  # and it is the mistake that fails, not the seed


def test_a_seed_replays_step_by_step() -> None:
    for seed in (3, 59, 120, 668):
        first, again = play(seed), play(seed)
        assert first.log == again.log
        assert first.counts == again.counts


def test_schedules_on_two_cores_come_to_the_same() -> None:
    one, two = chaos(range(50)), chaos(range(50), jobs=2)
    assert (one.counts, one.failed) == (two.counts, two.failed)


def killed_at(seed: int, step: int) -> Outcome:
    nights = (Night(5.0, (QUIET,), ()), Night(5.0, (Trouble(kill_at=step), QUIET), (), quick=True))
    return play(replace(Schedule.of(seed), harsh=0.0, nights=nights))


@pytest.mark.parametrize("seed", [1, 6])
def test_an_evening_killed_at_each_of_its_steps_in_turn_is_finished_by_the_next_process(seed: int) -> None:
    step = 0
    while True:
        step += 1
        outcome = killed_at(seed, step)
        assert outcome.ok, (step, outcome.violations)
        if not outcome.counts.get("killed"):
            break
    assert step > 25


def test_the_schedules_contain_what_they_are_to_prove() -> None:
    """Stops that fire, orders in pieces, orders taken back, late refusals: all of it happens, and not only rarely."""
    worlds: list[World] = []

    class Kept(World):
        def __init__(self, schedule: Schedule):
            super().__init__(schedule)
            worlds.append(self)

    seen: Counter[str] = Counter()
    for seed in range(60):
        play(seed, world_of=Kept)
        ledger = ShelfLedger("sqlite://", account=ACCOUNT, write=True)
        orders = ledger.orders()
        seen.update(orders["reason"].tolist() + orders["status"].tolist())
        seen.update(["pieces"] * int((pd.Series([fill.client_id for fill in ledger.fills()]).value_counts() > 1).sum()))
        seen.update(fault.kind for fault in worlds[-1].faults.struck)
    for what in ("stop_loss", "resize", "signal", "filled", "canceled", "rejected", "expired", "pieces", "delay"):
        assert seen[what] >= 3, f"{what}: {seen[what]}"


def test_a_fee_whose_line_comes_twice_was_paid_once() -> None:
    """Found by seed 1171: a page of activities that repeats lines doubled the fee of a sale."""
    world = World(Schedule.of(1))
    world.faults.quiet()
    life = Life(world, QUIET, Journal, account_lock)
    for name, side in (("a-purchase", Side.BUY), ("a-sale", Side.SELL)):
        life.executor.submit(OrderRequest(name, "COIN/USD", side, Decimal(1), whole=side is Side.SELL))
        world.go(world.clock() + pd.Timedelta(hours=1))
    once, ask = life.executor.fills(), life.executor.line.ask

    def twice(what: str, method: str, path: str, *given: Any, **named: Any) -> Any:
        page = ask(what, method, path, *given, **named)
        return [*page, *page] if path.endswith("activities") else page

    life.executor.line.ask = twice  # type: ignore[method-assign]
    assert life.executor.fills() == once
    assert sum(fill.fee for fill in once) > 0
