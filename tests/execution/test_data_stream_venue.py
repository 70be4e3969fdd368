"""`PriceStream` and alpaca-py's own client against the streams of the embedded venue, on a good line and on a bad one."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from alpaca.data.live import CryptoDataStream, StockDataStream
from wire import KEYS, MARKET, fresh, wait_for

from trading_core.data.alpaca_bars import AlpacaBars, AlpacaSaidNoError
from trading_core.data.sources import NoBarsError
from trading_core.data.stream import PriceStream, archive_of
from trading_core.data.stream_words import BidAsk, MinuteBar, StreamRefusedError, Trade
from trading_core.execution.venue.faults import PRICE_FAULTS, Faults, Force, PriceLine
from trading_core.execution.venue.server import VenueServer
from trading_core.execution.venue.streams import minute_row

MINUTE = pd.Timedelta(1, "min")


def let_run(server: VenueServer, minutes: int, pause: float = 0.12) -> None:
    "Let minutes pass at the venue, a beat or two of its heart for each."
    for _ in range(minutes):
        with server.lock:
            server.venue.clock.advance(MINUTE)  # type: ignore[attr-defined]
        time.sleep(pause)


def truth(symbol: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    "The venue's minutes, labelled by their ends."
    ends = pd.date_range(start.floor("min") + MINUTE, end.floor("min"), freq="1min")
    rows = [minute_row(MARKET, symbol, (moment - MINUTE).value) for moment in ends]
    table = [[float(value) for value in row[1:]] for row in rows if row]
    return pd.DataFrame(table, ends[: len(table)], ["open", "high", "low", "close", "volume"])


@contextmanager
def heard_from(
    server: VenueServer, symbols: list[str], *kinds: str, **options: Any
) -> Iterator[tuple[PriceStream, list[Any]]]:
    heard: list[Any] = []
    options = {"url": server.url, "clock": server.venue.clock, "pause": 0.01} | options
    with PriceStream(*KEYS, **options).subscribe(symbols, *kinds) as stream:
        stream.listen(heard.append)
        assert stream.wait()
        yield stream, heard
    assert not [thread for thread in threading.enumerate() if thread.name in ("stream", "stream callbacks")]


def test_shares_and_coins_are_heard_as_the_market_has_them() -> None:
    with VenueServer(fresh()) as server, heard_from(server, ["ACME", "COIN/USD"]) as (stream, heard):
        let_run(server, 6)
        assert wait_for(lambda: {type(one) for one in heard} == {Trade, BidAsk, MinuteBar})
        assert wait_for(lambda: {one.symbol for one in heard} == {"ACME", "COIN/USD"})
        table = stream.latest()
    bars = [one for one in heard if type(one) is MinuteBar and one.symbol == "ACME"]
    for one in bars:
        row = minute_row(MARKET, "ACME", (one.time - MINUTE).value)
        assert row is not None
        assert (one.open, one.close) == (float(row[1]), float(row[4]))
        assert one.time == one.time.floor("min")
    trades = [one for one in heard if type(one) is Trade]
    assert all(one.price == float(MARKET.price(one.symbol, one.time) or 0) for one in trades)
    assert (table["price"] > 0).all()
    assert server.failures == []


def test_bars_arrive_when_they_are_over_and_carry_the_end_of_their_minute() -> None:
    with VenueServer(fresh()) as server, heard_from(server, ["COIN/USD"], "bars") as (_, heard):
        let_run(server, 3)
        assert wait_for(lambda: len(heard) >= 3)
        now = server.venue.clock()
    assert [one.time for one in heard[:3]] == [pd.Timestamp(f"2024-03-28 15:0{n}", tz="UTC") for n in (1, 2, 3)]
    assert all(one.time <= now for one in heard)


def test_a_bad_key_ends_with_a_sentence() -> None:
    with VenueServer(fresh()) as server:
        stream = PriceStream(KEYS[0], "guess", url=server.url).subscribe(["ACME", "COIN/USD"]).start()
        with pytest.raises(StreamRefusedError, match="402 auth failed"):
            stream.wait()
        assert wait_for(lambda: not stream.running)
        assert "guess" not in str(stream.error) + repr(stream)


@pytest.mark.parametrize("kind", PRICE_FAULTS)
def test_every_fault_of_a_stream_is_survived_and_no_bar_is_missed_or_told_twice(kind: str) -> None:
    faults = Faults(1, {}, [Force(kind, nth=3), Force(kind, nth=6)])
    with VenueServer(fresh(), faults) as server:
        stale = 0.4 if kind == "price_silence" else 20.0  # a busy machine is silent for longer than a moment
        with heard_from(server, ["COIN/USD"], "bars", repair=truth, stale=stale) as (stream, heard):
            stream._mender._again = 0.3
            let_run(server, 10)
            faults.quiet()
            assert wait_for(stream.wait)
            let_run(server, 3)
            last = server.venue.clock().floor("min")
            assert wait_for(lambda: any(one.time == last for one in heard))
            expected = list(pd.date_range("2024-03-28 15:01Z", last, freq="1min"))
            assert wait_for(lambda: sorted(one.time for one in heard) == expected)
            stats = stream.stats()
        assert server.failures == []
    broke = kind in ("price_cut", "price_half", "price_silence")
    assert (stats.reconnects > 0) == broke
    assert (stats.silent > 0) >= (kind == "price_silence")
    assert (stats.refused > 0) == (kind == "price_tomorrow")
    assert stats.duplicates >= 2 * (kind == "price_duplicate")
    assert (stats.repaired > 0) >= (broke or kind == "price_gap")


def test_alpacas_bars_mend_alpacas_stream() -> None:
    faults = Faults(1, {}, [Force("price_cut", nth=4)])
    with VenueServer(fresh(), faults) as server, heard_from(server, ["ACME"], "bars") as (stream, heard):
        stream._mender._again = 0.3  # nobody said where missed bars are: where it streams
        let_run(server, 9)
        assert wait_for(stream.wait)
        assert wait_for(lambda: len(heard) >= 9)
        stats = stream.stats()
    assert [one.time.minute for one in sorted(heard, key=lambda one: one.nanos)] == list(range(1, len(heard) + 1))
    assert (stats.repaired > 0, stats.unrepaired) == (True, 0)
    mended = next(one for one in heard if one.how == "repaired")
    row = minute_row(MARKET, "ACME", (mended.time - MINUTE).value)
    assert row is not None
    assert [mended.open, mended.high, mended.low, mended.close] == pytest.approx([float(value) for value in row[1:5]])


def test_bars_of_the_delayed_feed_are_fetched_where_the_past_of_all_the_market_is() -> None:
    with VenueServer(fresh()) as server:
        clock = server.venue.clock
        archive = archive_of(*KEYS, server.url, "delayed_sip", clock)
        many = archive.bars_many(["ACME", "COIN/USD"], "2024-03-28", "2024-03-28", "1m")  # type: ignore[attr-defined]
        assert many.failed == {}
        assert many.bars["ACME"].index[-1] == clock() - 15 * MINUTE
        assert many.bars["COIN/USD"].index[-1] == clock()
        clock.advance(pd.Timedelta(9, "h"))  # type: ignore[attr-defined]
        with pytest.raises(NoBarsError):
            archive.bars("ACME", "2024-03-29", "2024-03-29", "1m")
        with pytest.raises(AlpacaSaidNoError, match="invalid feed: delayed_sip"):
            AlpacaBars(*KEYS, server.url, "delayed_sip").bars("ACME", "2024-03-28", "2024-03-28", "1m")


def test_many_faults_of_a_seed_leave_trades_once_each() -> None:
    faults = Faults(5, dict.fromkeys(PRICE_FAULTS, 0.03))
    with VenueServer(fresh(), faults) as server:
        with heard_from(server, ["ACME", "COIN/USD"], "trades", stale=0.5) as (stream, heard):
            let_run(server, 40, pause=0.06)
            stats = stream.stats()
        assert server.failures == []
    told = [(one.symbol, one.nanos) for one in heard]
    assert len(told) == len(set(told)) > 20
    assert all(one.price == float(MARKET.price(one.symbol, one.time) or 0) for one in heard)
    assert stats.received >= stats.delivered


def test_a_price_line_replays_from_its_seed_and_is_quiet_when_told() -> None:
    def story(seed: int) -> list[Any]:
        line = Faults(seed, dict.fromkeys(PRICE_FAULTS, 0.1)).prices()
        return [line.deliver({"T": "t", "t": number}) for number in range(50)]

    assert story(3) == story(3)
    assert story(3) != story(4)
    faults = Faults(3, dict.fromkeys(PRICE_FAULTS, 1 / 6))
    line: PriceLine = faults.prices()
    for number in range(50):
        line.deliver({"t": number})
    faults.quiet()
    assert [line.deliver({"t": number}) for number in range(5)] == [([{"t": number}], "") for number in range(5)]


@pytest.mark.parametrize("client", [StockDataStream, CryptoDataStream])
@pytest.mark.parametrize("kind", ["price_cut", "price_duplicate", "price_gap"])
def test_alpacas_own_client_still_talks_to_the_venue(client: Any, kind: str) -> None:
    logging.getLogger("alpaca").setLevel(logging.CRITICAL)
    symbol = "ACME" if client is StockDataStream else "COIN/USD"
    seen: list[Any] = []

    async def note(message: Any) -> None:
        seen.append(message)

    with VenueServer(fresh(), Faults(1, {}, [Force(kind, nth=2)])) as server:
        url = server.stock_stream_url if client is StockDataStream else server.crypto_stream_url
        stream = client(*KEYS, url_override=url)
        stream._reconnect_min_backoff = 0.05
        stream.subscribe_trades(note, symbol)
        thread = threading.Thread(target=stream.run, daemon=True)
        thread.start()
        for _ in range(150):
            let_run(server, 1, pause=0.06)
            if len(seen) >= 6:
                break
        stream._should_run = False
        stream.stop()
    thread.join(timeout=10)
    assert len(seen) >= 6
    assert not thread.is_alive()


PROGRAM = "from trading_core.cli import main; main()"


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TRADING_", "ALPACA_"))}

    def run(*arguments: str, **more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROGRAM, "stream", *arguments]
        return subprocess.Popen(
            command, env=env | more, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    return run


def at(server: VenueServer) -> dict[str, str]:
    return {
        "TRADING_EXECUTION__EXECUTOR": "alpaca",
        "TRADING_EXECUTION__URL": server.url,
        "ALPACA_API_KEY": KEYS[0],
        "ALPACA_SECRET_KEY": KEYS[1],
    }


def test_the_command_prints_prices_and_ends_when_its_time_is_over(shell: Any) -> None:
    with VenueServer(fresh()) as server:
        process = shell("COIN/USD", "ACME", "--for", "4s", **at(server))
        while process.poll() is None:
            let_run(server, 1, pause=0.1)
        said, wrong = process.communicate(timeout=20)
    assert (process.returncode, wrong) == (0, "")
    assert "COIN/USD  trade" in said
    assert "ACME      trade" in said
    assert "received" in said.splitlines()[-2] + said.splitlines()[-1]
    assert "closed" not in said


def test_the_command_says_which_market_is_closed_by_the_venues_clock(shell: Any) -> None:
    with VenueServer(fresh("2024-03-29 15:00")) as server:  # Good Friday
        said, wrong = shell("ACME", "COIN/USD", "--for", "1s", **at(server)).communicate(timeout=60)
    assert wrong == ""
    assert said.startswith("New York is closed until Mon 2024-04-01 13:30 UTC: ACME may say nothing until then.")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_command_cleanly(shell: Any, number: int) -> None:
    with VenueServer(fresh()) as server:
        process = shell("COIN/USD", **at(server))
        threading.Timer(0.5, let_run, (server, 5)).start()
        process.stdout.readline()
        began = time.monotonic()
        process.send_signal(number)
        said, wrong = process.communicate(timeout=20)
    assert (process.returncode, wrong) == (0, "")
    assert "Stopped." in said
    assert time.monotonic() - began < 4


def test_a_pipe_that_closes_ends_the_command_without_a_word(shell: Any) -> None:
    with VenueServer(fresh()) as server:
        process = shell("COIN/USD", **at(server))
        process.stdout.readline()
        process.stdout.close()
        for _ in range(100):
            if process.poll() is not None:
                break
            let_run(server, 1, pause=0.1)
        wrong = process.stderr.read()
        process.wait(timeout=10)
    assert (process.returncode, wrong) == (0, "")


def test_a_venue_that_is_gone_is_a_failure_and_told(shell: Any) -> None:
    here = {"ALPACA_API_KEY": "k", "ALPACA_SECRET_KEY": "s"}
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    process = shell("BTC/USD", "--for", "1s", **here, **nowhere)
    said, wrong = process.communicate(timeout=60)
    assert (process.returncode, wrong) == (1, "")
    assert "The venue was not reached" in said


def test_the_command_refuses_without_keys_symbols_or_a_span(shell: Any) -> None:
    with VenueServer(fresh()) as server:
        for arguments, more, told in (
            (["ACME"], {}, "ALPACA_API_KEY"),
            ([], at(server), "Which symbols?"),
            (["ACME", "--for", "ever"], at(server), "10s, 5m or 1h"),
            (["ACME", "--kind", "trade"], at(server), "Did you mean"),
        ):
            process = shell(*arguments, **more)
            said, wrong = process.communicate(timeout=60)
            assert (process.returncode, said) == (2, "")
            assert told in wrong
            assert "Traceback" not in wrong


def test_a_wrong_key_ends_the_command_and_shows_none(shell: Any) -> None:
    with VenueServer(fresh()) as server:
        process = shell("COIN/USD", **at(server) | {"ALPACA_SECRET_KEY": "guess"})
        said, wrong = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "ALPACA_SECRET_KEY" in wrong
    assert "guess" not in said + wrong
