"""An exchange that forgets ids, refuses old requests and takes its fee from what is received."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal

import pandas as pd
import pytest
from benches import BinanceBench, Half, ids

from trading_core.errors import UnknownNameError
from trading_core.execution import VenueError, VenueUnreachable
from trading_core.execution.ccxt_executor import ExchangeNo, fills_of, market_of, symbol_of
from trading_core.execution.venue.binance import binance_route, klines, my_trades
from trading_core.model import OrderRequest, OrderStatus, OrderType, Side, TimeInForce


@pytest.fixture
def bench() -> Iterator[BinanceBench]:
    with ExitStack() as servers:
        yield BinanceBench(servers)


def buy(quantity: str = "2", client_id: str = "20240326-COINUSD-b-1", **more: object) -> OrderRequest:
    return OrderRequest(client_id, "COIN/USD", Side.BUY, Decimal(quantity), **more)  # type: ignore[arg-type]


def sell(client_id: str = "20240326-COINUSD-s-1", **more: object) -> OrderRequest:
    return replace(buy(client_id=client_id), side=Side.SELL, whole=True, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", ["drop_answer", "error_500", "bad_gateway_html", "accepted_504", "truncated_json"])
def test_an_order_that_arrived_without_an_answer_is_bought_once_although_its_id_is_free_again(
    bench: BinanceBench, fault: str
) -> None:
    venue = bench.executor()
    bench.faults.wanted.append((fault, "POST"))
    said = venue.submit(buy())
    assert said.status is OrderStatus.UNKNOWN, said
    assert bench.executor().submit(buy()).status is OrderStatus.FILLED
    assert len(bench.venue.orders) == 1


def test_a_copy_that_may_be_under_way_is_waited_out_before_the_order_goes_again(bench: BinanceBench) -> None:
    venue = bench.executor()
    bench.lose("request", "POST")
    assert venue.submit(buy()).status is OrderStatus.UNKNOWN
    before = bench.clock()
    assert venue.submit(buy()).status is OrderStatus.FILLED
    assert bench.clock() - before >= pd.Timedelta(seconds=venue.late_seconds - 1)
    assert venue.late_seconds > 5
    assert not venue.ids_forever


def test_an_empty_account_is_never_read_out_of_a_broken_answer(bench: BinanceBench) -> None:
    venue = bench.executor()
    venue.submit(buy())
    for ask in (venue.account, venue.positions, venue.fills, venue.open_orders):
        bench.faults.wanted += [("truncated_json", "GET")] * bench.tries
        with pytest.raises(VenueUnreachable):
            ask()
        assert venue.reachable()
    assert set(venue.positions()) == {"COIN/USD"}


LOST = ["drop_answer", "drop_request", "error_500", "bad_gateway_html", "unavailable", "reset", "truncated_json"]


@pytest.mark.parametrize("fault", LOST)
def test_a_question_whose_answer_is_lost_is_asked_again_and_an_order_is_not(bench: BinanceBench, fault: str) -> None:
    venue = bench.executor()
    began, calls = bench.clock(), bench.faults.calls
    bench.faults.wanted += [(fault, "GET")] * 2
    assert venue.ask("list its balances", venue.exchange.fetch_balance)["total"] == {"USDT": "100000"}
    assert bench.faults.calls == calls + 3
    assert pd.Timedelta("0.75s") <= bench.clock() - began <= pd.Timedelta("2.25s") + pd.Timedelta("1s")
    bench.faults.wanted.append((fault, "POST"))
    assert venue.submit(buy()).status is OrderStatus.UNKNOWN
    assert bench.faults.calls == calls + 5  # looked up, and sent once
    assert len(bench.venue.orders) <= 1


@pytest.mark.parametrize("fault", ["drop_answer", "error_500"])
def test_taking_an_order_back_is_sent_once(bench: BinanceBench, fault: str) -> None:
    venue = bench.executor()
    venue.submit(bench.waiting(buy()))
    calls = bench.faults.calls
    bench.faults.wanted.append((fault, "DELETE"))
    assert venue.cancel(buy().client_id).status is OrderStatus.UNKNOWN
    assert bench.faults.calls == calls + 2  # it is looked up, and taken back


def test_a_silent_exchange_is_asked_three_times_and_then_once_until_it_speaks(bench: BinanceBench) -> None:
    venue, calls = bench.executor(), []
    before = bench.faults.calls
    bench.faults.wanted += [("drop_request", "GET")] * 6
    for _ in range(4):
        with pytest.raises(VenueUnreachable):
            venue.open_orders()
        calls.append(bench.faults.calls - before)
    assert calls == [3, 4, 5, 6]
    assert venue.open_orders() == []
    bench.faults.wanted += [("drop_request", "GET")] * 2
    assert venue.open_orders() == []


def test_too_many_is_waited_for_and_not_asked_three_times_as_often(bench: BinanceBench) -> None:
    venue = bench.executor()
    before = bench.faults.calls
    bench.faults.wanted += [("too_many", "GET")] * 9
    with pytest.raises(VenueUnreachable):
        venue.open_orders()
    assert bench.faults.calls - before == 4


def test_a_clock_that_runs_apart_is_set_and_not_an_error(bench: BinanceBench) -> None:
    venue = bench.executor()
    for hours in (3, 30, 300):
        bench.clock.advance(pd.Timedelta(hours=hours))
        assert venue.account().cash == 100_000
    bench.clock.advance(pd.Timedelta(hours=3))
    assert venue.submit(buy()).status is OrderStatus.FILLED


def test_too_many_requests_are_waited_for_and_sent_once(bench: BinanceBench) -> None:
    venue = bench.executor()
    bench.faults.wanted.append(("too_many", "POST"))
    assert venue.submit(buy()).status is OrderStatus.FILLED
    assert len(bench.venue.orders) == 1


def test_the_fee_is_taken_from_the_coin_and_a_whole_sale_leaves_nothing(bench: BinanceBench) -> None:
    venue = bench.executor()
    venue.submit(buy())
    assert venue.positions()["COIN/USD"].quantity == Decimal("1.998")
    assert venue.positions()["COIN/USD"].entry_price == venue.fills()[0].price
    assert venue.submit(sell()).status is OrderStatus.FILLED
    bought, fee, sold = venue.fills()
    assert (fee.reason, fee.quantity, fee.price, fee.client_id) == ("fee", Decimal("0.002"), 0, "")
    assert (sold.fee > 0, sold.quantity, bought.fee) == (True, Decimal("1.998"), 0)
    assert venue.account().cash == 100_000 + sum(fill.cash_change for fill in venue.fills())
    assert venue.positions() == {}


def test_trades_are_read_from_their_number_on_each_once_after_any_restart(bench: BinanceBench) -> None:
    told, cursor = [], ""
    for number in range(6):
        bench.executor().submit(buy("0.5", f"order-{number}"))
        if number % 2:
            new, cursor = bench.executor().fills_after(cursor)
            told += new
    assert bench.executor().fills_after(cursor) == ([], cursor)
    assert ids(told) == ids(bench.executor().fills())
    assert [fill.client_id for fill in told if fill.side is Side.BUY] == [f"order-{n}" for n in range(6)]
    assert "COIN/USD=" in cursor


def test_parts_add_up_and_a_canceled_rest_stays_away(bench: BinanceBench) -> None:
    venue = bench.executor()
    bench.venue.liquidity = Half(pause=3_600_000_000_000)
    assert venue.submit(bench.waiting(buy("9"))).status is OrderStatus.ACCEPTED
    bench.fill_part()
    gone = venue.cancel(buy().client_id)
    assert gone.status is OrderStatus.CANCELED
    assert gone.filled == sum(fill.quantity for fill in venue.fills() if fill.side is Side.BUY) == 4


def test_opposite_orders_may_stand_and_come_back_as_they_were(bench: BinanceBench) -> None:
    venue = bench.executor()
    venue.submit(buy())
    limit = replace(buy(client_id="low"), order_type=OrderType.LIMIT, limit_price=Decimal("300.5"))
    stop = replace(
        buy("1", "20240326-COINUSD-s-9"),
        side=Side.SELL,
        order_type=OrderType.STOP_LIMIT,
        stop_price=Decimal(250),
        limit_price=Decimal(240),
    )
    assert [venue.submit(order).status for order in (limit, stop)] == [OrderStatus.ACCEPTED] * 2
    back = {order.client_id: order for order in venue.open_orders()}
    assert back == {order.client_id: replace(order, reason="") for order in (limit, stop)}


def test_what_the_exchange_refuses_is_a_rejection_in_its_words(bench: BinanceBench) -> None:
    venue = bench.executor()
    refused = {
        "insufficient balance": buy("10000"),
        "no market": replace(buy(), symbol="XYZ/USD"),
        "NOTIONAL": replace(buy("0.001"), order_type=OrderType.LIMIT, limit_price=Decimal(300)),
        "no COIN/USD is held": sell(),
        "trailing": replace(buy(), order_type=OrderType.TRAILING_STOP, trail_percent=Decimal(5), side=Side.SELL),
    }
    for words, order in refused.items():
        said = venue.submit(order)
        assert said.status is OrderStatus.REJECTED, said
        assert words == "trailing" or words in said.message, said
    assert bench.venue.orders == []


def test_an_error_shows_neither_address_nor_signature_nor_key(bench: BinanceBench) -> None:
    venue = bench.executor()
    bench.lose("answer")
    with pytest.raises(VenueUnreachable) as away:
        venue.account()
    venue.exchange.secret = "wrong-secret"
    with pytest.raises(ExchangeNo, match="Signature") as refused:
        venue.account()
    for error in (away.value, refused.value):
        text = f"{error} {error!r} {error.args}"
        assert not any(word in text for word in ("signature=", "127.0.0.1", "paper-key", "secret"))
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_an_unknown_exchange_is_named_with_its_neighbours() -> None:
    from trading_core.execution import CcxtExecutor

    with pytest.raises(UnknownNameError, match="binance"):
        CcxtExecutor("binanc", "key", "secret")


def test_without_an_address_paper_means_the_sandbox() -> None:
    from trading_core.execution import CcxtExecutor

    venue = CcxtExecutor("binance", "key", "secret")
    assert "testnet" in venue.exchange.urls["api"]["private"]
    assert venue.exchange.enableRateLimit
    assert (venue.paper, venue.journaled, venue.name) == (True, True, "binance")


def test_dollars_of_all_kinds_are_one_but_a_real_name_wins() -> None:
    traded = ["BTC/USDT", "SOL/USD", "SOL/USDT", "ETH/BTC"]
    assert [market_of(symbol, traded) for symbol in ("BTC/USD", "SOL/USD", "ETH/BTC", "X/USD")] == [
        "BTC/USDT",
        "SOL/USD",
        "ETH/BTC",
        "",
    ]
    assert [symbol_of(market, traded) for market in traded] == ["BTC/USD", "SOL/USD", "SOL/USDT", "ETH/BTC"]


def test_several_fees_of_one_trade_are_all_counted() -> None:
    fees = [
        {"currency": "COIN", "cost": "0.001"},
        {"currency": "USDT", "cost": "0.2"},
        {"currency": "BNB", "cost": "0"},
    ]
    trade = {
        "symbol": "COIN/USDT",
        "id": "1",
        "side": "buy",
        "amount": "1",
        "price": "10",
        "timestamp": 0,
        "fees": fees,
    }
    fill, coin = fills_of(trade, "COIN/USD", "x")
    assert (fill.fee, coin.quantity, coin.cash_change) == (Decimal("0.2"), Decimal("0.001"), 0)


# The loopback exchange itself -----------------------------------------------------------------------------------------


def test_an_id_is_unique_among_open_orders_only(bench: BinanceBench) -> None:
    desk = bench.server.desk
    ask = {
        "symbol": "COINUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "quantity": "1",
        "price": "300",
        "newClientOrderId": "a",
    }
    desk.place(ask)
    with pytest.raises(Exception, match="Duplicate order sent"):
        desk.place(ask)
    desk.take_back({"symbol": "COINUSDT", "origClientOrderId": "a"})
    assert desk.place(ask)["orderId"] == 2
    assert desk.find({"symbol": "COINUSDT", "origClientOrderId": "a"}).number == 1


def test_a_page_of_bars_ends_at_a_thousand_and_before_the_present(bench: BinanceBench) -> None:
    bench.clock.advance(pd.Timedelta(days=5))
    bench.venue.step()
    question = {"symbol": "COINUSDT", "interval": "1m", "limit": "5000"}
    rows = klines(bench.server.desk, question)
    assert len(rows) == 1000
    assert rows[-1][6] < bench.clock().value // 1_000_000
    assert [row[0] - rows[0][0] for row in rows[:3]] == [0, 60_000, 120_000]
    first = klines(bench.server.desk, {**question, "startTime": "1711411200000"})
    assert len(first) == 1000


def test_trades_are_told_a_page_at_a_time(bench: BinanceBench) -> None:
    for number in range(5):
        bench.executor().submit(buy("0.5", f"order-{number}"))
    desk = bench.server.desk
    every = my_trades(desk, {"symbol": "COINUSDT"})
    assert [t["id"] for t in my_trades(desk, {"symbol": "COINUSDT", "fromId": str(every[2]["id"])})] == [
        t["id"] for t in every[2:]
    ]
    assert len(my_trades(desk, {"symbol": "COINUSDT", "limit": "2"})) == 2


def test_strangers_and_unknown_paths_are_turned_away(bench: BinanceBench) -> None:
    desk = bench.server.desk
    codes = [
        json.loads(binance_route(desk, method, path, "timestamp=1&signature=x", "paper-key").content)["code"]
        for method, path in (("GET", "/api/v3/account"), ("PUT", "/api/v3/order"), ("POST", "/api/v3/time"))
    ]
    assert codes == [-1022, -1000, -1000]


def test_an_answer_about_another_order_is_no_answer(bench: BinanceBench) -> None:
    venue = bench.executor()
    venue.exchange.create_order = lambda *_: {
        "id": "9",
        "clientOrderId": "somebody-elses",
        "status": "open",
        "filled": "0",
    }
    assert venue.submit(buy()).status is OrderStatus.UNKNOWN


def test_limit_orders_that_must_fill_at_once_are_said_to(bench: BinanceBench) -> None:
    venue = bench.executor()
    order = replace(buy(), order_type=OrderType.LIMIT, limit_price=Decimal(100), time_in_force=TimeInForce.IOC)
    assert venue.submit(order).status in (OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.ACCEPTED)
    assert venue.order(order.client_id).status in (OrderStatus.CANCELED, OrderStatus.EXPIRED)  # type: ignore[union-attr]
    with pytest.raises(VenueError):
        venue.market("XYZ/USD")
