"""A book that an older version kept is read, brought up to date, and says the same as before."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, create_engine, inspect

from trading_core.ledger import Ledger, SchemaError, fifo_pnl, open_lots
from trading_core.ledger import tables as t
from trading_core.ledger.place import Place, server_engine
from trading_core.ledger.trials import TrialBook

FIRST = (
    Path(__file__).parent / "first_schema"
)  # a book that the first version really kept, with what that version said of it
EXPECTED = json.loads((FIRST / "expected.json").read_text())


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as raw:
        raw.executescript((FIRST / "ledger.sql").read_text())
    raw.close()
    return path


def told(ledger: Ledger) -> dict[str, Any]:
    "What the first version was asked, asked again."
    lots, still, equity = fifo_pnl(ledger.fills()), open_lots(ledger.fills()), ledger.equity_frame()
    held = {
        s: [str(p.quantity), str(p.entry_price), p.strategy, str(p.entry_day.date())]
        for s, p in ledger.positions().items()
    }  # type: ignore[union-attr]
    return {
        "cash": str(ledger.cash()), "positions": held, "fills": [f.venue_id for f in ledger.fills()],
        "realised": str(sum(lots["pnl"])), "lots": len(lots),
        "open": [[r.symbol, str(r.quantity), str(r.paid)] for r in still.itertuples()],
        "equity": {str(day.date()): [str(a), str(b)] for day, a, b in zip(equity.index, equity["equity"], equity["cash"], strict=True)},
        "pending": [o.client_id for o in ledger.pending()], "unsent": [o.client_id for o in ledger.unsent()],
        "cycles": len(ledger.cycles()), "signals": len(ledger.signals()),
        "orders": {r.client_id: r.status for r in ledger.orders().itertuples()},
    }  # fmt: skip


def test_a_reader_sees_an_old_book_as_it_was_and_leaves_the_file_alone(old: Path) -> None:
    content = old.read_bytes()
    with Ledger(old, account="small") as ledger:
        assert told(ledger) == EXPECTED
        assert (ledger.halted(), ledger.cursor("fills"), len(ledger.events())) == (None, "", 0)
        assert len(ledger.scratch().fills()) == 17
    assert old.read_bytes() == content
    assert sorted(path.name for path in old.parent.iterdir()) == ["ledger.db"]


def test_a_writer_brings_an_old_book_up_to_date_and_puts_a_copy_aside(old: Path) -> None:
    content = sqlite3.connect(old).execute("SELECT count(*), sum(number) FROM fills").fetchone()
    with Ledger.open(old, "small") as ledger:
        assert told(ledger) == EXPECTED
        assert str(sum(ledger.realised().values())) == EXPECTED["realised"]
        assert [[r.symbol, str(r.quantity), str(r.paid)] for r in ledger.lots().itertuples()] == EXPECTED["open"]
        assert ledger.rebuild() == []
        ledger.note("resumed", "small")
        ledger.start_run("r9", "daily")
    with sqlite3.connect(old.with_name("ledger-schema-0001.backup.db")) as copy:
        assert copy.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
        assert copy.execute("SELECT count(*), sum(number) FROM fills").fetchone() == content
    with sqlite3.connect(old) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [(t.SCHEMA,)]
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []


def test_an_upgrade_that_fails_halfway_leaves_the_old_book(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trading_core.ledger import positions

    monkeypatch.setattr(positions, "recount", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Ledger.open(old, "small")
    monkeypatch.undo()
    with sqlite3.connect(old) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
        assert not raw.execute("SELECT name FROM sqlite_master WHERE name = 'lots'").fetchall()
    with Ledger.open(old, "small") as ledger:  # and the lock is free again
        assert told(ledger) == EXPECTED
    assert (old.parent / "ledger-schema-0001-2.backup.db").exists()  # the first copy was not overwritten


def test_a_killed_upgrade_is_done_again_by_the_next_run(old: Path) -> None:
    code = (
        "import os, sys\nfrom trading_core.ledger import Ledger\n"
        "import trading_core.ledger.positions as p\np.recount = lambda *_: os.kill(os.getpid(), 9)\n"
        "Ledger.open(sys.argv[1], 'small')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(old)], timeout=60, check=False, capture_output=True)
    assert done.returncode == -9, done.stderr
    with Ledger.open(old, "small") as ledger:
        assert told(ledger) == EXPECTED


def test_a_reader_that_has_an_old_book_open_sees_what_is_written_after_the_upgrade(old: Path) -> None:
    reader = Ledger(old, account="small")
    assert len(reader.fills()) == 17
    with Ledger.open(old, "small") as writer:
        writer.note("resumed", "small")
        assert len(reader.events()) == 1


def shape(engine: Engine) -> dict[str, Any]:
    look = inspect(engine)
    return {
        name: (
            {c["name"]: (str(c["type"]), c["nullable"], getattr(c["type"], "collation", None)) for c in look.get_columns(name)},
            sorted(look.get_pk_constraint(name)["constrained_columns"]),
            sorted((tuple(k["constrained_columns"]), k["referred_table"]) for k in look.get_foreign_keys(name)),
            sorted((i["name"] or "", tuple(i["column_names"])) for i in look.get_indexes(name) if "duplicates_constraint" not in i),
            sorted(tuple(u["column_names"]) for u in look.get_unique_constraints(name)),
        )
        for name in look.get_table_names()
        if name != "ledger_locks"
    }  # fmt: skip


def test_the_first_revision_is_the_schema_that_the_first_version_made(old: Path) -> None:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    from trading_core.ledger.migrations import r0001

    engine = create_engine("sqlite://")
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        r0001.upgrade()
    theirs = shape(create_engine(f"sqlite:///{old}"))
    theirs.pop("alembic_version")
    assert shape(engine) == theirs


def test_an_upgraded_book_has_the_tables_of_a_new_one(old: Path, tmp_path: Path) -> None:
    Ledger.open(old, "small").close()
    Ledger.open(tmp_path / "new.db", "small").close()
    assert shape(create_engine(f"sqlite:///{old}")) == shape(create_engine(f"sqlite:///{tmp_path / 'new.db'}"))


@pytest.fixture
def first_on_server(schema: str) -> str:
    "A ledger of the first schema on PostgreSQL."
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    from trading_core.ledger.migrations import r0001

    engine = server_engine(Place.of(schema).server)  # type: ignore[arg-type]
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        r0001.upgrade()
        for statement in (
            "CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)",
            "INSERT INTO alembic_version VALUES ('0001')",
            "INSERT INTO accounts VALUES ('small', 'csv', 'paper', 10000, '2024-03-01')",
            "INSERT INTO fills VALUES (1, 'small', 'p-1', 'o-1', 'ACME', 'buy', 3, 10.5, 0.1, '2024-03-04', 'signal', '', false, '2024-03-05')",
        ):
            connection.exec_driver_sql(statement)
    engine.dispose()
    return schema


def test_a_book_on_a_server_is_brought_up_to_date_by_a_writer_and_a_reader_says_what_to_do(
    first_on_server: str, server: str
) -> None:
    import psycopg

    with pytest.raises(SchemaError, match=r"has schema '0001'.*trading run"):
        Ledger(first_on_server, account="small")
    with Ledger.open(first_on_server, "small") as ledger:
        assert str(ledger.positions()["ACME"].quantity) == "3"
        ledger.note("resumed", "small")
        upgraded = shape(ledger.engine)
    with psycopg.connect(server, autocommit=True) as line:
        line.execute("CREATE SCHEMA fresh")
    with Ledger.open(f"{server}?options=-csearch_path%3Dfresh", "small") as new:
        assert shape(new.engine) == upgraded
    assert Ledger(first_on_server, account="small").events()["kind"].tolist() == ["resumed"]


def test_a_book_on_a_server_takes_the_end_of_a_bar_once_it_is_up_to_date(first_on_server: str) -> None:
    ends = [
        pd.Timestamp(text, tz="UTC") for text in ("2024-03-04", "2024-03-04 14:30", "2024-03-04 15:30", "2024-03-05")
    ]
    with Ledger.open(first_on_server, "small") as ledger:
        for end in reversed(ends):
            ledger.set_equity(end, Decimal(100), Decimal(100))
        assert list(ledger.equity().index) == ends
        assert list(ledger.equity_since(ends[2]).index) == ends[2:]
        assert ledger.evening(ends[1]) is not None
        assert [fill.day for fill in ledger.fills()] == [ends[0]]
        assert ledger.fills(ends[1]) == []
    assert Ledger(first_on_server, account="small").last_day() == ends[-1]


def test_alembic_is_not_loaded_unless_it_is_needed(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom trading_core.ledger import Ledger\nLedger.open(sys.argv[1], 'demo').close()\n"
        "print([name for name in ('alembic', 'psycopg') if name in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.db")], timeout=60, check=True, capture_output=True, text=True
    )
    assert said.stdout.strip() == "[]"


# The third schema -----------------------------------------------------------------------------------------------------

SECOND_ROWS = (
    "INSERT INTO accounts VALUES ('demo', 'csv', 'paper', '10000.00000000', '2024-03-01 00:10:00')",
    "INSERT INTO trials (number, account, tried, strategy, params, metrics, panel_sha256) VALUES "
    """(1, 'demo', '2024-03-02 09:00:00', 'SmaCross', '{"fast": 5}', '{"sharpe": 0.8}', 'ab')""",
    "INSERT INTO trials (number, account, tried, strategy, params, metrics, panel_sha256) VALUES "
    """(2, 'demo', '2024-03-02 09:01:00', 'SmaCross', '{"fast": 5}', '{"sharpe": null}', 'ab')""",
)


def second(place: str) -> None:
    "A book as the second version left it, with two tries."
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    from trading_core.ledger.migrations import r0001, r0002

    where = Place.of(place)
    engine = server_engine(where.server) if where.server else create_engine(f"sqlite:///{where.path}")
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        r0001.upgrade()
        r0002.upgrade()
        for statement in (
            "CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)",
            "INSERT INTO alembic_version VALUES ('0002')",
            *SECOND_ROWS,
        ):
            connection.exec_driver_sql(statement)
    engine.dispose()


def try_of(number: int) -> dict[str, Any]:
    import datetime as dt

    return {
        "digest": f"d{number}", "family": "m:C", "params": {"n": number}, "panel": "p", "first_day": None, "last_day": None, "sharpe": 0.1,
        "count": 1, "days": 9, "annual_days": 252, "engine": "fast", "source": "sweep", "tried": dt.datetime.now(dt.UTC),
    }  # fmt: skip


def test_tries_of_the_second_schema_survive_the_third_on_both_databases(place: str) -> None:
    second(place)
    with Ledger.open(place, "demo") as ledger:
        tried = ledger.trials()
        assert tried["family"].tolist() == ["SmaCross", "SmaCross"]
        assert tried["params"].tolist() == [{"fast": 5}, {"fast": 5}]
        assert round(tried["sharpe"].iloc[0] * 252**0.5, 9) == 0.8
        assert tried["sharpe"].isna().tolist() == [False, True]
    with TrialBook(place, write=True) as book:
        assert book.add([try_of(1), try_of(2), try_of(1)]) == 2
    assert len(Ledger(place, account="demo").trials()) == 4


def test_an_upgraded_book_of_tries_has_the_shape_of_a_new_one_on_both_databases(place: str, tmp_path: Path) -> None:
    second(place)
    Ledger.open(place, "demo").close()
    where = Place.of(place)
    engine = server_engine(where.server) if where.server else create_engine(f"sqlite:///{where.path}")
    Ledger.open(tmp_path / "new.db", "demo").close()
    upgraded, new = shape(engine)["trials"], shape(create_engine(f"sqlite:///{tmp_path / 'new.db'}"))["trials"]
    engine.dispose()
    assert list(upgraded[0]) == list(new[0])
    assert [nullable for _, nullable, _ in upgraded[0].values()] == [nullable for _, nullable, _ in new[0].values()]
    assert upgraded[1:] == new[1:]


def test_a_notebook_that_tries_something_brings_an_old_book_up_to_date(old: Path) -> None:
    with TrialBook(old, write=True) as book:
        assert book.add([try_of(1)]) == 1
    with Ledger(old, account="small") as ledger:
        assert told(ledger) == EXPECTED
        assert str(sum(ledger.realised().values())) == EXPECTED["realised"]  # its tallies were counted
    assert old.with_name("ledger-schema-0001.backup.db").exists()


def test_tries_are_read_from_an_old_book_that_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    second(f"sqlite:///{path}")
    content = path.read_bytes()
    with TrialBook(path) as book:
        assert len(book.rows(["SmaCross"])) == 2
    assert path.read_bytes() == content


def test_tries_go_into_the_book_of_an_account_that_is_being_written(place: str) -> None:
    from decimal import Decimal

    with Ledger.open(place, "demo") as ledger:
        ledger.bind("csv", "paper", Decimal(10_000))
        with TrialBook(place, write=True) as book:
            assert book.add([try_of(1)]) == 1
        ledger.note("resumed", "demo")
        assert (len(ledger.trials()), len(ledger.events())) == (1, 1)
    with TrialBook(place, write=True) as book:
        assert book.add([try_of(1)]) == 0
