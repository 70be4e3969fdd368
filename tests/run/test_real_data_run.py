"""The daily job on recorded market data: a full report."""

import json
import os
import subprocess
import sys

import pytest

from trading_core.data import CsvBars

TRADING = [sys.executable, "-c", "from trading_core.cli import main; main()"]


@pytest.mark.realdata
def test_forty_equities_and_six_coins_of_recorded_data_give_a_full_report(real_data, tmp_path):
    files = [real_data / "equities_daily.csv.gz", real_data / "crypto_daily.csv.gz"]
    there = CsvBars(files).symbols()
    equities = [s for s in there if "/" not in s and s not in ("ABNB", "CARR")][:42]  # those two list after the as-of
    symbols = [*equities, "BTC/USD", "ETH/USD", "LTC/USD", "XRP/USD", "ADA/USD", "DOGE/USD"]
    settings = {"market.source": "csv", "market.path": ",".join(map(str, files)), "market.symbols": ",".join(symbols)}
    settings |= {"market.start": "2018-01-02", "market.benchmark": "DIA"}  # the start only to be quick
    chosen = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TRADING_")}
    done = subprocess.run(
        [*TRADING, "run", "daily", "--as-of", "2019-06-28", "--since", "20d", *chosen],
        cwd=tmp_path, env=clean, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = (tmp_path / "outputs").glob("*/run.json")
    run = json.loads(record.read_text())
    assert (run["status"], run["as_of"], run["simulated"], run["account"]) == ("done", "2019-06-28", False, "csv")
    assert run["counts"]["orders"] > 0
    pages = {path.name: path.read_text() for path in record.parent.glob("*.html")}
    assert set(pages) == {"report.html", "backtest.html", "signals.html", "trade.html"}
    assert all("SIMULATED" not in text for text in pages.values())
    assert "Fri 28 Jun 2019" in pages["report.html"]
    assert "DIA" in pages["backtest.html"]
