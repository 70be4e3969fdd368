"""The same kills where the book is on a PostgreSQL server, and the lock of the account with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from kills import begun, journal_steps, killed_and_replaced, stall

from trading_core.ledger import tables
from trading_core.ledger.private import NoServerError, private_server

BLOCKS = 2
TABLES = [table.name for table in tables.metadata.sorted_tables]  # an order comes after what it refers to


@dataclass
class Before:
    """The venue on the evening of the busy day, and a server with the book of the days before."""

    place: str
    venue: bytes = b""

    def keep(self) -> None:
        """Keep a copy of every table."""
        self._do("CREATE SCHEMA kept", *(f"CREATE TABLE kept.{name} AS TABLE public.{name}" for name in TABLES))

    def again(self) -> str:
        """The place, with the book as it was."""
        back = [f"INSERT INTO public.{name} SELECT * FROM kept.{name}" for name in TABLES]
        self._do(f"TRUNCATE {', '.join(f'public.{name}' for name in TABLES)} CASCADE", *back)
        return self.place

    def _do(self, *commands: str) -> None:
        import psycopg

        with psycopg.connect(self.place) as line:
            for command in commands:
                line.execute(command)


@pytest.fixture(scope="module")
def before() -> Iterator[Before]:
    """A private server with a book in it, or a skip that says why there is none."""
    pytest.importorskip("psycopg", reason="no psycopg: the kills on PostgreSQL are skipped")
    try:
        with private_server() as url:
            made = Before(url)
            made.venue = begun(url)
            made.keep()
            yield made
    except NoServerError as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("block", range(BLOCKS))
def test_killed_at_every_journal_step_on_a_server_nothing_is_lost_or_doubled(before: Before, block: int) -> None:
    with stall(before.venue) as server:
        steps = journal_steps(server, before.venue, before.again())
        assert len(steps) >= 25, steps
        for number in steps[block::BLOCKS]:
            killed_and_replaced(server, before.venue, before.again(), number)
