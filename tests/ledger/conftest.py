"""The ledger's tests run on both databases: a file for SQLite, and a private PostgreSQL server that the tests start and stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest

from trading_core.ledger import Ledger

_SCHEMA = count(1)


@pytest.fixture
def schema(server: str) -> str:
    "The URL of an empty schema on the server."
    import psycopg

    name = f"t{next(_SCHEMA)}"
    with psycopg.connect(server, autocommit=True) as line:
        line.execute(f'CREATE SCHEMA "{name}"')
    return f"{server}?options=-csearch_path%3D{name}%20-clock_timeout%3D2000"


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    "An empty place for a ledger, on each database in turn."
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    return str(request.getfixturevalue("schema"))


@pytest.fixture(params=["memory", "postgresql"])
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    "An account that was just opened with 10,000, in memory and on PostgreSQL in turn."
    url = "sqlite://" if request.param == "memory" else request.getfixturevalue("schema")
    with Ledger(url, account="demo", write=True) as book:
        book.bind("csv", "paper", Decimal(10_000))
        yield book


@pytest.fixture
def opened(place: str) -> Callable[..., Ledger]:
    "Opens the ledger at the place, for writing unless told otherwise."

    def open_it(account: str = "demo", write: bool = True) -> Ledger:
        return Ledger(place, account=account, write=write)

    return open_it
