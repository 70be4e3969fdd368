"""What went wrong for others at Alpaca: each incident, and what becomes of it here."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from decimal import Decimal

import pandas as pd
import pytest
from benches import Half, LocalBench, ids

from trading_core.execution import VenueUnreachable
from trading_core.execution.alpaca import AlpacaExecutor
from trading_core.execution.alpaca_line import ClearNo
from trading_core.model import OrderRequest, OrderStatus, OrderType, Side, TimeInForce


def buy(symbol: str = "ACME", quantity: str = "2", client_id: str = "order-1", **more: object) -> OrderRequest:
    return OrderRequest(client_id, symbol, Side.BUY, Decimal(quantity), **more)  # type: ignore[arg-type]


def sell(symbol: str = "ACME", quantity: str = "2", client_id: str = "order-2", **more: object) -> OrderRequest:
    return replace(buy(symbol, quantity, client_id, **more), side=Side.SELL)


def posts(bench: LocalBench) -> int:
    return sum(1 for order in bench.venue.orders)


# Orders ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop_answer", "error_500", "bad_gateway_html", "accepted_504", "truncated_json"])
def test_an_order_that_arrived_without_an_answer_is_unknown_then_found_and_never_doubled(fault: str) -> None:
    bench = LocalBench()
    venue = bench.executor()
    bench.faults.wanted.append((fault, "POST"))
    said = venue.submit(buy())
    assert said.status is OrderStatus.UNKNOWN
    again = bench.executor().submit(buy())
    assert again.status is OrderStatus.ACCEPTED
    assert [order.client_id for order in bench.venue.orders] == ["order-1"]


@pytest.mark.parametrize("fault", ["drop_request", "unavailable", "reset"])
def test_an_order_that_may_not_have_arrived_is_unknown_and_not_rejected(fault: str) -> None:
    bench = LocalBench()
    bench.faults.wanted.append((fault, "POST"))
    assert bench.executor().submit(buy()).status is OrderStatus.UNKNOWN
    assert bench.executor().submit(buy()).status is OrderStatus.ACCEPTED
    assert posts(bench) == 1


def test_a_time_out_does_not_repeat_the_order() -> None:
    bench = LocalBench()
    bench.faults.wanted.append(("accepted_504", "POST"))
    bench.executor().submit(buy())
    assert bench.faults.calls == 1  # alpaca-py would have sent it four times


def test_too_many_requests_are_waited_for_as_told_and_the_order_goes_out_once() -> None:
    bench = LocalBench()
    bench.faults.wanted += [("too_many", "POST"), ("too_many", "POST")]
    before = bench.clock()
    assert bench.executor().submit(buy()).status is OrderStatus.ACCEPTED
    assert posts(bench) == 1
    assert bench.clock() - before == pd.Timedelta(seconds=2)  # Retry-After: 1, twice


def test_the_rate_limit_of_the_venue_is_never_hit_twice_in_a_row() -> None:
    bench = LocalBench()
    bench.venue.rate_limit = 10
    venue = bench.executor()
    for number in range(30):
        assert venue.submit(buy(client_id=f"order-{number}", quantity="0.1")).status is OrderStatus.ACCEPTED
    assert posts(bench) == 30


def test_an_unconfirmed_order_that_fills_later_is_found_filled() -> None:
    bench = LocalBench()
    venue = bench.executor()
    bench.lose("answer", "POST")
    assert venue.submit(buy()).status is OrderStatus.UNKNOWN
    bench.next_day()
    found = venue.order("order-1")
    assert found is not None
    assert (found.status, found.filled) == (OrderStatus.FILLED, 2)


def test_a_canceled_id_stays_taken() -> None:
    bench = LocalBench()
    venue = bench.executor()
    venue.submit(buy())
    venue.cancel("order-1")
    assert venue.submit(buy()).status is OrderStatus.CANCELED
    assert posts(bench) == 1


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (buy(quantity="100000"), "insufficient buying power"),
        (buy("COIN/USD", "0.0001", limit_price=Decimal(100), order_type=OrderType.LIMIT), "minimal amount"),
        (sell(quantity="1"), "insufficient qty"),
        (buy("NOPE"), "not found"),
        (buy(client_id="x" * 49), "49 characters"),
    ],
    ids=["too expensive", "too small", "not held", "unknown", "long id"],
)
def test_a_clear_refusal_is_a_rejection_with_the_venues_words(order: OrderRequest, words: str) -> None:
    said = LocalBench().executor().submit(order)
    assert said.status is OrderStatus.REJECTED
    assert words in said.message


def test_an_opposite_order_is_a_rejection_and_the_first_one_stands() -> None:
    bench = LocalBench()
    venue = bench.executor()
    venue.submit(buy())
    bench.next_day()
    venue.submit(sell(order_type=OrderType.LIMIT, limit_price=Decimal(90), time_in_force=TimeInForce.DAY))
    washed = venue.submit(buy(client_id="order-3"))
    assert washed.status is OrderStatus.REJECTED
    assert "wash trade" in washed.message
    assert [order.client_id for order in venue.open_orders()] == ["order-2"]


def test_orders_for_a_closed_market_wait_for_its_open_and_coins_do_not() -> None:
    bench = LocalBench()
    venue = bench.executor()
    assert venue.submit(buy()).status is OrderStatus.ACCEPTED
    coin = venue.submit(buy("COIN/USD", "1", "order-2"))
    bench.venue.step()
    assert coin.status.open
    assert venue.order("order-2").status is OrderStatus.FILLED  # type: ignore[union-attr]
    assert [order.client_id for order in venue.open_orders()] == ["order-1"]


def test_prices_go_out_in_ticks_and_never_worse_than_asked() -> None:
    bench = LocalBench()
    venue = bench.executor()
    venue.submit(buy(order_type=OrderType.LIMIT, limit_price=Decimal("48.12789")))
    venue.submit(buy("COIN/USD", "1", "order-2", order_type=OrderType.LIMIT, limit_price=Decimal("350.123456789")))
    share, coin = venue.open_orders()
    assert share.limit_price == Decimal("48.12")
    assert coin.limit_price is not None
    assert Decimal("350.12") <= coin.limit_price <= Decimal("350.123456789")
    assert (share.time_in_force, coin.time_in_force) == (TimeInForce.DAY, TimeInForce.GTC)


# Fills and positions --------------------------------------------------------------------------------------------------


def test_fills_in_parts_are_increments_and_add_up_to_the_order() -> None:
    bench = LocalBench()
    venue = bench.executor()
    venue.submit(buy(quantity="9"))
    bench.fill_part()
    part, cursor = venue.fills_after("")
    bench.next_day()
    rest, _ = bench.executor().fills_after(cursor)
    assert [str(fill.quantity) for fill in [*part, *rest]] == ["4", "5"]
    assert venue.positions()["ACME"].quantity == 9


def test_a_restart_counts_nothing_twice() -> None:
    bench = LocalBench()
    venue = bench.executor()
    venue.submit(buy())
    venue.submit(buy("COIN/USD", "1", "order-2"))
    bench.next_day()
    fills, cursor = venue.fills_after("")
    for _ in range(3):
        assert bench.executor().fills_after(cursor) == ([], cursor)
    assert ids(bench.executor().fills()) == ids(fills)
    assert {s: p.quantity for s, p in bench.executor().positions().items()} == {
        "ACME": Decimal(2),
        "COIN/USD": Decimal("0.9975"),
    }


def test_hundreds_of_fills_are_read_page_by_page_each_once() -> None:
    bench = LocalBench()
    bench.venue.rate_limit = None
    venue = bench.executor()
    seen, cursor = [], ""
    for number in range(260):
        venue.submit(buy("COIN/USD", "0.01", f"order-{number}"))
        bench.clock.advance(pd.Timedelta(seconds=0 if number % 3 else 400))
        if number % 90 == 0:
            new, cursor = bench.executor().fills_after(cursor)
            seen += new
    new, cursor = bench.executor().fills_after(cursor)
    told = ids([*seen, *new])
    assert len(told) == len(set(told)) == len(bench.venue.activities) == 520  # each with a fee in coin
    assert told == ids(venue.fills())


def test_a_whole_sale_leaves_no_dust_at_the_ninth_decimal() -> None:
    bench = LocalBench()
    venue = bench.executor()
    venue.submit(buy("COIN/USD", "0.123456789"))
    bench.next_day()
    held = venue.positions()["COIN/USD"].quantity
    assert held == Decimal("0.123456789") - Decimal("0.000308642")  # the fee was taken from the coin
    venue.submit(sell("COIN/USD", "0.123456789", whole=True))
    bench.next_day()
    assert venue.positions() == {}
    fills = venue.fills()
    assert sum(f.quantity if f.side is Side.BUY else -f.quantity for f in fills) == 0
    assert venue.account().cash == Decimal(100_000) + sum(fill.cash_change for fill in fills)


def test_a_sale_of_all_leaves_to_other_orders_what_they_will_sell() -> None:
    bench = LocalBench()
    venue = bench.executor()
    venue.submit(buy(quantity="5"))
    bench.next_day()
    venue.submit(sell(quantity="2", order_type=OrderType.STOP, stop_price=Decimal(30)))
    said = venue.submit(sell(quantity="5", client_id="order-3", whole=True))
    assert said.status is OrderStatus.ACCEPTED
    assert {o.client_id: str(o.quantity) for o in venue.open_orders()} == {"order-2": "2", "order-3": "3"}


def test_a_stop_on_whole_shares_is_still_there_tomorrow() -> None:
    bench = LocalBench()
    venue = bench.executor()
    venue.submit(buy(quantity="3"))
    bench.next_day()
    venue.submit(sell(quantity="3", order_type=OrderType.STOP, stop_price=Decimal(30)))
    for _ in range(3):
        bench.next_day()
    assert [order.client_id for order in venue.open_orders()] == ["order-2"]


def test_a_part_that_filled_before_the_rest_was_canceled_stays_and_is_sold_whole() -> None:
    bench = LocalBench()
    bench.venue.liquidity = Half()
    venue = bench.executor()
    venue.submit(buy(quantity="9"))
    bench.fill_part()
    gone = venue.cancel("order-1")
    assert (gone.status, gone.filled) == (OrderStatus.CANCELED, 4)
    bench.venue.liquidity = None
    assert venue.submit(sell(quantity="9", whole=True)).status.open
    bench.next_day()
    assert venue.positions() == {}


# The line -------------------------------------------------------------------------------------------------------------


@contextmanager
def silent_server() -> Iterator[str]:
    "A port that takes connections and never says a word."
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        open_lines: list[socket.socket] = []

        def take() -> None:
            try:
                while True:
                    open_lines.append(server.accept()[0])
            except OSError:
                pass

        threading.Thread(target=take, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for line in open_lines:
            line.close()


def test_a_venue_that_hangs_does_not_hang_us() -> None:
    with silent_server() as url:
        venue = AlpacaExecutor("key", "secret", url=url, timeout=0.2)
        began = time.monotonic()
        with pytest.raises(VenueUnreachable, match=r"no answer within 0\.2 seconds"):
            venue.account()
        assert venue.submit(buy()).status is OrderStatus.UNKNOWN
        assert not venue.reachable()
        assert time.monotonic() - began < 5


LOST = ["drop_answer", "drop_request", "error_500", "bad_gateway_html", "unavailable", "reset", "truncated_json"]


@pytest.mark.parametrize("fault", LOST)
def test_a_question_whose_answer_is_lost_is_asked_again_and_an_order_is_not(fault: str) -> None:
    bench = LocalBench()
    venue, began = bench.executor(), bench.clock()
    bench.faults.wanted += [(fault, "GET")] * 2
    assert venue.account().cash == 100_000
    assert bench.faults.calls == 3
    assert pd.Timedelta("0.75s") <= bench.clock() - began <= pd.Timedelta("2.25s")
    bench.faults.wanted += [(fault, "POST")]
    assert venue.submit(buy()).status is OrderStatus.UNKNOWN
    assert bench.faults.calls == 4
    bench.faults.wanted += [(fault, "GET")]
    venue.order("order-1")
    assert bench.faults.calls == 6  # after a lost order, questions are still asked again


@pytest.mark.parametrize("fault", ["drop_answer", "error_500"])
def test_taking_an_order_back_is_sent_once(fault: str) -> None:
    bench = LocalBench()
    venue = bench.executor()
    venue.submit(buy())
    calls = bench.faults.calls
    bench.faults.wanted.append((fault, "DELETE"))
    assert venue.cancel("order-1").status is OrderStatus.UNKNOWN
    assert bench.faults.calls == calls + 2  # it is looked up, and taken back


def test_a_silent_venue_is_asked_three_times_and_then_once_until_it_speaks() -> None:
    bench = LocalBench()
    venue, began, calls = bench.executor(), bench.clock(), []
    bench.faults.wanted += [("drop_request", "GET")] * 6
    for _ in range(4):
        with pytest.raises(VenueUnreachable):
            venue.account()
        calls.append(bench.faults.calls)
    assert calls == [3, 4, 5, 6]
    assert bench.clock() - began <= pd.Timedelta("2.25s")
    assert venue.account().cash == 100_000
    bench.faults.wanted += [("drop_request", "GET")] * 2
    assert venue.account().cash == 100_000


def test_a_refusal_is_not_asked_again() -> None:
    bench = LocalBench()
    assert bench.executor().order("nobody's") is None
    assert bench.faults.calls == 1


def test_nobody_at_the_door_is_unreachable_and_says_so_without_an_address() -> None:
    venue = AlpacaExecutor("key", "secret", url="http://127.0.0.1:9", timeout=0.5)
    with pytest.raises(VenueUnreachable) as away:
        venue.positions()
    assert "No new order is sent" in str(away.value)
    assert "127.0.0.1" not in str(away.value)


def test_a_wrong_key_is_a_clear_no_and_is_not_repeated_to_the_reader() -> None:
    bench = LocalBench()
    right = bench.executor()
    wrong = AlpacaExecutor("AKIAWRONGKEY", "s3cr3t", url="http://venue", session=right.line.session.session)
    with pytest.raises(ClearNo, match=r"forbidden|not authorized") as refused:
        wrong.account()
    assert "Check ALPACA_API_KEY and ALPACA_SECRET_KEY" in str(refused.value)
    for text in (str(refused.value), repr(refused.value), repr(wrong), repr(vars(refused.value))):
        assert "AKIAWRONGKEY" not in text
        assert "s3cr3t" not in text


def test_a_wrong_key_is_no_missing_price() -> None:
    bench = LocalBench()
    wrong = AlpacaExecutor("AKIAWRONGKEY", "s3cr3t", url="http://venue", session=bench.executor().line.session.session)
    with pytest.raises(ClearNo, match="forbidden"):
        wrong.quotes(["ACME", "COIN/USD"])


def test_quotes_tell_when_they_were_made_and_skip_what_is_not_known() -> None:
    bench = LocalBench()
    quotes = bench.executor().quotes(["ACME", "COIN/USD", "NOPE"])
    assert set(quotes) == {"ACME", "COIN/USD"}
    assert quotes["ACME"].moment <= pd.Timestamp("2024-03-25 20:00", tz="UTC")  # the last trade, not now
    assert quotes["COIN/USD"].moment.date() == bench.clock().date()


def test_assets_have_the_venues_lots_and_strangers_are_left_out() -> None:
    assets = LocalBench().executor().assets(["ACME", "COIN/USD", "NOPE"])
    assert {symbol: asset.lot > 0 for symbol, asset in assets.items()} == {"ACME": True, "COIN/USD": True}
