"""What a person says reaches a venue over a socket: yes, no, stop, take it back, and why."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from trading_core import cli
from trading_core.config import load_config
from trading_core.execution.alpaca import AlpacaExecutor
from trading_core.execution.venue import ManualClock, PanelMarket, PaperVenue
from trading_core.execution.venue.server import VenueServer
from trading_core.ledger import Ledger
from trading_core.run.context import Run, as_of_day, load_market

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
approval = manual
approval_band = 0.2
url = {url}
"""
NIGHT = pd.Timestamp("2024-03-04", tz="UTC")


class Desk:
    "A person, a program, and a venue whose clock is in our hands."

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]):
        self.folder, self.capsys, self.clock = folder, capsys, ManualClock(NIGHT)
        (folder / "settings.ini").write_text(SETTINGS.format(url=""))
        self.panel = load_market(load_config(folder / "settings.ini", None)).panel
        self.venue = PaperVenue(PanelMarket(self.panel), cash=Decimal(50_000), clock=self.clock, key="k", secret="s")

    def decide(self, night: pd.Timestamp = NIGHT) -> None:
        self.clock.advance(night + pd.Timedelta("24h10min"))
        config = load_config(self.folder / "settings.ini", None)
        (self.folder / "scratch").mkdir(exist_ok=True)
        market = load_market(config, as_of_day(f"{night:%Y-%m-%d}"))
        Run(config, market, run_id=f"{night:%Y%m%d}-daily", scratch=self.folder / "scratch").cycle(dry_run=False)

    def executor(self) -> AlpacaExecutor:
        return AlpacaExecutor("k", "s", url=load_config(self.folder / "settings.ini", None).execution.url)

    def say(self, *arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        captured = self.capsys.readouterr()
        return int(str(ended.value.code)), captured.out + captured.err

    def statuses(self) -> dict[str, str]:
        with Ledger(load_config(self.folder / "settings.ini", None).ledger_url, account="simulated") as books:
            table = books.orders()
        return dict(zip(table["symbol"], table["status"], strict=True))

    def digests(self) -> dict[str, str]:
        return {row["symbol"]: row["digest"] for row in json.loads(self.say("approve", "--json")[1])}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    for name in list(os.environ):
        if name.startswith(("TRADING_", "ALPACA_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ALPACA_API_KEY", "k")
    monkeypatch.setenv("ALPACA_SECRET_KEY", "s")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    made = Desk(tmp_path, capsys)
    with VenueServer(made.venue) as server:
        (tmp_path / "settings.ini").write_text(SETTINGS.format(url=server.url))
        made.decide()
        yield made


def at_the_venue(desk: Desk) -> set[str]:
    return {order.symbol for order in desk.venue.orders}


def test_nothing_reaches_the_venue_without_a_yes_and_everything_said_yes_to_does(desk: Desk) -> None:
    assert at_the_venue(desk) == set()
    asked = desk.digests()
    assert asked.keys() == desk.statuses().keys()
    assert len(asked) >= 2
    symbol = next(s for s in sorted(asked) if "/" in s)
    code, said = desk.say("approve", asked[symbol])
    assert code == 0, said
    assert at_the_venue(desk) == {symbol}
    assert desk.statuses()[symbol] in ("accepted", "filled")


def test_a_price_that_has_run_away_lets_a_yes_lapse(desk: Desk) -> None:
    with Ledger.open(load_config(desk.folder / "settings.ini", None).ledger_url, "simulated") as books:
        from trading_core.ledger import tables

        with books.writing() as step:  # as if it had been decided at half the price
            for approval in books.approvals("asked"):
                prices = {s: f"{price / 2:f}" for s, price in approval.prices.items()}
                mine = tables.approvals.c.digest == approval.digest
                step.execute(tables.approvals.update().where(mine).values(prices=prices))
    code, said = desk.say("approve", "--all")
    assert (code, "the price moved by +" in said) == (2, True)
    assert at_the_venue(desk) == set()
    assert set(desk.statuses().values()) == {"expired"}


def test_what_was_approved_can_be_canceled_and_undone_and_explained(desk: Desk) -> None:
    assert desk.say("approve", "--all")[0] == 0
    coins = [s for s in desk.statuses() if "/" in s]
    desk.clock.advance(pd.Timedelta(minutes=5))
    desk.venue.step()
    shares = [s for s, status in desk.statuses().items() if "/" not in s and status == "accepted"]
    if shares:  # their market is closed at night
        assert desk.say("cancel", shares[0])[0] == 0
        assert desk.statuses()[shares[0]] == "canceled"
    run = f"{NIGHT:%Y%m%d}-daily"
    code, said = desk.say("undo", run)
    assert (code, "Nothing was done" in said) == (0, True)
    code, said = desk.say("undo", run, "--yes")
    assert code == 0, said
    desk.clock.advance(pd.Timedelta(minutes=5))
    desk.venue.step()
    assert not desk.executor().positions().keys() & set(coins)
    code, said = desk.say("why", coins[0], "--as-of", f"{NIGHT:%Y-%m-%d}")
    assert code == 0
    assert "approved" in said
    assert "sent" in said


def test_a_silent_venue_takes_no_yes_and_the_question_stays(desk: Desk) -> None:
    asked = desk.digests()
    (desk.folder / "settings.ini").write_text(SETTINGS.format(url="http://127.0.0.1:9"))
    code, said = desk.say("approve", "--all")
    assert code == 1
    assert "cannot be reached" in said
    assert desk.digests() == asked


def test_a_question_lapses_by_the_clock_of_the_venue_and_not_by_ours(desk: Desk) -> None:
    asked = desk.digests()
    with Ledger(load_config(desk.folder / "settings.ini", None).ledger_url, account="simulated") as books:
        expires = {pd.Timestamp(approval.expires) for approval in books.approvals("asked")}
    assert expires == {NIGHT + pd.Timedelta("36h10min")}  # twelve hours after it was asked, in March 2024
    desk.clock.advance(NIGHT + pd.Timedelta("36h9min"))
    coin, other = sorted(asked, key=lambda symbol: "/" not in symbol)[:2]
    assert desk.say("approve", asked[coin])[0] == 0
    desk.clock.advance(NIGHT + pd.Timedelta("36h11min"))
    code, said = desk.say("approve", asked[other])
    assert (code, "could be approved until 2024-03-05 12:10 UTC" in said) == (2, True), said
    assert at_the_venue(desk) == {coin}


def test_one_look_of_the_monitor_goes_by_the_clock_of_the_venue_and_says_when_it_saw_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    coin = next(symbol for symbol in sorted(desk.digests()) if "/" in symbol)
    assert desk.say("monitor", "--once") == (0, "Account simulated has no position to watch.\n")
    assert desk.say("approve", desk.digests()[coin])[0] == 0
    desk.clock.advance(desk.clock() + pd.Timedelta("5min"))
    desk.venue.step()
    desk.say("monitor", "--once")  # hears of the fill
    code, said = desk.say("monitor", "--once", "--json")
    seen = json.loads(said)["watched"][coin]
    assert (code, seen["quiet"]) == (0, ""), said
    with Ledger(load_config(desk.folder / "settings.ini", None).ledger_url, account="simulated") as books:
        assert float(seen["highest"]) < 1.1 * float(books.positions()[coin].entry_price)  # no close of later years
    monkeypatch.setattr(AlpacaExecutor, "quotes", lambda self, symbols: {})
    code, said = desk.say("monitor", "--once")
    told = f"No stop was watched, as no price could be judged. {coin}: the venue tells no price."
    assert (code, told in said) == (2, True), said
