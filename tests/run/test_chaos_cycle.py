"""The cycle of `trading run` itself, on bad days: decided once, sent once, and every stop ends in a sale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest
from typer.testing import CliRunner

from trading_core.cli import app
from trading_core.cli.chaos import real_evening
from trading_core.execution import chaos as chaos_module
from trading_core.execution.chaos import Life, Schedule, World, chaos, evening, play
from trading_core.execution.stage import small_stage
from trading_core.execution.venue.faults import ORDER_FAULTS, Wheel
from trading_core.run import venue_cycle


@pytest.mark.parametrize("block", range(2))
def test_the_cycle_of_trading_run_loses_and_doubles_nothing_on_a_hundred_bad_days(block: int) -> None:
    report = chaos(range(5000 + 50 * block, 5050 + 50 * block), cycle=real_evening)
    assert report.ok, str(report)
    assert report.counts["killed"] > 5
    assert report.counts["TimeoutError"] > 5  # evenings on which the venue could not be reached


def hourly(seed: int) -> Schedule:
    "A schedule on hours, of the nights of four seeds, each of them the end of a bar."
    schedule = Schedule.of(seed, small_stage(seed % 16, "1h"))
    return replace(schedule, nights=tuple(n for part in range(4) for n in Schedule.of(10_000 * part + seed).nights))


@pytest.mark.parametrize(("cycle", "seeds"), [(evening, range(40)), (real_evening, range(100, 125))])
def test_hour_after_hour_of_bad_days_loses_and_doubles_nothing(
    cycle: Callable[[Life, pd.Timestamp], None], seeds: range
) -> None:
    played = {seed: play(hourly(seed), cycle=cycle) for seed in seeds}
    assert {seed: outcome.violations for seed, outcome in played.items() if not outcome.ok} == {}
    counts = sum((Counter(outcome.counts) for outcome in played.values()), Counter[str]())
    assert counts["killed"] > 20
    assert counts["faults"] > 200
    assert counts["orders"] > 60
    hours = {line.split()[2] for outcome in played.values() for line in outcome.log if line.startswith("-- ")}
    assert len(hours) > 100  # all around the clock


class RejectingWorld(World):
    """A venue that takes every other order, and rejects it later."""

    def __init__(self, schedule: Schedule):
        super().__init__(schedule)
        self.faults._order_wheel = Wheel(ORDER_FAULTS, {"late_reject": 0.5})


def stops_lost(cycle: Callable[[Life, pd.Timestamp], None]) -> int:
    calm = (replace(Schedule.of(seed), harsh=0.0) for seed in range(30))
    played = [play(schedule, world_of=RejectingWorld, cycle=cycle) for schedule in calm]
    return sum("stops_kept" in what for outcome in played for what in outcome.violations)


@pytest.mark.parametrize("cycle", [evening, real_evening])
def test_a_stop_whose_sale_the_venue_rejects_later_is_sold_on_another_evening(
    cycle: Callable[[Life, pd.Timestamp], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by seed 668: the next day the price was back above the stop, and the position would have stayed for ever."""
    assert stops_lost(cycle) == 0
    for module in (chaos_module, venue_cycle):
        monkeypatch.setattr(module, "owed_closings", lambda ledger, holdings: {})
    assert stops_lost(cycle) > 0


def test_the_command_ends_with_a_sentence_and_replays_a_seed() -> None:
    said = CliRunner().invoke(app, ["chaos", "--seeds", "10", "--start", "40"])
    assert "Nothing was lost, and nothing was doubled." in said.output
    first, again = (CliRunner().invoke(app, ["chaos", "--seed", "59", "--verbose"]).output for _ in range(2))
    assert first == again
    assert "POST /v2/orders" in first


def test_the_command_ends_with_1_and_names_the_seeds_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chaos_module, "violations", lambda theirs, ours: ["cash is gone"])
    said = CliRunner().invoke(app, ["chaos", "--seeds", "3"], standalone_mode=False)
    assert said.return_value == 1
    assert "These seeds fail: 0, 1, 2." in said.output
    assert "trading chaos --seed 0 --verbose" in said.output
