"""The venue over real sockets: unmodified clients, a bad line that is bad for real, and `trading venue` as a process."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.historical import CryptoHistoricalDataClient, StockHistoricalDataClient
from alpaca.data.requests import CryptoBarsRequest, StockBarsRequest, StockLatestQuoteRequest
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import GetOrdersRequest, LimitOrderRequest, MarketOrderRequest
from wire import BARS, HEADERS, KEYS, SHARES, fresh, order, wait_for

from trading_core.execution.venue.faults import CALL_FAULTS, Faults, Force
from trading_core.execution.venue.local import local_session
from trading_core.execution.venue.server import BODY_LIMIT, PortTakenError, VenueServer

PATIENCE = 0.8  # seconds that our clients wait; a busy machine needs some of it


@pytest.fixture
def server() -> Iterator[VenueServer]:
    with VenueServer(fresh()) as running:
        yield running
    assert running.failures == []


def client_of(server: VenueServer) -> TradingClient:
    return TradingClient(*KEYS, url_override=server.url)


def post(server: VenueServer, client_id: str, session: requests.Session | None = None) -> requests.Response:
    asked = (session or requests).post
    return asked(f"{server.url}/v2/orders", json=order(client_id), headers=HEADERS, timeout=PATIENCE)


def test_a_trading_client_trades(server: VenueServer) -> None:
    client = client_of(server)
    sent = client.submit_order(
        MarketOrderRequest(symbol="ACME", qty=10, side="buy", time_in_force="day", client_order_id="a")
    )
    resting = client.submit_order(
        LimitOrderRequest(symbol="ACME", qty=1, side="buy", time_in_force="day", limit_price=20)
    )
    assert str(client.get_order_by_id(sent.id).status) == "OrderStatus.FILLED"
    assert [o.id for o in client.get_orders(GetOrdersRequest(status="open"))] == [resting.id]
    client.cancel_order_by_id(resting.id)
    assert client.get_orders(GetOrdersRequest(status="open")) == []
    assert client.get_open_position("ACME").qty == "10"
    assert [fill["client_order_id"] for fill in [client.get_order_by_client_id("a").model_dump()]] == ["a"]
    assert len(client.get("/account/activities/FILL", {})) == 1
    assert client.get_clock().is_open
    assert len(client.get_calendar()) > 200


def test_data_clients_read_the_bars_of_the_market(server: VenueServer) -> None:
    stocks = StockHistoricalDataClient(*KEYS, url_override=server.url)
    coins = CryptoHistoricalDataClient(*KEYS, url_override=server.url)
    start = BARS.index[0].to_pydatetime()
    shares = stocks.get_stock_bars(
        StockBarsRequest(symbol_or_symbols="ACME", timeframe=TimeFrame.Day, start=start, feed="iex")
    )
    assert shares.df["close"].tolist()[:-1] == SHARES["close"].tolist()[: len(shares.df) - 1]
    hours = coins.get_crypto_bars(
        CryptoBarsRequest(symbol_or_symbols="COIN/USD", timeframe=TimeFrame.Hour, start=start)
    )
    assert len(hours.df) > 150
    quote = stocks.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="ACME"))["ACME"]
    assert quote.bid_price < quote.ask_price


def test_no_bar_holds_what_has_not_happened_yet(server: VenueServer) -> None:
    stocks = StockHistoricalDataClient(*KEYS, url_override=server.url)
    asked = {"symbol_or_symbols": "ACME", "start": BARS.index[0].to_pydatetime(), "feed": "iex"}
    for frame in (TimeFrame.Day, TimeFrame.Hour, TimeFrame.Minute):
        last = stocks.get_stock_bars(StockBarsRequest(timeframe=frame, **asked)).df.index[-1][1]
        assert last <= server.venue.clock()


@pytest.mark.parametrize(("keys", "status"), [({}, 401), ({**HEADERS, "APCA-API-SECRET-KEY": "guess"}, 403)])
def test_whoever_has_no_key_is_turned_away(server: VenueServer, keys: dict[str, str], status: int) -> None:
    for method, path in (("GET", "/v2/account"), ("POST", "/v2/orders"), ("GET", "/"), ("GET", "/v2/stocks/bars")):
        answer = requests.request(method, f"{server.url}{path}", headers=keys, timeout=5)
        assert answer.status_code == status
        assert KEYS[1] not in answer.text


def test_it_can_be_reached_from_this_machine_only(server: VenueServer) -> None:
    assert server.url.startswith("http://127.0.0.1:")
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in others:
        with pytest.raises(OSError, match=r"refused|unreachable|timed out"):
            socket.create_connection((str(address), server.port), timeout=0.5).close()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        ('{"qty": NaN}', 400),
        ("[1, 2]", 422),
        ('"text"', 422),
        ("{}", 422),
        ("\xff", 400),
        ("[" * 50_000, 400),
    ],
    ids=["half", "not a number", "a list", "a text", "empty", "not utf-8", "too deep"],
)
def test_a_body_that_is_no_order_is_answered(server: VenueServer, body: str, status: int) -> None:
    answer = requests.post(f"{server.url}/v2/orders", data=body.encode("latin-1"), headers=HEADERS, timeout=5)
    assert answer.status_code == status
    assert answer.json()["code"] >= 40000000
    assert not server.venue.orders


def test_a_body_beyond_the_limit_is_refused_and_the_venue_goes_on(server: VenueServer) -> None:
    long = b'{"symbol": "' + b"A" * BODY_LIMIT + b'"}'
    assert requests.post(f"{server.url}/v2/orders", data=long, headers=HEADERS, timeout=5).status_code == 413
    parts = (b" " * 65_536 for _ in range(40))  # no Content-Length
    assert requests.post(f"{server.url}/v2/orders", data=parts, headers=HEADERS, timeout=5).status_code == 413
    assert post(server, "a").status_code == 200


def test_an_unknown_path_is_not_found(server: VenueServer) -> None:
    answer = requests.get(f"{server.url}/v2/nothing", headers=HEADERS, timeout=5)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/json; charset=UTF-8")


def test_the_date_is_the_venues(server: VenueServer) -> None:
    assert "28 Mar 2024" in requests.get(f"{server.url}/v2/clock", headers=HEADERS, timeout=5).headers["Date"]


def test_a_mistake_of_the_venue_is_answered_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    running = VenueServer(fresh())
    with running:
        monkeypatch.setattr(running._line, "carry", lambda call: 1 / 0)
        assert requests.get(f"{running.url}/v2/clock", headers=HEADERS, timeout=5).status_code == 500
    assert [type(error) for error in running.failures] == [ZeroDivisionError]


@pytest.mark.parametrize("kind", sorted(CALL_FAULTS))
@pytest.mark.parametrize("arrives", [True, False])
def test_each_fault_looks_over_sockets_as_it_does_in_process(kind: str, arrives: bool) -> None:
    def seen(session: requests.Session, url: str) -> list[str]:
        told = []
        for call in (lambda: session.post(f"{url}/v2/orders", json=order("a"), headers=HEADERS, timeout=PATIENCE),
                     lambda: session.get(f"{url}/v2/orders:by_client_order_id", params={"client_order_id": "a"}, headers=HEADERS, timeout=5)):  # fmt: skip
            try:
                answer = call()
                answer.json()
                told.append(str(answer.status_code))
            except requests.RequestException as error:
                told.append(type(error).__name__)
        return told

    script = [Force(kind, method="POST", arrives=arrives, after=1)]
    with VenueServer(fresh(), Faults(1, {}, script)) as running:
        over_sockets = seen(requests.Session(), running.url)
    assert over_sockets == seen(local_session(fresh(), Faults(1, {}, script)), "http://venue")


def test_a_schedule_over_sockets_is_the_schedule_in_process() -> None:
    rates = dict.fromkeys(("reset", "error_500", "bad_gateway_html", "too_many", "drop_answer", "delay"), 0.08)
    one, two = fresh(), fresh()

    def story(session: requests.Session, url: str) -> list[str]:
        told = []
        for n in range(30):
            try:
                told.append(
                    str(session.post(f"{url}/v2/orders", json=order(f"{n}"), headers=HEADERS, timeout=0.6).status_code)
                )
            except requests.RequestException as error:
                told.append(type(error).__name__)
        return told

    with VenueServer(one, Faults(9, rates)) as running:
        over_sockets = story(requests.Session(), running.url)
    assert over_sockets == story(local_session(two, Faults(9, rates)), "http://venue")
    assert sorted(one.by_client) == sorted(two.by_client)
    assert len(Counter(over_sockets)) > 3


def test_a_client_without_a_time_out_is_let_go_after_a_while() -> None:
    with VenueServer(fresh(), Faults(1, {}, [Force("drop_answer")]), patience=0.3) as running:
        began = time.monotonic()
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{running.url}/v2/account", headers=HEADERS, timeout=30)
        assert time.monotonic() - began < 5


def test_many_clients_at_once_get_one_order_each(server: VenueServer) -> None:
    def buy(number: int) -> None:
        for n in range(5):
            assert post(server, f"{number}-{n}").status_code == 200

    threads = [threading.Thread(target=buy, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert len(server.venue.orders) == 30


def test_a_port_that_is_taken_is_told(server: VenueServer) -> None:
    with pytest.raises(PortTakenError, match=rf"port {server.port} .*--port"):
        VenueServer(fresh(), port=server.port).start()


def test_it_stops_while_a_client_still_waits() -> None:
    running = VenueServer(fresh(), Faults(1, {}, [Force("drop_answer")]), patience=30).start()
    failed: list[Exception] = []

    def ask() -> None:
        try:
            requests.get(f"{running.url}/v2/account", headers=HEADERS, timeout=20)
        except requests.RequestException as error:
            failed.append(error)

    waiting = threading.Thread(target=ask)
    waiting.start()
    assert wait_for(lambda: running.faults and running.faults.calls)
    began = time.monotonic()
    running.stop()
    waiting.join(timeout=10)
    assert len(failed) == 1
    assert time.monotonic() - began < 6
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{running.url}/v2/account", headers=HEADERS, timeout=1)


def test_an_answer_takes_milliseconds_and_not_a_delayed_acknowledgement(server: VenueServer) -> None:
    session = requests.Session()
    taken = []
    for _ in range(20):
        began = time.perf_counter()
        session.get(f"{server.url}/v2/account", headers=HEADERS, timeout=5)
        taken.append(time.perf_counter() - began)
    assert min(taken) < 0.03  # 40 ms and more with Nagle's algorithm at work


PROGRAM = "from trading_core.cli import main; main()"


def start(folder: Path, *options: str, stdout: int = subprocess.PIPE, **environment: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TRADING_", "ALPACA_"))}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "venue", "--port", "0", "--set", "market.symbols=AXOR, BTC/USD", *options],
        cwd=folder, env=clean | environment, stdout=stdout, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str], number: int) -> tuple[int, str, str]:
    process.send_signal(number)
    try:
        said, wrong = process.communicate(timeout=20)
    finally:
        process.kill()
    return process.returncode, said, wrong


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_the_command_serves_until_it_is_ended(tmp_path: Path, number: int) -> None:
    process = start(tmp_path, "--from", "2024-03-28T15:00", "--speed", "60")
    assert process.stdout is not None
    given = dict(process.stdout.readline().strip().removeprefix("export ").split("=", 1) for _ in range(4))
    client = TradingClient(
        given["ALPACA_API_KEY"], given["ALPACA_SECRET_KEY"], url_override=given["TRADING_EXECUTION__URL"]
    )
    client.submit_order(MarketOrderRequest(symbol="BTC/USD", qty=0.1, side="buy", time_in_force="gtc"))
    assert client.get_all_positions()[0].symbol == "BTCUSD"
    with pytest.raises(APIError):
        TradingClient("guess", "guess", url_override=given["TRADING_EXECUTION__URL"]).get_account()
    code, said, wrong = ended(process, number)
    assert (code, wrong) == (0, "")
    assert said.endswith("The venue is closed.\n")
    assert given["ALPACA_SECRET_KEY"] not in said
    assert given["TRADING_EXECUTION__EXECUTOR"] == "alpaca"


def test_keys_of_the_environment_are_used_and_never_shown(tmp_path: Path) -> None:
    process = start(tmp_path, ALPACA_API_KEY="canary-key", ALPACA_SECRET_KEY="canary-secret")
    assert process.stdout is not None
    head = [process.stdout.readline() for _ in range(4)]
    url = re.search(r"http://\S+", "".join(head))
    assert url is not None
    answer = requests.get(
        f"{url[0]}/v2/account",
        headers={"APCA-API-KEY-ID": "canary-key", "APCA-API-SECRET-KEY": "canary-secret"},
        timeout=5,
    )
    assert answer.status_code == 200
    code, said, wrong = ended(process, signal.SIGTERM)
    assert code == 0
    assert "canary" not in "".join([*head, said, wrong])


def test_without_a_beginning_the_simulated_market_is_in_the_present(tmp_path: Path) -> None:
    process = start(tmp_path)
    assert process.stdout is not None
    line = [process.stdout.readline() for _ in range(5)][-1]
    ended(process, signal.SIGTERM)
    assert line.startswith(time.strftime("%Y-%m-%d", time.gmtime()))


@pytest.mark.parametrize(
    ("options", "words"),
    [(("--from", "tomorrow morning"), "--from needs"), (("--faults", "1", "-p", "gapp=1"), "Did you mean"),
     (("-p", "gap=1"), "--faults"), (("--faults", "1", "-p", "gap=often"), "drop_answer=0.2")],
    ids=["beginning", "unknown fault", "no seed", "no rate"],
)  # fmt: skip
def test_a_slip_in_the_command_is_told(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    process = start(tmp_path, *options)
    try:
        said, wrong = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, said) == (2, "")
    assert words in wrong


def test_the_command_misbehaves_as_it_is_told(tmp_path: Path) -> None:
    process = start(
        tmp_path, "--faults", "1", "-p", "unavailable=1", **{"ALPACA_API_KEY": "k", "ALPACA_SECRET_KEY": "s"}
    )
    assert process.stdout is not None
    url = re.search(r"http://\S+", "".join(process.stdout.readline() for _ in range(4)))
    assert url is not None
    answer = requests.get(
        f"{url[0]}/v2/account", headers={"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}, timeout=5
    )
    code, _, wrong = ended(process, signal.SIGTERM)
    assert (answer.status_code, code, wrong) == (503, 0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal needs a Unix")
def test_in_a_terminal_one_line_shows_where_the_market_is(tmp_path: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    process = start(tmp_path, "--from", "2024-03-28T15:00", "--speed", "60", stdout=theirs)
    os.close(theirs)
    text = b""
    while text.count(b"New York open until Thu 20:00") < 2:
        text += os.read(ours, 4096)
    code, _, wrong = ended(process, signal.SIGINT)
    text += os.read(ours, 4096)
    os.close(ours)
    assert text.count(b"\r\x1b[K2024-03-28 15:0") >= 2
    assert text.endswith(b"\r\nThe venue is closed.\r\n")
    assert (code, wrong) == (0, "")
