"""Fixtures that several floors share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("TRADING_TRIALS", "memory")  # what tests try is nobody's research


@pytest.fixture(scope="session")
def real_data() -> Path:
    "The folder of recorded market data, or a skip that says how to get there."
    folder = os.environ.get("TRADING_REAL_DATA", "")
    if not folder:
        pytest.skip("no recorded market data: set TRADING_REAL_DATA to its folder")
    path = Path(folder)
    if not (path / "equities_daily.csv.gz").is_file():
        pytest.skip(f"no recorded market data: TRADING_REAL_DATA={folder} holds no equities_daily.csv.gz")
    return path


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    "The URL of a PostgreSQL server of our own, or a skip that says why there is none."
    pytest.importorskip("psycopg", reason="no psycopg: the tests on PostgreSQL are skipped")
    from trading_core.ledger.private import NoServerError, private_server

    try:
        with private_server() as url:
            yield url
    except NoServerError as missing:
        pytest.skip(str(missing))
