"""The daily cycle leaves the same book on both databases, and goes on in a book that an older version began."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

from trading_core.ledger import Ledger

sys.path.insert(0, str(Path(__file__).parents[1] / "run"))
from small_market import DAYS, book_of, cycle

FIRST = (
    Path(__file__).parent / "first_schema" / "ledger.sql"
)  # the same market from its fourth day to its twenty-fourth


def days_of(url: str | Path, first: int, last: int) -> None:
    for day in DAYS[first:last]:
        cycle(url, day)


def test_the_cycles_of_three_weeks_leave_the_same_book_on_both_databases(tmp_path: Path, schema: str) -> None:
    for url in (str(tmp_path / "ledger.db"), schema):
        days_of(url, 3, 24)
    mine, theirs = (Ledger(url, account="small") for url in (tmp_path / "ledger.db", schema))
    assert book_of(mine) == book_of(theirs)
    assert len(mine.fills()) == 17
    assert (mine.realised(), mine.positions(), mine.cash()) == (theirs.realised(), theirs.positions(), theirs.cash())


def test_a_book_that_the_first_version_began_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "old.db") as raw:
        raw.executescript(FIRST.read_text())
    raw.close()
    days_of(tmp_path / "old.db", 24, 28)
    days_of(tmp_path / "new.db", 3, 28)
    old, new = (book_of(Ledger(tmp_path / name, account="small")) for name in ("old.db", "new.db"))
    assert old["fills"] == new["fills"]
    assert old == new
