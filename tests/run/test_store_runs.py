"""Runs on a store: each says what was revised since the last one, and an old one can be repeated to the last bit."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import pytest

from trading_core.config import load_config
from trading_core.data import BarStore, SimulatedBars
from trading_core.data.csv_lines import CsvError
from trading_core.run import context, pages, run_job
from trading_core.run.context import as_of_day, load_market

SETTINGS = """
[market]
symbols = AQVA, BTC/USD, ETH/USD
start = 2023-01-03
store = bars
[strategies.cross]
class = SmaCross
fast = 3
slow = 10
[jobs]
tiny = tiny
"""


@pytest.fixture
def book(bare: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (bare / "settings.ini").write_text(SETTINGS, encoding="utf-8")
    monkeypatch.setattr(pages, "WARM", "pass")
    cell = nbformat.v4.new_code_cell('as_of: str = ""', id="c0")
    cell.metadata.tags = ["parameters"]
    kernel = {"name": "python3", "language": "python", "display_name": "python3"}
    (bare / "runs").mkdir()
    nbformat.write(
        nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel}), bare / "runs" / "tiny.ipynb"
    )
    return bare


def ran(as_of: str, **market: str) -> dict[str, Any]:
    config = load_config(Path("settings.ini"), **{f"market.{name}": value for name, value in market.items()})
    result = run_job("tiny", config=config, as_of=as_of)
    assert result.exit_code == 0, result.error
    found: dict[str, Any] = json.loads((result.folder / "run.json").read_text(encoding="utf-8"))
    return found


def test_a_run_says_what_was_revised_and_an_old_one_is_repeated(book: Path) -> None:
    first = ran("2024-02-29")
    assert "revised" not in first
    store = BarStore(book / "bars")
    before = store.bars("BTC/USD", "2024-02-29", "2024-02-29")
    history = store.bars("BTC/USD", "2024-02-10", "2024-02-29")["close"]
    factor = 0.5 if history.tail(3).mean() > history.tail(10).mean() else 2.0
    store.add({"BTC/USD": before.assign(**{name: before[name] * factor for name in ("open", "high", "low", "close")})})
    second = ran("2024-03-04")
    assert second["revised"]["sentence"] == "1 bar was revised since the last run; 1 would have changed a decision."
    assert second["revised"]["rows"][0]["symbol"] == "BTC/USD"
    report = next((book / "outputs").glob(f"{second['run_id']}/report.html")).read_text(encoding="utf-8")
    assert "1 bar was revised since the last run" in report
    assert ran("2024-02-29")["data"]["sha256"] != first["data"]["sha256"]
    repeated = ran("2024-02-29", known=first["data"]["known"])
    assert repeated["data"] == first["data"]
    assert "revised" not in repeated


def test_the_benchmark_too_is_as_it_was_known(book: Path) -> None:
    config = load_config(Path("settings.ini"))
    market = load_market(config, as_of_day("2024-02-29"))
    store = BarStore(book / "bars")
    bar = store.bars(str(market.benchmark.name), "2024-02-29", "2024-02-29")
    store.add({str(market.benchmark.name): bar * 3})
    known = load_config(Path("settings.ini"), **{"market.known": market.known})
    assert load_market(known, as_of_day("2024-02-29")).benchmark.equals(market.benchmark)
    assert not load_market(config, as_of_day("2024-02-29")).benchmark.equals(market.benchmark)


def test_one_symbol_with_impossible_bars_does_not_cost_the_run(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = SimulatedBars.bars

    def broken(self: SimulatedBars, symbol: str, *args: Any, **named: Any) -> Any:
        bars = plain(self, symbol, *args, **named)
        return bars.assign(close=-1.0) if symbol == "ETH/USD" else bars

    monkeypatch.setattr(SimulatedBars, "bars", broken)
    market = load_market(load_config(Path("settings.ini")), as_of_day("2024-02-29"))
    assert "ETH/USD" not in BarStore(book / "bars").kept()
    assert market.quality is not None
    assert "ETH/USD" in str(market.quality)


def test_an_impossible_dividend_in_a_store_costs_no_run_and_no_account_of_revisions(book: Path) -> None:
    (book / "prices").mkdir()
    for symbol in ("MERL", "NEXQ"):
        bars = SimulatedBars(today="2024-03-05").bars(symbol, "2023-01-03").assign(split=1.0, dividend=0.0)
        if symbol == "NEXQ":
            bars.iloc[100, -1] = bars["close"].iloc[99] * 1.4
        bars.rename_axis("date").to_csv(book / "prices" / f"{symbol}.csv", date_format="%Y-%m-%d")
    market = {"source": "csv", "path": "prices", "symbols": "MERL, NEXQ", "benchmark": "MERL"}
    assert list(ran("2024-02-29", **market)["quality"]["barred"]) == ["NEXQ"]
    assert ran("2024-03-04", **market)["revised"]["sentence"] == "No bar was revised since the last run."


def test_a_run_on_other_symbols_than_the_last_one_has_no_revisions_to_tell(book: Path) -> None:
    ran("2024-02-29", symbols="AQVA", benchmark="AQVA")
    assert "revised" not in ran("2024-03-04", symbols="BTC/USD, ETH/USD", benchmark="BTC/USD")


def test_what_another_process_learns_during_a_run_is_not_part_of_it(
    book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, plain = load_config(Path("settings.ini")), context.findings_of

    def meanwhile(*given: Any) -> Any:
        other = BarStore(book / "bars", SimulatedBars())
        for symbol in ("AQVA", SimulatedBars().benchmark):
            bar = other.bars(symbol, "2024-02-28", "2024-02-28")
            other.add({symbol: bar.assign(**{name: bar[name] * 1.5 for name in ("open", "high", "low", "close")})})
        return plain(*given)

    monkeypatch.setattr(context, "findings_of", meanwhile)
    market = load_market(config, as_of_day("2024-02-29"))
    monkeypatch.setattr(context, "findings_of", plain)
    known = load_config(Path("settings.ini"), **{"market.known": market.known})
    repeated = load_market(known, as_of_day("2024-02-29"))
    assert repeated.facts() == market.facts()
    assert repeated.benchmark.equals(market.benchmark)
    assert load_market(config, as_of_day("2024-02-29")).panel.sha256 != market.panel.sha256


def test_a_run_notes_when_bars_of_its_own_length_were_learnt(book: Path) -> None:
    market = load_market(load_config(Path("settings.ini")), as_of_day("2024-02-29"))
    late = BarStore(book / "bars", clock=lambda: datetime(2090, 1, 1, tzinfo=UTC))
    late.add({"AQVA": SimulatedBars(today="2024-03-05").bars("AQVA", "2024-02-28", "2024-02-28", "1h")}, interval="1h")
    assert load_market(load_config(Path("settings.ini")), as_of_day("2024-02-29")).known == market.known


def test_when_every_symbol_is_refused_the_source_says_why(book: Path) -> None:
    (book / "prices").mkdir()
    for symbol in ("MERL", "NEXQ"):
        (book / "prices" / f"{symbol}.csv").write_text("date,open,high,low,close,volume\n2024-02-28,a,1,1,1,1\n")
    given = {"source": "csv", "path": "prices", "symbols": "MERL, NEXQ", "benchmark": "MERL"}
    config = load_config(Path("settings.ini"), **{f"market.{name}": value for name, value in given.items()})
    with pytest.raises(CsvError, match=r"MERL.csv, line 2"):
        load_market(config, as_of_day("2024-02-29"))
