"""Fixtures that several floors share."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

gc.set_threshold(100_000, 20, 20)  # as `trading` has it
os.environ.setdefault("TRADING_TRIALS", "memory")  # what tests try is nobody's research
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # jsonschema loads it for a second, for nothing

FLOOR = "tests/test_notebooks.py::test_the_notebooks_of_a_floor_run_to_their_end"
LONGEST = (  # in the order in which they begin, three at a time; the first one compiles the kernels
    f"{FLOOR}[4]",
    "tests/test_checks.py::test_the_package_is_strictly_typed",
    f"{FLOOR}[1]",
    f"{FLOOR}[7]",  # begins where the first one has ended; until then, none beside it may compile the same once more
    f"{FLOOR}[5]",
    f"{FLOOR}[0]",
    "tests/run/test_jobs.py",
    f"{FLOOR}[2]",
    "tests/data/test_quality_fuzz.py",
    "tests/run/test_canary.py",
    "tests/run/test_run_at_a_venue.py",
    "tests/packaging/test_wheel.py",
    "tests/backtest/test_tearsheet.py",
    "tests/test_readme.py",
    "tests/execution/test_chaos_sockets.py",
    "tests/run/test_real_data_run.py",
    "tests/run/test_schedule.py",
    "tests/test_notebooks.py",
    "tests/run/test_run_at_an_exchange.py",
    "tests/run/test_warm.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deal the longest to the workers like cards, so that none begins one when the others are at their end."""
    workers = getattr(config, "workerinput", {}).get("workercount", 0)
    if not workers:
        return
    hands: list[list[tuple[int, pytest.Item]]] = [[] for _ in range(workers)]
    rest: list[pytest.Item] = []
    for item in items:
        place = next((place for place, name in enumerate(LONGEST) if item.nodeid.startswith(name)), -1)
        if place < 0:
            rest.append(item)
        else:
            hands[place % workers].append((place, item))
    dealt: list[pytest.Item] = []
    for number, hand in enumerate(hands):  # xdist gives each worker an equal number of tests in a row
        share = (len(items) - len(dealt)) // (workers - number) - len(hand)
        dealt += [item for _, item in sorted(hand, key=lambda card: card[0])] + rest[:share]
        rest = rest[share:]
    items[:] = dealt


def pytest_collection_finish() -> None:
    """What is imported by now stays: it need not be searched for garbage again and again (a tenth of all work)."""
    gc.freeze()


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in; no setting and no key comes from outside."""
    for name in list(os.environ):
        if name.startswith(("TRADING_", "ALPACA_", "CCXT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TRADING_TRIALS", "memory")
    monkeypatch.chdir(tmp_path)
    return tmp_path


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
