"""Bad days on which a monitor watches and a person approves, refuses or is late, between the cycles of `trading run`."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import partial

import pandas as pd
import pytest

from trading_core.config import MonitorSettings
from trading_core.execution.approvals import ApprovalRules, Approvals, Gate
from trading_core.execution.chaos import (
    ACCOUNT,
    QUIET,
    Life,
    Night,
    Nights,
    Outcome,
    Schedule,
    ShelfLedger,
    Trouble,
    World,
    over,
)
from trading_core.execution.executor import ExecutorBase
from trading_core.execution.journal import Journal
from trading_core.execution.monitor import Monitor
from trading_core.execution.stage import small_stage
from trading_core.ledger import Ledger, account_lock
from trading_core.model import ExitRules
from trading_core.run.account_day import Terms
from trading_core.run.venue_cycle import venue_cycle

CLOSE_STOPS = ExitRules(stop_loss=0.004, take_profit=0.015, trailing_stop=0.01)  # so that they fire within a day


def moment(world: World) -> datetime:
    return world.clock().floor("us").to_pydatetime()  # type: ignore[no-any-return]


def strengths(world: World) -> dict[str, pd.DataFrame]:
    """The stage's signals, some of them said with little confidence."""
    dice = random.Random(f"people {world.schedule.seed}")
    return {
        name: table.where(table <= 0, table.map(lambda x: x if x <= 0 or x != x else dice.choice((0.6, 0.7, 1.0))))
        for name, table in world.stage.signals.items()
    }


class People(World):
    """A world in which some orders wait for a person."""

    def __init__(self, schedule: Schedule):
        super().__init__(schedule)
        self.said = strengths(self)
        self.monitor: Monitor | None = None
        self.seen: Counter[str] = Counter()

    def gate(self, ledger: Ledger, venue: ExecutorBase, prices: dict[str, Decimal]) -> Gate:
        rules = ApprovalRules("hybrid", 0.8, 0.5, 12.0)
        return Gate(ledger, rules, prices, now=lambda: moment(self))


def hybrid_evening(life: Life, day: pd.Timestamp) -> None:
    """An evening as `trading run` has it, with questions."""
    world = life.world
    assert isinstance(world, People)
    stage = world.stage
    terms = Terms(stage.strategies, "chaos", stage.limits, stage.resize, world.said)
    report = venue_cycle(
        life.ledger, life.executor, stage.panel, day, terms, source_kind="chaos", gate=world.gate, now=world.clock
    )  # type: ignore[arg-type]
    if report.unreachable:
        raise TimeoutError(report.unreachable)


def answer(life: Life, dice: random.Random) -> None:
    """A person looks at what waits, says yes to most of it and no to some, as `trading approve` does."""
    world = life.world
    assert isinstance(world, People)
    life.journal.settle()
    life.journal.sync()
    people = Approvals(life.ledger, now=lambda: moment(world))
    people.lapse()
    for item in people.waiting():
        if dice.random() < 0.7:
            people.accept(item, life.journal)
            world.seen["said yes"] += 1
        else:
            people.refuse(item, "not today")
            world.seen["said no"] += 1


def watch(life: Life) -> None:
    """The monitor looks once; it lives on in memory unless it is killed, and then a new one begins with what the ledger has."""
    world = life.world
    assert isinstance(world, People)

    @contextmanager
    def books(write: bool) -> Iterator[Ledger]:
        yield life.ledger

    rules = dict.fromkeys(world.stage.strategies, CLOSE_STOPS)
    monitor = Monitor(
        books, life.executor, rules, clock=world.clock, settings=MonitorSettings(stale_seconds=7200.0),
        overnight={"shares": world.schedule.seed % 2 == 0}, within_days=not world.stage.panel.daily,
    )  # fmt: skip
    for _ in range(2):  # two polls of one process, half a minute apart
        look = monitor.look()
        world.seen.update(f"fired {said.status}" for said in look.results.values())
        world.seen.update(["trouble"] if look.trouble else [])
        world.clock.advance(pd.Timedelta(seconds=30))


