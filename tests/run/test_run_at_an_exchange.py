"""`trading run` at an exchange of ccxt's, chosen by settings alone: unchanged templates, over sockets."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from trading_core.config import load_config
from trading_core.execution.venue import ManualClock, PanelMarket
from trading_core.execution.venue.binance import BinanceServer, SpotBook
from trading_core.ledger import Ledger
from trading_core.model import Side
from trading_core.portfolio import Costs
from trading_core.run import run_job
from trading_core.run.context import load_market

SETTINGS = """
[market]
universe = crypto
start = 2023-01-01
[strategies.crypto]
class = CryptoReversal
share = 0.9
[execution]
executor = ccxt
[jobs]
daily = trade
"""


@pytest.mark.slow
def test_the_same_job_trades_at_an_exchange_by_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("TRADING_", "ALPACA_", "CCXT_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    settings = tmp_path / "settings.ini"
    settings.write_text(SETTINGS, encoding="utf-8")
    (tmp_path / ".env").write_text("CCXT_API_KEY=paper-key\nCCXT_SECRET_KEY=paper-secret\n", encoding="utf-8")
    clock = ManualClock("2024-03-21")
    market = PanelMarket(load_market(load_config(settings)).panel)
    book = SpotBook(market, clock=clock, costs=Costs(rate=0.001), multiplier=1, rate_limit=None)
    with BinanceServer(book) as server:
        for day in pd.date_range("2024-03-22", "2024-03-23", tz="UTC"):
            clock.advance(day + pd.Timedelta("24h10min"))
            config = load_config(settings, tmp_path / ".env", **{"execution.url": server.url})
            result = run_job("daily", config=config, as_of=f"{day:%Y-%m-%d}")
            assert (result.status, result.error) == ("done", "")
        names = list(server.desk.names.values())
    with Ledger(load_config(settings).ledger_url, account="simulated") as ledger:
        assert ledger.orders()["client_id"].tolist() == names
        assert len(names) >= 1
        assert {fill.client_id for fill in ledger.fills() if fill.side is Side.BUY} <= set(names)
    written = "".join(path.read_text(errors="ignore") for path in result.folder.rglob("*") if path.is_file())
    assert "paper-secret" not in written
