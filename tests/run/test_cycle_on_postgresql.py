"""The venue's cycle, its journal and its doctor on a PostgreSQL server: the same book as on SQLite."""

from __future__ import annotations

from decimal import Decimal

import pytest
from small_market import DAYS, day
from test_cycle_on_a_venue import Desk, tale

from trading_core.execution import Journal, MismatchError
from trading_core.execution.doctor import Doctor
from trading_core.ledger import Ledger
from trading_core.model import Side


def test_a_month_at_the_venue_a_hand_that_trades_and_the_doctor_on_postgresql(server: str) -> None:
    lite, desk = Desk(), Desk(book=Ledger(server, account="desk", write=True))
    lite.nights(day("2024-04-03"))
    desk.nights(day("2024-04-03"))
    assert tale(desk.book) == tale(lite.book)
    assert desk.book.equity().tolist() == lite.book.equity().tolist()
    desk.by_hand("COIN/USD", Side.BUY, "1")
    desk.venue.cash += Decimal("1.25")
    with pytest.raises(MismatchError):
        desk.cycle(day("2024-04-04"))
    done = Doctor(Journal(desk.executor(), desk.book)).repair("interest, and a purchase by telephone")
    assert {step.what for step in done} == {"adopted", "adjusted"}
    desk.nights(DAYS[-1], since=day("2024-04-04"), foreign="adopt")
    assert desk.book.cash() == desk.executor().account().cash
    dry = desk.cycle(DAYS[-1], dry_run=True)
    assert dry.resumed
    desk.book.close()
