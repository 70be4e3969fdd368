"""`trading run`, `approve`, `monitor`, `undo`, `doctor` and `why` in one hour after the other at the embedded venue, by settings alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hourly_market import hours
from intraday import csv_market
from typer.testing import CliRunner

from trading_core.cli import app
from trading_core.config import load_config
from trading_core.execution.stage import in_days
from trading_core.execution.venue import ManualClock, PanelMarket, PaperVenue
from trading_core.execution.venue.server import VenueServer
from trading_core.ledger import Ledger
from trading_core.model import Side
from trading_core.run import run_job

SETTINGS = """
[strategies.sma]
class = SmaCross
fast = 2
slow = 5
[execution]
executor = alpaca
approval = manual
url = {url}
[jobs]
scan = trade
"""


@pytest.fixture
def venue(bare: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PaperVenue]:
    panel = hours()
    market = csv_market(bare, {symbol: panel.own(symbol) for symbol in panel.symbols}, "2024-07-01")
    made = PaperVenue(PanelMarket(in_days(panel)), cash=100_000, clock=ManualClock("2024-07-02 15:00:30"))  # type: ignore[arg-type]
    monkeypatch.setenv("ALPACA_API_KEY", made.key)
    monkeypatch.setenv("ALPACA_SECRET_KEY", made.secret)
    with VenueServer(made) as server:
        (bare / "settings.ini").write_text(market + SETTINGS.format(url=server.url))
        yield made


def trading(*words: str) -> Any:
    done = CliRunner().invoke(app, list(words), standalone_mode=False)
    assert done.exception is None, (words, done.output, done.exception)
    return done.output


def test_what_a_person_does_between_two_hours_is_booked_at_its_minute(venue: PaperVenue) -> None:
    assert isinstance(venue.clock, ManualClock)
    run = run_job("scan", config=load_config(), as_of="2024-07-02T15:00")
    assert (run.status, run.error) == ("done", "")
    waiting = json.loads(trading("approve", "--json"))
    assert {pd.Timestamp(row["as_of"]) for row in waiting} == {pd.Timestamp("2024-07-02 15:00", tz="UTC")}
    trading("approve", "--all")
    venue.clock.advance("2024-07-02 15:03:30")
    trading("monitor", "--once")
    bought = {row["symbol"] for row in waiting}
    assert bought <= set(trading("undo", run.run_id).split())
    trading("undo", run.run_id, "--yes")
    venue.clock.advance("2024-07-02 15:05:30")
    assert "it was sold since" in trading("undo", run.run_id)
    assert "agree" in trading("doctor")
    venue.clock.advance("2024-07-02 16:00:30")
    again = run_job("scan", config=load_config(), as_of="2024-07-02T16:00")
    assert (again.status, again.error) == ("done", "")
    with Ledger(load_config().ledger_url, account="csv") as book:
        fills, cycles = book.fills(), book.cycles()
    assert [f"{day:%H:%M}" for day in cycles["as_of"].sort_values()] == ["15:00", "16:00"]
    assert {fill.symbol for fill in fills if fill.side is Side.BUY} == bought
    assert {f"{fill.day:%H:%M}" for fill in fills} <= {"15:01", "15:02", "15:03", "15:04", "15:05", "15:06"}
    sold = [fill.reason for fill in fills if fill.side is Side.SELL and fill.reason != "fee"]
    assert sold == ["undo"] * len(bought)
    assert "16:00" in trading("why", min(bought))
