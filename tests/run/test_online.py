"""`trading doctor --online` on this machine: keys and lines that work, and ones that do not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from trading_core.cli import app
from trading_core.data.normalizer import HybridDataNormalizer
from trading_core.execution.venue.binance import BinanceServer, SpotBook
from trading_core.execution.venue.book import PaperVenue
from trading_core.execution.venue.market import ManualClock, PanelMarket
from trading_core.execution.venue.server import VenueServer
from trading_core.sessions import sessions


@pytest.fixture(autouse=True)
def _keyless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("ALPACA_", "CCXT_", "TRADING_MARKET"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def panel() -> PanelMarket:
    until = pd.Timestamp.now(tz="UTC").normalize()
    start = until - pd.Timedelta(days=40)

    def bars(days: pd.DatetimeIndex) -> pd.DataFrame:
        close = 100.0 + np.arange(len(days))
        return pd.DataFrame(
            {"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 39_000.0}, days
        )

    made = {"ACME": bars(sessions("XNYS", start, until)), "COIN/USD": bars(pd.date_range(start, until, freq="D"))}
    return PanelMarket(HybridDataNormalizer().normalize(made))


def online(*settings: str) -> tuple[int, str]:
    given = [part for setting in settings for part in ("--set", setting)]
    result = CliRunner().invoke(app, ["doctor", "--online", *given])
    return result.exit_code, result.output


def test_alpaca_answers_bars_prices_and_the_account(monkeypatch: pytest.MonkeyPatch):
    venue = PaperVenue(panel(), clock=ManualClock(pd.Timestamp.now(tz="UTC")))
    monkeypatch.setenv("ALPACA_API_KEY", venue.key)
    monkeypatch.setenv("ALPACA_SECRET_KEY", venue.secret)
    with VenueServer(venue) as server:
        here = [f"market.url={server.url}", f"execution.url={server.url}", "execution.executor=alpaca"]
        code, told = online("market.source=alpaca", "market.symbols=ACME,COIN/USD", "market.raw=true", *here)
        assert (code, told.count("works "), told.count("FAILS ")) == (0, 3, 0)
        assert "bars of ACME with splits and dividends" in told
        monkeypatch.setenv("ALPACA_SECRET_KEY", "hush-hush")
        code, told = online("market.source=alpaca", "market.symbols=ACME", *here)
    assert (code, told.count("works "), told.count("FAILS ")) == (1, 0, 3)
    assert "Check ALPACA_API_KEY and ALPACA_SECRET_KEY" in told
    assert "hush-hush" not in told


def test_an_exchange_answers_without_keys():
    pytest.importorskip("ccxt", reason="no ccxt: bars of exchanges are not tried")
    with BinanceServer(SpotBook(panel(), clock=ManualClock(pd.Timestamp.now(tz="UTC")))) as server:
        code, told = online("market.source=ccxt", "market.symbols=COIN/USD", f"market.url={server.url}")
    assert (code, told.count("works ")) == (0, 3)
    assert "14 bars of COIN/USD" in told


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["market.source=alpaca"], "needs ALPACA_API_KEY"),
        (["market.source=csv"], "needs market.path"),
        (["market.source=parquet", "market.path=nowhere"], "there is no file or folder"),
        (["market.source=yahu"], "Did you mean 'yahoo'"),
        (["market.source=ccxt", "market.exchange=binanse"], "Did you mean 'binance"),
        (["execution.executor=alpaca"], "ALPACA_API_KEY and ALPACA_SECRET_KEY are not set"),
    ],
)
def test_what_is_missing_is_said_and_the_rest_is_asked(settings: list[str], words: str):
    code, told = online(*settings)
    assert code == 1
    assert words in " ".join(told.split())
    assert "works " in told
