"""The three streams: what alpaca-py's clients see of them, what strangers are told, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgpack
import pandas as pd
import pytest
import websockets.sync.client as ws
from alpaca.data.live import CryptoDataStream, StockDataStream
from alpaca.trading.stream import TradingStream
from websockets.exceptions import ConnectionClosed
from wire import BARS, KEYS, MARKET, fresh, order, wait_for

from trading_core.execution.venue import server as server_module
from trading_core.execution.venue.faults import Faults, Force
from trading_core.execution.venue.server import VenueServer
from trading_core.execution.venue.streams import (
    Bars,
    DataConversation,
    Tape,
    TradeConversation,
    day_so_far,
    encoded,
    heard,
    minute_row,
    minutes_ended,
)
from trading_core.model import AssetClass

AUTH = {"action": "auth", "key": KEYS[0], "secret": KEYS[1]}
AUTHENTICATE = {"action": "authenticate", "data": {"key_id": KEYS[0], "secret_key": KEYS[1]}}
LISTEN = {"action": "listen", "data": {"streams": ["trade_updates"]}}
MINUTE = 60_000_000_000


@pytest.fixture
def server() -> Iterator[VenueServer]:
    with VenueServer(fresh()) as running:
        yield running
    assert running.failures == []


def subscribed(server: VenueServer) -> int:
    talks = [subscriber.talk for subscriber in list(server._subscribers)]
    return sum(getattr(talk, "listening", False) or any(getattr(talk, "wanted", {}).values()) for talk in talks)


@contextmanager
def running(server: VenueServer, stream: Any) -> Iterator[None]:
    "A stream of alpaca-py in a thread, subscribed; stopped in the end, which the closing server hastens."
    before = subscribed(server)
    thread = threading.Thread(target=stream.run, daemon=True)
    thread.start()
    try:
        assert wait_for(lambda: subscribed(server) > before)
        yield
    finally:
        stream._should_run = False
        stream.stop()
        server.stop()
        thread.join(timeout=10)
        assert not thread.is_alive()


def collector() -> tuple[list[Any], Callable[[Any], Any]]:
    seen: list[Any] = []

    async def note(message: Any) -> None:
        seen.append(message)

    return seen, note


def advance(server: VenueServer, to: str) -> None:
    with server.lock:
        server.venue.clock.advance(to)  # type: ignore[attr-defined]


def place(server: VenueServer, client_id: str, **more: str) -> None:
    with server.lock:
        server.venue.submit(order(client_id, **more))


def test_order_updates_reach_alpacas_trading_stream(server: VenueServer) -> None:
    seen, note = collector()
    stream = TradingStream(*KEYS, url_override=server.stream_url)
    stream.subscribe_trade_updates(note)
    with running(server, stream):
        place(server, "a")
        assert wait_for(lambda: len(seen) == 2)
    assert [getattr(update.event, "value", update.event) for update in seen] == ["new", "fill"]
    assert (seen[1].qty, seen[1].position_qty, seen[1].order.client_order_id) == (10, 10, "a")
    assert seen[1].execution_id is not None


def test_shares_reach_alpacas_stock_stream(server: VenueServer) -> None:
    seen, note = collector()
    stream = StockDataStream(*KEYS, url_override=server.stock_stream_url)
    stream.subscribe_trades(note, "ACME")
    stream.subscribe_quotes(note, "ACME")
    stream.subscribe_bars(note, "*")
    stream.subscribe_updated_bars(note, "ACME")
    stream.subscribe_daily_bars(note, "ACME")
    with running(server, stream):
        advance(server, "31s")
        assert wait_for(lambda: len(seen) >= 2)
        advance(server, "60s")
        assert wait_for(lambda: sum(type(one).__name__ == "Bar" for one in seen) >= 3)
    kinds = {type(one).__name__ for one in seen}
    assert kinds == {"Trade", "Quote", "Bar"}
    assert {one.symbol for one in seen} == {"ACME"}
    assert all(one.timestamp <= server.venue.clock() for one in seen)


def test_coins_reach_alpacas_crypto_stream(server: VenueServer) -> None:
    seen, note = collector()
    stream = CryptoDataStream(*KEYS, url_override=server.crypto_stream_url)
    stream.subscribe_quotes(note, "COIN/USD")
    stream.subscribe_daily_bars(note, "COIN/USD")
    with running(server, stream):
        advance(server, "5min")
        assert wait_for(lambda: {type(one).__name__ for one in seen} == {"Quote", "Bar"})
    quote = next(one for one in seen if type(one).__name__ == "Quote")
    assert quote.bid_price < quote.ask_price


def test_it_can_be_unsubscribed(server: VenueServer) -> None:
    seen, note = collector()
    stream = CryptoDataStream(*KEYS, url_override=server.crypto_stream_url)
    stream.subscribe_trades(note, "COIN/USD")
    with running(server, stream):
        assert wait_for(lambda: seen)
        stream.unsubscribe_trades("COIN/USD")
        assert wait_for(lambda: not subscribed(server))
        count = len(seen)
        advance(server, "5min")
        server.publish()
    assert len(seen) == count


def packed(socket: ws.ClientConnection, message: Any = None) -> Any:
    "Say something in msgpack, and hear the answer."
    if message is not None:
        socket.send(msgpack.packb(message))
    return msgpack.unpackb(socket.recv(timeout=5), timestamp=3)


def msgpack_to(url: str, **headers: str) -> ws.ClientConnection:
    return ws.connect(url, additional_headers={"Content-Type": "application/msgpack", **headers}, open_timeout=5)


def test_data_streams_speak_json_to_whoever_does(server: VenueServer) -> None:
    with ws.connect(server.stock_stream_url, open_timeout=5) as socket:
        assert json.loads(socket.recv(timeout=5)) == [{"T": "success", "msg": "connected"}]
        socket.send(json.dumps(AUTH))
        assert json.loads(socket.recv(timeout=5)) == [{"T": "success", "msg": "authenticated"}]
        socket.send(json.dumps({"action": "subscribe", "trades": ["ACME"]}))
        assert json.loads(socket.recv(timeout=5))[0]["trades"] == ["ACME"]
        trade = json.loads(socket.recv(timeout=5))[0]
        assert (trade["T"], trade["t"][:16]) == ("t", "2024-03-28T15:00")


def test_a_wrong_key_is_refused_and_the_connection_closed(server: VenueServer) -> None:
    with msgpack_to(server.stock_stream_url) as socket:
        packed(socket)
        assert packed(socket, {**AUTH, "secret": "guess"}) == [{"T": "error", "code": 402, "msg": "auth failed"}]
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=5)


def test_keys_may_come_in_the_headers(server: VenueServer) -> None:
    keys = {"APCA-API-KEY-ID": KEYS[0], "APCA-API-SECRET-KEY": KEYS[1]}
    with msgpack_to(server.crypto_stream_url, **keys) as socket:
        assert [packed(socket)[0]["msg"], packed(socket)[0]["msg"]] == ["connected", "authenticated"]
        assert packed(socket, AUTH)[0]["code"] == 403


@pytest.mark.parametrize(
    ("said", "code"),
    [({"action": "subscribe", "trades": ["ACME"]}, 401), ({"action": "dance"}, 400), ([1], 400)],
    ids=["too early", "unknown", "no object"],
)
def test_words_out_of_turn_have_numbers(server: VenueServer, said: Any, code: int) -> None:
    with msgpack_to(server.stock_stream_url) as socket:
        packed(socket)
        assert packed(socket, said)[0]["code"] == code
        assert packed(socket, AUTH) == [{"T": "success", "msg": "authenticated"}]


def test_who_does_not_say_who_it_is_is_let_go(server: VenueServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "AUTH_SECONDS", 0.1)
    with msgpack_to(server.stock_stream_url) as socket:
        packed(socket)
        assert packed(socket) == [{"T": "error", "code": 404, "msg": "auth timeout"}]
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=5)


def test_there_is_room_for_so_many_and_no_more() -> None:
    with (
        VenueServer(fresh(), connections=1) as server,
        msgpack_to(server.stock_stream_url) as one,
        msgpack_to(server.stock_stream_url) as two,
    ):
        assert packed(one)[0]["msg"] == "connected"
        assert packed(two)[0]["code"] == 406
        with pytest.raises(ConnectionClosed):
            two.recv(timeout=5)
        assert packed(one, AUTH)[0]["msg"] == "authenticated"


def test_the_order_stream_answers_in_binary_frames_and_refuses_strangers(server: VenueServer) -> None:
    with ws.connect(server.stream_url, open_timeout=5) as socket:
        socket.send(json.dumps(LISTEN))
        refused = socket.recv(timeout=5)
        assert isinstance(refused, bytes)
        assert json.loads(refused)["data"] == {"status": "unauthorized", "action": "listen"}
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=5)


def test_an_unknown_stream_is_not_there(server: VenueServer) -> None:
    with pytest.raises(Exception, match=r"403|404"):
        ws.connect(server.stream_url + "s", open_timeout=5)


def test_a_slow_client_is_let_go(server: VenueServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "WAITING", 3)
    with msgpack_to(server.stock_stream_url) as socket:
        packed(socket)
        packed(socket, AUTH)
        (slow,) = server._subscribers
        loop = server._loop
        assert loop is not None
        loop.call_soon_threadsafe(slow.put, [[{"T": "t"}]] * 10)
        assert packed(socket) == [{"T": "error", "code": 407, "msg": "slow client"}]
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=5)


def updates(server: VenueServer, count: int, during: Callable[[], None], patience: float = 5) -> list[str]:
    "The first `count` events that a client of the order stream is told."
    with ws.connect(server.stream_url, open_timeout=5) as socket:
        for said in (AUTHENTICATE, LISTEN):
            socket.send(json.dumps(said))
            socket.recv(timeout=5)
        during()
        return [json.loads(socket.recv(timeout=patience))["data"]["event"] for _ in range(count)]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("duplicate", ["new", "new", "fill", "new", "fill"]),
        ("reorder", ["fill", "new", "new", "fill"]),
        ("replay", ["new", "fill", "new", "fill"]),
        ("gap", ["fill", "new", "fill"]),
    ],
)
def test_events_go_wrong_on_the_wire_as_they_were_told_to(kind: str, told: list[str]) -> None:
    def trade() -> None:
        place(server, "a")
        place(server, "b")

    with VenueServer(fresh(), Faults(1, {}, [Force(kind)])) as server:
        assert updates(server, len(told), trade) == told


def test_a_silent_stream_stays_connected() -> None:
    with VenueServer(fresh(), Faults(1, {}, [Force("silence")])) as server, pytest.raises(TimeoutError):
        updates(server, 1, lambda: place(server, "a"), patience=0.3)


def test_what_happened_before_a_connection_is_not_told(server: VenueServer) -> None:
    place(server, "early")
    assert wait_for(lambda: server._told == len(server.venue.events))
    assert updates(server, 2, lambda: place(server, "late")) == ["new", "fill"]
    assert [event.order["client_order_id"] for event in server.venue.events] == ["early", "early", "late", "late"]


def test_no_bar_of_a_stream_holds_what_has_not_happened_yet() -> None:
    noon, evening = (pd.Timestamp(f"2024-03-28 {hour}", tz="UTC").value for hour in ("16:00", "20:00"))
    so_far, whole = day_so_far(MARKET, "ACME", noon), day_so_far(MARKET, "ACME", evening)
    assert so_far is not None
    assert whole is not None
    assert [float(price) for price in whole[1:5]] == BARS.loc["2024-03-28", ["open", "high", "low", "close"]].tolist()
    assert so_far[2] < whole[2]
    assert so_far[5] < whole[5]


def test_minutes_add_up_to_the_day() -> None:
    opens, closes = (pd.Timestamp(f"2024-03-28 {hour}", tz="UTC").value for hour in ("13:30", "20:00"))
    rows = [row for begin in range(opens, closes, MINUTE) if (row := minute_row(MARKET, "ACME", begin))]
    day = day_so_far(MARKET, "ACME", closes)
    assert day is not None
    assert len(rows) == 390
    assert (rows[0][1], max(row[2] for row in rows), min(row[3] for row in rows), rows[-1][4]) == day[1:5]
    assert sum(row[5] for row in rows) == pytest.approx(day[5])


def test_a_closed_market_is_silent() -> None:
    tape = Tape(fresh("2024-03-29 15:00"), AssetClass.EQUITY)  # Good Friday
    tape.authenticate(*KEYS)
    tape.hear({"action": "subscribe", "trades": ["*"], "quotes": ["*"], "bars": ["*"], "dailyBars": ["*"]})
    for moment in pd.date_range("2024-03-29 15:00", "2024-04-01 13:00", freq="37min", tz="UTC"):
        assert tape.news([], moment) == []


def test_a_clock_that_jumps_does_not_retell_the_week() -> None:
    assert len(minutes_ended(0, 10_000 * MINUTE)) == 10
    assert list(minutes_ended(5, MINUTE - 1)) == []
    assert list(minutes_ended(5, MINUTE)) == [0]


def test_an_asterisk_means_everything_of_its_kind() -> None:
    coins, shares = (Bars(fresh(), kind) for kind in (AssetClass.CRYPTO, AssetClass.EQUITY))
    for bars in (coins, shares):
        bars.wanted["bars"] = ["*"]
    assert (list(coins.symbols("bars")), list(shares.symbols("bars"))) == (["COIN/USD"], ["ACME"])


def test_subscriptions_are_added_and_taken_away() -> None:
    talk = DataConversation(fresh(), AssetClass.EQUITY)
    talk.authenticate(*KEYS)
    talk.hear({"action": "subscribe", "trades": ["A", "B"], "quotes": ["A"]})
    talk.hear({"action": "subscribe", "trades": ["C", "A"]})
    assert talk.hear({"action": "unsubscribe", "trades": ["B"], "quotes": ["A"]})[0][0]["trades"] == ["C", "A"]
    assert talk.wanted["quotes"] == []


@pytest.mark.parametrize("said", [{"trades": "ACME"}, {"trades": [1]}, {"quotes": {"a": 1}}], ids=str)
def test_a_subscription_that_is_no_list_of_names_changes_nothing(said: dict[str, Any]) -> None:
    talk = DataConversation(fresh(), AssetClass.EQUITY)
    talk.authenticate(*KEYS)
    assert talk.hear({"action": "subscribe", **said})[0][0]["code"] == 400
    assert not any(talk.wanted.values())


def test_the_newer_form_of_authentication_is_understood() -> None:
    talk = TradeConversation(fresh())
    assert talk.hear({"action": "auth", "key": KEYS[0], "secret": KEYS[1]})[0]["data"]["status"] == "authorized"
    assert talk.hear({"action": "listen", "data": {"streams": ["trade_updates", "gossip"]}})[0]["data"] == {
        "streams": ["trade_updates"]
    }
    talk.hear({"action": "listen", "data": {"streams": []}})
    assert not talk.listening


@pytest.mark.parametrize("frame", [b"", b"\xc1", b"[]", "nonsense", b"\x93\x01"], ids=repr)
def test_a_frame_that_is_no_message_is_none(frame: Any) -> None:
    assert heard(frame, packed=True) is None


def test_moments_survive_msgpack_to_the_nanosecond() -> None:
    moment = pd.Timestamp("2024-03-28 15:00:00.123456789", tz="UTC").value
    (told,) = msgpack.unpackb(encoded([{"T": "t", "t": moment}], packed=True))
    assert told["t"].to_unix_nano() == moment


def test_a_stream_that_dies_does_not_take_the_others_along(server: VenueServer) -> None:
    async def vanish() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"GET /stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await reader.read(100)
        writer.transport.abort()

    asyncio.run(vanish())
    assert updates(server, 2, lambda: place(server, "a")) == ["new", "fill"]
