"""Lots and ticks as the settings' venue has them: kept for a day, and the size of what is ordered."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest
from small_market import DAYS, PANEL, STRATEGIES
from typer.testing import CliRunner

from trading_core.cli import app
from trading_core.config import TradingConfig, load_config
from trading_core.data.instruments import Instrument
from trading_core.execution import ExecutorBase
from trading_core.execution.instruments import kept_instruments
from trading_core.execution.opening import open_executor, open_venue
from trading_core.execution.paper import PaperExecutor
from trading_core.execution.venue import ManualClock, PanelMarket, PaperVenue, trading_rest
from trading_core.execution.venue.local import local_session
from trading_core.execution.venue.server import VenueServer
from trading_core.ledger import Ledger
from trading_core.model import Asset, OrderRequest, OrderType, Side
from trading_core.portfolio import Costs
from trading_core.run.cycle import run_cycle

COIN = next(symbol for symbol in PANEL.symbols if "/" in symbol)


@pytest.fixture
def config(bare: Path, monkeypatch: pytest.MonkeyPatch) -> TradingConfig:
    monkeypatch.setenv("ALPACA_API_KEY", "paper-key")
    monkeypatch.setenv("ALPACA_SECRET_KEY", "paper-secret")
    return load_config(None, None, **{"execution.executor": "alpaca"})


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    "A venue of whole shares, and of coins in steps of 0.25 at prices in steps of 0.5."
    told = trading_rest.asset_json

    def said(asset: Asset) -> dict[str, Any]:
        steps = {"min_trade_increment": "0.25", "price_increment": "0.5"} if "/" in asset.symbol else {}
        return told(asset) | steps | {"fractionable": "/" in asset.symbol}

    monkeypatch.setattr(trading_rest, "asset_json", said)


class Desk:
    "An account at a venue in this process, opened by the settings."

    def __init__(self, config: TradingConfig):
        self.config, self.clock = config, ManualClock(PANEL.first)
        self.venue = PaperVenue(PanelMarket(PANEL), cash=Decimal(10_000), clock=self.clock, rate_limit=None)
        self.book = Ledger("sqlite://", account="desk", write=True)
        self.asked: list[str] = []

    def executor(self, ledger: Ledger, panel: Any) -> ExecutorBase:
        session = local_session(self.venue)
        send = session.send

        def noted(request: Any, **options: Any) -> Any:
            self.asked.append(request.path_url)
            return send(request, **options)

        session.send = noted  # type: ignore[method-assign]
        return open_executor(self.config, ledger, panel, session=session)

    def nights(self) -> list[OrderRequest]:
        for today in DAYS[:8]:
            self.clock.advance(today + pd.Timedelta("24h"))
            run_cycle(
                PANEL, STRATEGIES, ledger=self.book, account="desk", as_of=today,
                executor=self.executor, costs=Costs(rate=0), cash=10_000, source_kind="test",
            )  # fmt: skip
        orders = self.book.orders()
        return [OrderRequest(o.client_id, o.symbol, Side(o.side), o.quantity) for o in orders.itertuples()]


def test_other_lots_at_the_venue_are_other_orders(config: TradingConfig, coarse: None) -> None:
    orders = Desk(config).nights()
    buys = {order.symbol: order.quantity for order in orders if order.side is Side.BUY}
    assert any("/" in symbol for symbol in buys)
    assert any("/" not in symbol for symbol in buys)
    for symbol, quantity in buys.items():
        assert quantity % (Decimal("0.25") if "/" in symbol else 1) == 0


def test_without_them_orders_are_finer(config: TradingConfig) -> None:
    orders = Desk(config).nights()
    assert any(order.quantity % 1 for order in orders if "/" not in order.symbol)


def test_a_coarser_tick_moves_a_limit_away_from_the_market(config: TradingConfig, coarse: None) -> None:
    desk = Desk(config)
    venue = desk.executor(desk.book, PANEL)
    step = (desk.venue.market.last(COIN, desk.clock().value) or Decimal(1)).to_integral_value()
    limit = {"order_type": OrderType.LIMIT, "limit_price": step + Decimal("0.3")}
    venue.submit(OrderRequest("limited", COIN, Side.BUY, Decimal(1), **limit))  # type: ignore[arg-type]
    assert desk.venue.by_client["limited"].work.limit == step


def test_a_week_of_cycles_asks_for_assets_once_a_day_at_most(config: TradingConfig) -> None:
    desk = Desk(config)
    desk.nights()
    asked = [path for path in desk.asked if path.startswith("/v2/assets")]
    assert len(asked) <= len(PANEL.symbols) + 1, asked
    kept = list((config.outputs / "instruments").glob("*.json"))
    assert [path.name for path in kept] == ["instruments-alpaca.json"]


def test_the_command_shows_them_and_falls_back_on_what_was_said(config: TradingConfig, coarse: None) -> None:
    desk = Desk(config)
    with VenueServer(desk.venue) as server:
        Path("settings.ini").write_text(
            f"[market]\nsymbols = MERL, {COIN}\n[execution]\nexecutor = alpaca\nurl = {server.url}\n"
        )
        said = CliRunner().invoke(app, ["data", "instruments", "--json"])
        rows = {row["symbol"]: row for row in json.loads(said.output)}
        assert (rows[COIN]["lot"], rows[COIN]["tick"], rows[COIN]["tradable"]) == ("0.25", "0.5", True)
        assert rows["MERL"]["tradable"] is False  # this venue has no such share
        venue = open_venue(load_config("settings.ini", ".env"))
    later = pd.Timestamp.now("UTC") + pd.Timedelta(days=2)
    known = kept_instruments(load_config("settings.ini", ".env"), venue, [COIN], now=later)
    assert known.trouble
    assert known.instruments[COIN].lot == Decimal("0.25")


def test_a_venue_that_names_nothing_takes_nothing_away(config: TradingConfig) -> None:
    class Named(PaperExecutor):
        told: ClassVar = {COIN: Instrument(COIN, Decimal("0.25"))}

        def instruments(self, symbols: Iterable[str]) -> dict[str, Instrument]:
            return self.told

    venue = Named(Ledger("sqlite://", account="desk", write=True), PANEL)
    assert kept_instruments(config, venue, [COIN]).instruments[COIN].lot == Decimal("0.25")
    Named.told = {}
    later = pd.Timestamp.now("UTC") + pd.Timedelta(days=2)
    known = kept_instruments(config, venue, [COIN], now=later)
    assert known.trouble == "alpaca named none of the symbols. Ask again later."
    assert known.instruments[COIN].lot == Decimal("0.25")
    Named.told = {COIN: Instrument(COIN, Decimal("0.5"))}
    assert not kept_instruments(config, venue, [COIN], now=later).trouble  # it is asked again at once


def test_without_a_venue_the_lots_are_our_own(config: TradingConfig) -> None:
    Path("settings.ini").write_text("[market]\nsymbols = MERL, BTC/USD\n")
    said = CliRunner().invoke(app, ["data", "instruments"])
    assert "0.000001" in said.output
    assert "No venue is set (execution.executor = paper), so these are our own." in said.output
