"""Statements that are worded once, and steps on the line that is open already."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import bindparam, event, insert, select

from trading_core.ledger import AccountLockedError, Ledger, UnwritableLedgerError, account_lock
from trading_core.ledger import tables as t
from trading_core.ledger.lock import lock_path
from trading_core.ledger.ready import LONGEST, Query, Write, driver_of
from trading_core.model import OrderRequest, OrderResult, OrderStatus, Side

DAY = pd.Timestamp("2024-03-01", tz="UTC")


def opened(folder: Path) -> Ledger:
    ledger = Ledger(folder / "ledger.db", account="paper", write=True)
    ledger.bind("csv", "paper", Decimal(1000))
    return ledger


def test_the_rows_are_those_of_sqlalchemy_in_value_and_type(tmp_path: Path) -> None:
    """Each table with all its types, read in both ways."""
    with opened(tmp_path) as ledger:
        order = OrderRequest("o-1", "ACME", Side.BUY, Decimal("1.5"), "signal", "reversal")
        ledger.store_plan(
            "daily", DAY, orders=[order], plan={"targets": {}}, signals={"s": {"ACME": 0.5}}, equity=Decimal(1000),
            cash=Decimal("999.5"),
        )  # fmt: skip
        ledger.set_status(OrderResult("o-1", OrderStatus.FILLED, "v-1"), DAY)
        ledger.note("sent", "o-1", at="now", times=3)
        for table in (t.accounts, t.cycles, t.signals, t.intents, t.orders, t.events):
            mine = select(table).where(table.c.account == bindparam("me"))
            with ledger.reading() as look:
                quick, slow = Query(mine).rows(look, {"me": "paper"}), look.execute(mine, {"me": "paper"}).all()
            assert quick == slow
            assert len(slow) == 1
            assert [type(value) for value in quick[0]] == [type(value) for value in slow[0]]
            assert dict(quick[0]._mapping) == dict(slow[0]._mapping)


def test_a_listener_is_told_of_every_statement_and_every_commit(tmp_path: Path) -> None:
    """Tests and tools that count statements at SQLAlchemy must miss none of them."""
    with opened(tmp_path) as ledger:
        told: list[str] = []
        event.listen(ledger.engine, "before_cursor_execute", lambda c, cursor, sql, *rest: told.append(sql.split()[0]))
        event.listen(ledger.engine, "commit", lambda connection: told.append("COMMIT"))
        ledger.note("start", "venue")
        ledger.order("o-1")
        assert told == ["BEGIN", "INSERT", "COMMIT", "SELECT"]


def test_a_commit_that_fails_leaves_no_step_open(tmp_path: Path) -> None:
    """SQLite keeps a transaction whose commit failed; the next step must not meet it."""
    with opened(tmp_path) as ledger:

        def write_what_cannot_stay() -> None:
            row = {"account": "nobody", "day": DAY, "equity": Decimal(1), "cash": Decimal(1)}
            with ledger.writing() as step:
                step.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
                Write(insert(t.equity)).put(step, row)

        with pytest.raises(UnwritableLedgerError, match="FOREIGN KEY"):
            write_what_cannot_stay()
        ledger.note("start", "venue")
        assert ledger.events()["kind"].tolist() == ["start"]
        with ledger.reading() as look:
            assert look.execute(select(t.equity)).all() == []
            assert not driver_of(look).in_transaction


def test_a_step_that_is_interrupted_is_undone_and_the_next_one_is_whole(tmp_path: Path) -> None:
    """With a second connection, which sees what is on the disk."""
    with opened(tmp_path) as ledger, Ledger(tmp_path / "ledger.db", account="paper") as reader:

        def be_interrupted() -> None:
            with ledger.writing():
                ledger.note("lost", "o-1")
                assert len(ledger.events()) == 1
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            be_interrupted()
        assert reader.events().empty
        assert ledger.events().empty
        ledger.note("kept", "o-1")
        assert reader.last_event("kept", "o-1") == {}
        assert reader.last_event("lost", "o-1") is None


def test_an_engine_that_was_disposed_of_gives_a_fresh_line(tmp_path: Path) -> None:
    """After `dispose()` neither a look nor a step uses the line of before."""
    with opened(tmp_path) as ledger:
        ledger.note("a", "")
        made: list[int] = []
        ledger.engine.dispose()
        event.listen(ledger.engine, "connect", lambda raw, record: made.append(1))
        ledger.note("b", "")
        assert ledger.events()["kind"].tolist() == ["a", "b"]
        assert made == [1]


@pytest.mark.parametrize("many", [0, 1, 2, LONGEST, LONGEST + 1, 3000])
def test_lists_of_any_length_are_asked_for(tmp_path: Path, many: int) -> None:
    """Including none, and more than are kept ready."""
    with opened(tmp_path) as ledger:
        ledger.add_intents([OrderRequest("o-1", "ACME", Side.BUY, Decimal(1), "", "")], "daily", DAY)
        asked = Query(select(t.intents.c.client_id).where(t.intents.c.client_id.in_(bindparam("ids", expanding=True))))
        with ledger.reading() as look:
            rows = asked.rows(look, {"ids": [f"o-{n}" for n in range(1, many + 1)]})
        assert [row.client_id for row in rows] == ["o-1"] * (many > 0)


def test_a_lock_that_is_held_is_refused_at_once_and_a_look_is_waited_for(tmp_path: Path) -> None:
    """Whoever only asks who is inside has the file for a moment; that must not turn a run away."""
    with account_lock(tmp_path, "paper"):
        began = time.perf_counter()
        with pytest.raises(AccountLockedError):
            account_lock(tmp_path, "paper").acquire()
        assert time.perf_counter() - began < 0.02 * 4
    looking = os.open(lock_path(tmp_path, "paper"), os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    threading.Timer(0.03, os.close, [looking]).start()
    with account_lock(tmp_path, "paper") as lock:
        assert lock.held
