"""alpaca-py, as it is installed, works against the paper venue without a key of Alpaca's and without the internet."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from venue_bench import OPEN, Desk

pytest.importorskip("alpaca")

from alpaca.common.exceptions import APIError
from alpaca.data.historical import CryptoHistoricalDataClient, StockHistoricalDataClient
from alpaca.data.requests import (
    CryptoBarsRequest,
    CryptoLatestOrderbookRequest,
    CryptoSnapshotRequest,
    StockBarsRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import AssetClass, OrderClass, OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.models import NonTradeActivity, TradeActivity, TradeUpdate
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetAssetsRequest,
    GetCalendarRequest,
    GetOrdersRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
)

from trading_core.execution.venue.local import local_session

ANYWHERE = "http://venue.invalid"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def client(desk: Desk) -> TradingClient:
    client = TradingClient(desk.venue.key, desk.venue.secret, url_override=ANYWHERE)
    client._session = local_session(desk.venue)
    return client


def market(
    symbol: str = "ACME", qty: float = 10, side: OrderSide = OrderSide.BUY, **more: object
) -> MarketOrderRequest:
    force = TimeInForce.GTC if "/" in symbol else TimeInForce.DAY
    return MarketOrderRequest(symbol=symbol, qty=qty, side=side, time_in_force=force, **more)


def test_the_account_its_orders_and_positions(desk: Desk, client: TradingClient) -> None:
    assert client.get_account().cash == "100000"
    sent = client.submit_order(market(client_order_id="a"))
    assert sent.status is OrderStatus.NEW
    known = client.get_order_by_client_id("a")
    assert (known.id, known.status) == (sent.id, OrderStatus.FILLED)
    assert client.get_order_by_id(str(sent.id)).filled_qty == "10"
    assert [position.qty for position in client.get_all_positions()] == ["10"]
    assert client.get_open_position("ACME").avg_entry_price == known.filled_avg_price
    assert client.get_open_position("ACME").asset_id == client.get_asset("ACME").id


def test_every_kind_of_order(desk: Desk, client: TradingClient) -> None:
    common = {"qty": 2, "side": OrderSide.BUY}
    day, gtc = {"time_in_force": TimeInForce.DAY}, {"time_in_force": TimeInForce.GTC}
    guard = {"take_profit": TakeProfitRequest(limit_price=70), "stop_loss": StopLossRequest(stop_price=38)}
    sent = [
        client.submit_order(market("BOLT", 0.5)),
        client.submit_order(MarketOrderRequest(symbol="ACME", notional=100.25, side=OrderSide.BUY, **day)),
        client.submit_order(LimitOrderRequest(symbol="ACME", limit_price=40, **common, **gtc)),
        client.submit_order(StopOrderRequest(symbol="ACME", stop_price=70, **common, **day)),
        client.submit_order(StopLimitOrderRequest(symbol="COIN/USD", stop_price=480, limit_price=481, **common, **gtc)),
        client.submit_order(TrailingStopOrderRequest(symbol="ACME", trail_percent=4, **common, **gtc)),
        client.submit_order(
            LimitOrderRequest(symbol="ACME", limit_price=40, order_class=OrderClass.BRACKET, **guard, **common, **gtc)
        ),
    ]
    assert len(sent[-1].legs) == 2
    listed = client.get_orders(
        GetOrdersRequest(status=QueryOrderStatus.ALL, limit=500, symbols=["ACME", "BOLT", "COINUSD"])
    )
    assert {order.id for order in sent} <= {order.id for order in listed}
    nested = client.get_orders(GetOrdersRequest(status=QueryOrderStatus.OPEN, nested=True, side=OrderSide.BUY))
    assert {order.id for order in nested} == {order.id for order in sent[2:]}
    assert {response.status for response in client.cancel_orders()} == {200}
    assert client.get_orders() == []


def test_replacing_canceling_closing(desk: Desk, client: TradingClient) -> None:
    limit = LimitOrderRequest(symbol="BOLT", qty=4, side=OrderSide.BUY, limit_price=5, time_in_force=TimeInForce.DAY)
    new = client.replace_order_by_id(client.submit_order(limit).id, ReplaceOrderRequest(qty=3, limit_price=6))
    assert (new.qty, new.limit_price) == ("3", "6")
    client.cancel_order_by_id(new.id)
    client.submit_order(market())
    client.submit_order(market("COIN/USD", 1))
    assert client.close_position("ACME", ClosePositionRequest(qty="4")).qty == "4"
    assert client.close_position("COINUSD").qty == "0.9975"
    said = client.close_all_positions(cancel_orders=True)
    assert [(one.symbol, one.status) for one in said] == [("ACME", 200)]
    assert client.get_all_positions() == []


def test_errors_arrive_with_their_code(desk: Desk, client: TradingClient) -> None:
    client.submit_order(market(client_order_id="a"))
    with pytest.raises(APIError) as refused:
        client.submit_order(market(client_order_id="a"))
    assert (refused.value.status_code, refused.value.code) == (422, 40010001)
    with pytest.raises(APIError) as refused:
        client.submit_order(market("COIN/USD", 1, OrderSide.SELL))
    assert (refused.value.status_code, refused.value.code) == (403, 40310000)
    with pytest.raises(APIError) as refused:
        client.get_open_position("BOLT")
    assert (refused.value.status_code, refused.value.code) == (404, 40410000)


def test_a_wrong_key_is_turned_away(desk: Desk) -> None:
    client = TradingClient(desk.venue.key, "guess", url_override=ANYWHERE)
    client._session = local_session(desk.venue)
    with pytest.raises(APIError) as refused:
        client.get_account()
    assert refused.value.status_code == 403


def test_assets_clock_calendar_history(desk: Desk, client: TradingClient) -> None:
    assert [a.symbol for a in client.get_all_assets(GetAssetsRequest(asset_class=AssetClass.CRYPTO))] == ["COIN/USD"]
    assert [a.symbol for a in client.get_all_assets()] == ["ACME", "BOLT"]
    clock = client.get_clock()
    assert clock.is_open
    assert clock.next_close == at("2024-03-25 20:00")
    week = client.get_calendar(GetCalendarRequest(start=at("2024-03-28").date(), end=at("2024-04-01").date()))
    assert [f"{day.date:%m-%d}" for day in week] == ["03-28", "04-01"]
    client.submit_order(market())
    desk.to("2024-03-28 21:00")
    history = client.get_portfolio_history(GetPortfolioHistoryRequest(period="1W", timeframe="1D"))
    assert len(history.equity) == 4
    assert history.equity[-1] == float(client.get_account().equity)


def test_the_log_of_activities_repairs_what_a_stream_has_missed(desk: Desk, client: TradingClient) -> None:
    client.submit_order(market(client_order_id="a"))
    client.submit_order(market("COIN/USD", 2))
    log = client.get("/account/activities", {"direction": "asc"})
    fills = [TradeActivity(**item) for item in log if item["activity_type"] == "FILL"]
    fees = [NonTradeActivity(**item) for item in log if item["activity_type"] == "CFEE"]
    assert ([fill.qty for fill in fills], [fee.qty for fee in fees]) == ([10, 2], [-0.005])
    after = client.get("/account/activities/FILL", {"direction": "asc", "page_token": log[0]["id"]})
    assert [item["id"] for item in after] == [fills[1].id]
    updates = [TradeUpdate(**event.message["data"]) for event in desk.venue.step()]
    assert [str(update.event) for update in updates] == ["new", "fill", "new", "fill"]
    assert updates[1].execution_id is not None
    assert str(updates[1].execution_id) == fills[0].id.split("::")[1]


def test_a_week_of_orders_fills_at_the_opens(desk: Desk, client: TradingClient) -> None:
    for evening, next_open in (("25", "26"), ("26", "27"), ("27", "28")):
        desk.to(f"2024-03-{evening} 21:00")
        sent = client.submit_order(market(qty=1))
        assert sent.status is OrderStatus.ACCEPTED
        desk.to(f"2024-03-{next_open} 13:30")
        assert Decimal(str(client.get_order_by_id(sent.id).filled_avg_price)) == OPEN[f"03-{next_open}"]


def test_stock_data(desk: Desk) -> None:
    data = StockHistoricalDataClient(desk.venue.key, desk.venue.secret, url_override=ANYWHERE)
    data._session = local_session(desk.venue)
    span = {"start": at("2024-03-18"), "end": at("2024-03-25 14:00"), "symbol_or_symbols": ["ACME", "BOLT"]}
    bars = data.get_stock_bars(StockBarsRequest(timeframe=TimeFrame.Day, **span))
    assert [bar.open for bar in bars["ACME"]] == [50, 51, 52, 53, 54, 57]
    minutes = data.get_stock_bars(StockBarsRequest(timeframe=TimeFrame.Minute, limit=3000, **span))
    assert len(minutes["ACME"]) == 5 * 390 + 30 + 1
    assert len(data.get_stock_trades(StockTradesRequest(**span))["BOLT"]) == 5 * 391 + 31
    assert data.get_stock_quotes(StockQuotesRequest(limit=5, **span))["ACME"][0].ask_price == 50.01
    last = data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="ACME"))["ACME"].price
    quote = data.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="ACME"))["ACME"]
    assert quote.bid_price < last < quote.ask_price
    shot = data.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=["ACME"]))["ACME"]
    assert (shot.daily_bar.open, shot.previous_daily_bar.open, shot.latest_trade.price) == (57, 54, last)


def test_crypto_data(desk: Desk) -> None:
    data = CryptoHistoricalDataClient(desk.venue.key, desk.venue.secret, url_override=f"{ANYWHERE}")
    data._session = local_session(desk.venue)
    bars = data.get_crypto_bars(
        CryptoBarsRequest(symbol_or_symbols="COIN/USD", timeframe=TimeFrame.Day, start=at("2024-03-22"))
    )
    assert [bar.open for bar in bars["COIN/USD"]] == [432, 440, 448, 456]
    book = data.get_crypto_latest_orderbook(CryptoLatestOrderbookRequest(symbol_or_symbols="COIN/USD"))["COIN/USD"]
    assert book.bids[0].price < book.asks[0].price
    assert (
        data.get_crypto_snapshot(CryptoSnapshotRequest(symbol_or_symbols="COIN/USD"))["COIN/USD"].daily_bar.open == 456
    )