class PeopleNights(Nights):
    """Evenings, and days on which a person and a monitor are about."""

    def night(self, day: pd.Timestamp, night: Night) -> None:
        super().night(day, replace(night, visits=()))
        world, dice = self.world, random.Random(f"day {self.world.schedule.seed} {day}")
        begin, part = (
            over(world.stage.panel, day),
            1 if world.stage.panel.daily else 1 / 24,
        )  # an hour is lived as a day
        looks, answers = dice.randint(2, 4), dice.randint(1, 2)  # most looks fall into the hours of the stock market
        hours = sorted(
            [dice.uniform(13.0, 20.5) for _ in range(looks)] + [dice.uniform(0.6, 12.0) for _ in range(answers)]
        )
        for hour in (hour for hour in hours if begin + pd.Timedelta(hours=hour) * part > world.clock()):
            world.go(begin + pd.Timedelta(hours=hour) * part)
            kill = dice.randint(1, 40) if dice.random() < 0.35 else None
            trouble = Trouble(kill, dice.randint(1, 10) if dice.random() < 0.1 else None)
            work = (
                watch
                if dice.random() < (0.9 if hour > 12 else 0.3)
                else partial(answer, dice=random.Random(f"{dice.random()}"))
            )
            if not self.live(work, trouble) and dice.random() < 0.7:
                self.live(work)  # started again at once


def hourly(seed: int) -> Schedule:
    """The nights of four seeds, each the end of an hour."""
    schedule = Schedule.of(seed, small_stage(seed % 16, "1h"))
    return replace(schedule, nights=tuple(n for part in range(4) for n in Schedule.of(10_000 * part + seed).nights))


def play_with_people(seed: int, interval: str = "1d") -> tuple[Outcome, Counter[str]]:
    """Play a schedule in which people and a monitor act between the cycles."""
    schedule = Schedule.of(seed) if interval == "1d" else hourly(seed)
    world = People(schedule)
    player, days = PeopleNights(world, Journal, hybrid_evening, account_lock), schedule.stage.panel.days
    for number, night in enumerate(schedule.nights):
        player.night(days[schedule.row + number], night)
    row = schedule.row + len(schedule.nights)
    while row < len(days):
        player.rest(days[row])
        with_answer = partial(answer, dice=random.Random(0))
        player.live(with_answer, QUIET)  # nobody is left without an answer
        world.go(world.clock() + pd.Timedelta(hours=72))
        player.live(player.last_look)
        if not player.owing:
            break
        row = player.following(row)
    outcome = player.outcome()
    events = ShelfLedger("sqlite://", account=ACCOUNT, write=True).events()
    world.seen.update(events["kind"].tolist())
    return outcome, world.seen


@pytest.mark.parametrize("block", range(3))
def test_sixty_bad_days_with_a_monitor_and_a_person_lose_and_double_nothing(block: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(7000 + 20 * block, 7020 + 20 * block):
        outcome, told = play_with_people(seed)
        assert outcome.ok, (seed, outcome.violations)
        seen += told + Counter(outcome.counts)
    for what in ("asked", "said yes", "said no", "alarm", "killed", "faults"):
        assert seen[what] > 0, (what, seen)


@pytest.mark.parametrize("block", range(2))
def test_hours_with_a_monitor_and_a_person_lose_and_double_nothing(block: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(7000 + 20 * block, 7020 + 20 * block):
        outcome, told = play_with_people(seed, "1h")
        assert outcome.ok, (seed, outcome.violations)
        seen += told + Counter(outcome.counts)
    for what in ("asked", "said yes", "said no", "alarm", "killed", "faults"):
        assert seen[what] > 0, (what, seen)


def test_a_seed_with_people_replays_step_by_step() -> None:
    assert play_with_people(7003)[0].log == play_with_people(7003)[0].log
