"""An hourly job on the invented market at the embedded venue, by settings alone and from an empty folder."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from trading_core.cli.venue import venue_market
from trading_core.config import load_config
from trading_core.data import SimulatedBars
from trading_core.execution.venue import ManualClock, PaperVenue
from trading_core.execution.venue.server import VenueServer
from trading_core.ledger import Ledger
from trading_core.run import run_job

SETTINGS = {
    "market.interval": "1h",
    "market.start": "2025-06-02",
    "market.symbols": "MERL, AXOR, BTC/USD",
    "strategies.equity.class": "SmaCross",
    "strategies.equity.fast": "3",
    "strategies.equity.slow": "8",
    "strategies.crypto.share": "0",
    "execution.executor": "alpaca",
    "jobs.daily": "trade",
}


def test_hour_after_hour_is_decided_once_and_filled_at_its_minutes_price(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare / "settings.ini").write_text("")
    market, begin = venue_market(load_config("settings.ini", **SETTINGS), "2025-07-02T15:30")
    clock = ManualClock(begin)
    venue = PaperVenue(market, cash=Decimal(100_000), clock=clock)
    monkeypatch.setenv("ALPACA_API_KEY", venue.key)
    monkeypatch.setenv("ALPACA_SECRET_KEY", venue.secret)
    with VenueServer(venue) as server:
        config = load_config("settings.ini", **SETTINGS, **{"execution.url": server.url})
        for moment in ("15:30", "16:30"):
            clock.advance(f"2025-07-02 {moment}")
            clock.advance("1min")
            result = run_job("daily", config=config, as_of=f"2025-07-02T{moment}")
            assert (result.status, result.error) == ("done", "")
        venue.step()
    with Ledger(config.ledger_url, account="simulated") as book:
        assert len(book.cycles()) == 2
    filled = [order for order in venue.orders if order.filled]
    assert filled, "nothing was traded"
    for order in filled:
        moment = pd.Timestamp(order.times["filled"], tz="UTC")
        assert moment.strftime("%H:%M") in ("15:31", "16:31")
        price = SimulatedBars().bars(order.symbol, "2025-07-02", "2025-07-02", "1m")["close"].loc[moment]
        assert order.spent / order.filled == pytest.approx(Decimal(repr(float(price))))
