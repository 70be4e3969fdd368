"""Real processes, really killed at each step of an evening at a venue behind a socket, and two started at once in their place."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from kills import begun, journal_steps, killed_and_replaced, stall

BLOCKS = 2


@dataclass
class Before:
    """Venue and ledger on the evening of the busy day, before anybody has worked."""

    venue: bytes
    ledger: Path

    def again(self, folder: Path) -> str:
        """A copy of the ledger."""
        folder.mkdir()
        shutil.copytree(self.ledger.parent, folder, dirs_exist_ok=True)
        return str(folder / self.ledger.name)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Before:
    path = tmp_path_factory.mktemp("before") / "ledger.db"
    return Before(begun(str(path)), path)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_killed_at_every_journal_step_with_two_processes_in_its_place_nothing_is_lost_or_doubled(
    before: Before, tmp_path: Path, block: int
) -> None:
    with stall(before.venue) as server:
        steps = journal_steps(server, before.venue, before.again(tmp_path / "count"))
        assert len(steps) >= 25, steps
        for number in steps[block::BLOCKS]:
            killed_and_replaced(server, before.venue, before.again(tmp_path / str(number)), number)


def test_killed_at_steps_of_an_hours_cycle_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    path = tmp_path / "before" / "ledger.db"
    path.parent.mkdir()
    before = Before(begun(str(path), "hours"), path)
    with stall(before.venue) as server:
        steps = journal_steps(server, before.venue, before.again(tmp_path / "count"), "hours")
        assert len(steps) >= 20, steps
        for number in steps[1::4]:
            killed_and_replaced(server, before.venue, before.again(tmp_path / str(number)), number, "hours")
