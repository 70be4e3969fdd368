"""`trading run` at a venue, chosen by settings alone: the unchanged templates, over sockets, in processes of their own."""

from __future__ import annotations

import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from trading_core.config import TradingConfig, load_config
from trading_core.execution.venue import ManualClock, PanelMarket, PaperVenue
from trading_core.execution.venue.faults import Fault, Faults
from trading_core.execution.venue.server import VenueServer
from trading_core.ledger import Ledger
from trading_core.model import OrderRequest, Side
from trading_core.portfolio import Costs
from trading_core.run import RunResult, run_job
from trading_core.run.context import Run, load_market
from trading_core.run.runner import read_run

SETTINGS = """
[market]
symbols = AQVA, AXOR, BTC/USD, ETH/USD
start = 2023-01-03
[strategies.trend]
class = SmaCross
fast = 5
slow = 20
share = 0.9
[execution]
executor = alpaca
[jobs]
daily = trade
"""
NIGHTS = pd.date_range("2024-03-04", "2024-03-08", tz="UTC")


class House:
    """A folder with settings, and a venue behind a socket."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "settings.ini").write_text(SETTINGS, encoding="utf-8")
        self.panel = load_market(load_config(folder / "settings.ini")).panel
        self.clock = ManualClock(NIGHTS[0])
        self.venue = PaperVenue(
            PanelMarket(self.panel), cash=Decimal(50_000), clock=self.clock, costs=Costs(rate=0.001)
        )

    def config(self, url: str, **changes: str) -> TradingConfig:
        return load_config(self.folder / "settings.ini", self.folder / ".env", **{"execution.url": url} | changes)

    def night(self, url: str, day: pd.Timestamp, **changes: str) -> RunResult:
        self.clock.advance(day + pd.Timedelta("24h10min"))
        return run_job("daily", config=self.config(url, **changes), as_of=f"{day:%Y-%m-%d}")

    def book(self) -> Ledger:
        return Ledger(self.config("").ledger_url, account="simulated")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    for name in list(os.environ):
        if name.startswith(("TRADING_", "ALPACA_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return House(tmp_path)


def test_the_same_job_trades_at_the_venue_by_a_setting_and_keys_in_the_env_file(house: House) -> None:
    (house.folder / ".env").write_text(f"ALPACA_API_KEY={house.venue.key}\nALPACA_SECRET_KEY={house.venue.secret}\n")
    with VenueServer(house.venue) as server:
        for day in NIGHTS[:2]:
            result = house.night(server.url, day)
            assert (result.status, result.error) == ("done", "")
        with house.book() as book:
            assert book.opened_with()["cash"] == 50_000  # type: ignore[index]
            assert book.cycles()["status"].tolist() == ["done"] * 2
            assert {order.client_id for order in house.venue.orders} == set(book.orders()["client_id"])
            assert len(house.venue.orders) >= 1
            assert {fill.strategy for fill in book.fills()} == {"trend"}
    for path in result.folder.iterdir():
        assert house.venue.secret not in path.read_text(encoding="utf-8", errors="replace")
    server_gone = house.night(server.url, NIGHTS[2])
    assert (server_gone.status, server_gone.exit_code) == ("refused", 2)
    assert "cannot be reached" in server_gone.error
    for name in ("trade.html", "report.html"):
        page = (server_gone.folder / name).read_text(encoding="utf-8")
        assert "■ No answer from alpaca" in page
        assert "last known account of Tue 5 Mar" in page
    with house.book() as book:
        ours = book.runs().set_index("run_id").loc[server_gone.run_id]
        assert (ours["status"], "cannot be reached" in ours["error"]) == ("refused", True)
        assert len(book.events("paper day")) == 0  # of a simulated market, none counts
    with VenueServer(house.venue) as server:
        sold = OrderRequest("by-hand", "BTC/USD", Side.BUY, Decimal("0.1"))
        house.venue.submit(
            {
                "symbol": sold.symbol,
                "qty": "0.1",
                "side": "buy",
                "type": "market",
                "time_in_force": "gtc",
                "client_order_id": "by-hand",
            }
        )
        refused = house.night(server.url, NIGHTS[3])
        assert (refused.status, refused.exit_code) == ("refused", 2)
        assert "trading doctor" in refused.error
        taken_in = house.night(server.url, NIGHTS[3], **{"execution.foreign": "adopt"})
        assert taken_in.status == "done"


def test_without_keys_nothing_begins(house: House) -> None:
    result = house.night("http://127.0.0.1:9", NIGHTS[0])
    assert (result.status, result.exit_code) == ("refused", 2)
    assert "ALPACA_API_KEY" in result.error


def test_a_wrong_key_refuses_the_run_of_an_account_that_has_begun_and_is_not_called_silence(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPACA_API_KEY", house.venue.key)
    monkeypatch.setenv("ALPACA_SECRET_KEY", house.venue.secret)
    with VenueServer(house.venue) as server:
        house.clock.advance(NIGHTS[0] + pd.Timedelta("24h10min"))
        market = load_market(house.config(server.url), NIGHTS[0])
        (house.folder / "scratch").mkdir()
        Run(house.config(server.url), market, scratch=house.folder / "scratch").cycle(dry_run=False)
        sent = len(house.venue.orders)
        monkeypatch.setenv("ALPACA_API_KEY", "wrong")
        result = house.night(server.url, NIGHTS[1])
    assert (result.status, result.exit_code) == ("refused", 2)
    assert "Check ALPACA_API_KEY" in result.error
    assert result.lines[1].startswith("alpaca refused the key (HTTP 403); no new order was sent; ")
    assert len(house.venue.orders) == sent
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "last known account of Tue 5 Mar" in page  # of the purchases that filled after the evening
    assert "No answer" not in page
    facts = read_run(result.folder)
    assert facts is not None
    assert (facts["status"], facts["known_day"], facts["error"]["type"]) == ("refused", "2024-03-05", "NoVenueError")
    index = (house.config("").outputs / "index.html").read_text(encoding="utf-8")
    assert "■ REFUSED" in index
    assert "Check ALPACA_API_KEY" in index
    with house.book() as book:
        assert book.cycle("daily", NIGHTS[1]) is None  # nothing was decided: the next run does


def test_a_night_without_a_venue_is_no_day_on_paper(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPACA_API_KEY", house.venue.key)
    monkeypatch.setenv("ALPACA_SECRET_KEY", house.venue.secret)
    (house.folder / "scratch").mkdir()
    with VenueServer(house.venue) as server:
        for day, url in ((NIGHTS[0], server.url), (NIGHTS[1], "http://127.0.0.1:9")):
            house.clock.advance(day + pd.Timedelta("24h10min"))
            config = house.config(url)
            market = replace(load_market(config, day), simulated=False)  # as if the prices were real
            report = Run(config, market, scratch=house.folder / "scratch").cycle(dry_run=False)
    assert report.brief == "No answer from alpaca"
    with house.book() as book:
        assert [row["as_of"] for row in book.events("paper day")["detail"]] == ["2024-03-04"]


class LostAnswers(Faults):
    "Every third question, and the one after it in one case of four, goes without an answer."

    def __init__(self) -> None:
        super().__init__(0, {})
        self.asked = self.lost = self.sent = 0

    def next(self, method: str, path: str) -> Fault | None:
        super().next(method, path)
        self.sent += method == "POST"
        if method != "GET":
            return None
        self.asked += 1
        if self.asked % 3 and self.asked % 12 != 1:
            return None
        self.lost += 1
        return Fault(("error_500", "reset", "truncated_json")[self.lost % 3], self.calls)


def test_nights_go_through_although_every_third_answer_is_lost(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPACA_API_KEY", house.venue.key)
    monkeypatch.setenv("ALPACA_SECRET_KEY", house.venue.secret)
    line = LostAnswers()
    with VenueServer(house.venue, line) as server:
        results = [house.night(server.url, day) for day in NIGHTS[:2]]
    assert [(result.status, result.error) for result in results] == [("done", "")] * 2
    assert line.lost > 5
    assert line.sent == len(house.venue.orders) >= 1
