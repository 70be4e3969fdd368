"""Streams of prices over real sockets: what breaks, what stutters, what falls silent, and what is left when it is over."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import io
import logging
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import pandas as pd
import pytest

from trading_core.data.fetching import Fetched
from trading_core.data.stream import AsyncCallbackError, OddSymbolError, PriceStream, StreamStats
from trading_core.data.stream_belt import Belt
from trading_core.data.stream_line import Keys, Line, pauses, session_at
from trading_core.data.stream_repair import Fetching, Mender
from trading_core.data.stream_stage import Stage
from trading_core.data.stream_words import (
    MINUTE,
    BidAsk,
    BrokenFrameError,
    MinuteBar,
    StreamRefusedError,
    Trade,
    heard_in,
    messages_in,
)
from trading_core.errors import ConfigError, UnknownNameError

NOON = pd.Timestamp("2024-03-28 16:00", tz="UTC")  # noon in New York, a Thursday
SECRET = "a-secret-that-nobody-may-read"


def wait_for(true: Callable[[], Any], seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.003)
    return bool(true())


def trade(number: int = 1, symbol: str = "AAPL", **more: Any) -> dict[str, Any]:
    return {"T": "t", "S": symbol, "p": 171.25, "s": 100, "i": number, "x": "V", "t": NOON.value + number, **more}


def quote(number: int = 1, symbol: str = "AAPL", **more: Any) -> dict[str, Any]:
    return {"T": "q", "S": symbol, "bp": 171.0, "bs": 1, "ap": 172.0, "as": 1, "t": NOON.value + number, **more}


def bar(minute: int, symbol: str = "AAPL", **more: Any) -> dict[str, Any]:
    "The bar that ends so many minutes after noon."
    begin = NOON.value + (minute - 1) * MINUTE
    return {"T": "b", "S": symbol, "o": 171.0, "h": 171.5, "l": 170.9, "c": 171.25, "v": minute, "t": begin, **more}


def archive(minutes: int = 60) -> pd.DataFrame:
    ends = pd.date_range(NOON, periods=minutes + 1, freq="1min")
    volume = [float(minute) for minute in range(minutes + 1)]
    return pd.DataFrame({"open": 171.0, "high": 171.5, "low": 170.9, "close": 171.25, "volume": volume}, ends)


class Clock:
    "A clock in our hands, minutes after noon."

    minute = 0.0

    def __call__(self) -> pd.Timestamp:
        return NOON + pd.Timedelta(minutes=self.minute)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage("a-key", SECRET) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def made(stage: Stage, clock: Clock) -> Iterator[Callable[..., PriceStream]]:
    "Makes streams to the stage, and sees to it that nothing of them is left."
    streams = []

    def make(**options: Any) -> PriceStream:
        options = {"url": stage.url, "clock": clock, "pause": 0.01, "repair": None} | options
        streams.append(PriceStream("a-key", SECRET, **options))
        return streams[-1]

    yield make
    for stream in streams:
        stream.stop()
    assert wait_for(lambda: not [t for t in threading.enumerate() if t.name.startswith("stream")], 3)


def minutes(bars: list[MinuteBar]) -> list[int]:
    return [int(one.volume) for one in bars]


def test_what_is_said_is_heard_by_kind_and_remembered(stage: Stage, made: Any, clock: Clock) -> None:
    clock.minute = 2
    trades: list[Trade] = []
    everything: list[Any] = []
    stream = made().subscribe(["AAPL", "BTC/USD"]).start()
    stream.listen(trades.append, "trades")
    stream.listen(everything.append)
    assert stream.wait()
    stage.say(trade(), quote(), bar(1), trade(2, "BTC/USD", p=70_000.5), trade(3, "SPY"))
    assert wait_for(lambda: len(everything) == 4)
    assert [one.price for one in trades] in ([171.25, 70_000.5], [70_000.5, 171.25])
    assert next(one for one in everything if type(one) is MinuteBar).time == NOON + pd.Timedelta(1, "min")
    table = stream.latest(["AAPL", "BTC/USD", "SPY"])
    assert table["price"].tolist()[:2] == [171.25, 70_000.5]
    assert table["time"].isna().tolist() == [False, False, True]
    assert stream.quotes().loc["AAPL", ["bid", "ask"]].tolist() == [171.0, 172.0]


def test_a_stream_does_not_hold_who_starts_it(made: Any) -> None:
    began = time.monotonic()
    stream = made().subscribe("AAPL").start()
    assert time.monotonic() - began < 0.5
    assert stream.wait()


def test_symbols_come_and_go_while_it_listens(stage: Stage, made: Any) -> None:
    stream = made().subscribe("AAPL", "trades").start()
    heard: list[Trade] = []
    stream.listen(heard.append)
    assert stream.wait()
    stream.subscribe(["SPY", "ETH/USD"], "trades")
    assert stream.wait()
    stream.unsubscribe("AAPL")
    assert wait_for(lambda: {"action": "unsubscribe", "trades": ["AAPL"]} in stage.heard)
    stage.say(trade(1), trade(2, "SPY"), trade(3, "ETH/USD"))
    assert wait_for(lambda: len(heard) == 2)
    assert {one.symbol for one in heard} == {"SPY", "ETH/USD"}
    assert stream.wants.symbols == ["ETH/USD", "SPY"]


def test_a_stutter_is_heard_once(stage: Stage, made: Any, clock: Clock) -> None:
    clock.minute = 5
    stream = made().subscribe("AAPL").start()
    heard: list[Any] = []
    stream.listen(heard.append, "trades", "bars")
    stream.wait()
    for _ in range(3):
        stage.say(trade(1), bar(1), trade(2), bar(2))
    stage.say(trade(1, x="K"))  # another exchange counts its trades by itself
    assert wait_for(lambda: stream.stats().received == 13)
    assert wait_for(lambda: len(heard) == 5)
    assert stream.stats().duplicates == 8


def test_missed_minutes_come_once_in_order_and_marked(stage: Stage, made: Any, clock: Clock) -> None:
    asked = []

    def fetch(symbol: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
        asked.append((symbol, start, end))
        time.sleep(0.2)  # long enough for live bars to come meanwhile
        return archive()

    stream = made(repair=fetch).subscribe("AAPL", "bars").start()
    bars: list[MinuteBar] = []
    stream.listen(bars.append)
    stream.wait()
    for minute in (1, 2, 3):
        clock.minute = minute
        stage.say(bar(minute))
    assert wait_for(lambda: len(bars) == 3)
    stage.cut()
    clock.minute = 6
    assert wait_for(lambda: stream.stats().reconnects == 1 and asked)
    stage.say(bar(6))
    clock.minute = 7
    stage.say(bar(7))
    assert wait_for(lambda: len(bars) == 7)
    assert minutes(bars) == [1, 2, 3, 4, 5, 6, 7]
    assert [one.how for one in bars] == ["", "", "", "repaired", "repaired", "", ""]
    assert asked[0] == ("AAPL", NOON + pd.Timedelta(3, "min"), NOON + pd.Timedelta(6, "min"))
    stats = stream.stats()
    assert (stats.repaired, stats.unrepaired, stats.delivered) == (2, 0, 7)


def test_a_break_before_the_first_bar_is_mended_from_the_beginning(stage: Stage, made: Any, clock: Clock) -> None:
    stream = made(repair=lambda *asked: archive()).subscribe("AAPL", "bars").start()
    bars: list[MinuteBar] = []
    stream.listen(bars.append)
    stream.wait()
    stage.cut()
    clock.minute = 3.5
    assert wait_for(lambda: len(bars) == 3)
    assert minutes(bars) == [1, 2, 3]


def test_a_bar_left_out_without_a_break_is_fetched_too(stage: Stage, made: Any, clock: Clock) -> None:
    stream = made(repair=lambda *asked: archive()).subscribe("AAPL", "bars").start()
    bars: list[MinuteBar] = []
    stream.listen(bars.append)
    stream.wait()
    for minute in (1, 2, 5, 6):
        clock.minute = minute
        stage.say(bar(minute))
    assert wait_for(lambda: len(bars) == 6)
    assert minutes(bars) == [1, 2, 3, 4, 5, 6]


def test_an_archive_that_is_down_holds_nothing_back_for_ever(stage: Stage, made: Any, clock: Clock) -> None:
    def down(*asked: object) -> pd.DataFrame:
        raise ConnectionError(f"no route, key {SECRET}")

    logging.getLogger("trading.stream").setLevel(logging.CRITICAL)
    stream = made(repair=down).subscribe("AAPL", "bars").start()
    stream._mender._fetching._pause = 0.01
    bars: list[MinuteBar] = []
    stream.listen(bars.append)
    stream.wait()
    clock.minute = 1
    stage.say(bar(1))
    assert wait_for(lambda: bars)
    stage.cut()
    clock.minute = 4
    assert wait_for(lambda: stream.stats().unrepaired == 1)
    assert stream.wait()
    stage.say(bar(4))
    assert wait_for(lambda: len(bars) == 2)
    assert minutes(bars) == [1, 4]
    logging.getLogger("trading.stream").setLevel(logging.NOTSET)


def test_bars_missed_while_a_repair_is_under_way_are_fetched_too(stage: Stage, made: Any, clock: Clock) -> None:
    asked = []

    def fetch(*about: object) -> pd.DataFrame:
        asked.append(clock.minute)
        known = archive(int(clock.minute))  # what it knows when it is asked
        time.sleep(0.3)
        return known

    stream = made(repair=fetch).subscribe("AAPL", "bars").start()
    bars: list[MinuteBar] = []
    stream.listen(bars.append)
    stream.wait()
    for minute in (1, 5):  # 2 to 4 are missing: a repair begins
        clock.minute = minute
        stage.say(bar(minute))
    assert wait_for(lambda: asked)
    stage.cut()
    clock.minute = 7
    assert wait_for(lambda: stream.stats().reconnects == 1 and stream.wait())
    clock.minute = 8
    stage.say(bar(8))
    assert wait_for(lambda: len(bars) == 8)
    assert minutes(bars) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert stream.stats().unrepaired == 0


def test_what_an_archive_could_not_tell_is_asked_for_again(stage: Stage, made: Any, clock: Clock) -> None:
    down = [True]

    def fetch(*about: object) -> pd.DataFrame:
        if down[0]:
            raise ConnectionError
        return archive(int(clock.minute))

    logging.getLogger("trading.stream").setLevel(logging.CRITICAL)
    stream = made(repair=fetch).subscribe("AAPL", "bars").start()
    stream._mender._fetching._pause = 0.01
    bars: list[MinuteBar] = []
    stream.listen(bars.append)
    stream.wait()
    clock.minute = 1
    stage.say(bar(1))
    assert wait_for(lambda: bars)
    stage.cut()
    clock.minute = 4
    assert wait_for(lambda: stream.stats().unrepaired == 1 and stream.wait())
    for minute in (5, 6):
        clock.minute = minute
        stage.say(bar(minute))
    assert wait_for(lambda: len(bars) == 3)
    down[0] = False
    assert wait_for(lambda: len(bars) == 6)
    told = [(int(one.volume), one.how) for one in bars]
    assert told == [(1, ""), (5, ""), (6, ""), (2, "late"), (3, "late"), (4, "late")]
    assert stream.stats().unrepaired == 0
    logging.getLogger("trading.stream").setLevel(logging.NOTSET)


def test_after_a_long_outage_the_newest_bars_are_not_taken_for_old_ones(stage: Stage, made: Any, clock: Clock) -> None:
    def fetch(*about: object) -> pd.DataFrame:
        time.sleep(0.2)
        return archive(200)

    stream = made(repair=fetch, extended=True).subscribe("AAPL", "bars").start()
    stream._mender._ends._most = 50
    bars: list[MinuteBar] = []
    stream.listen(bars.append)
    stream.wait()
    clock.minute = 60
    stage.say(*[bar(minute) for minute in range(1, 61)])
    assert wait_for(lambda: len(bars) == 60)
    stage.cut()
    clock.minute = 160
    assert wait_for(lambda: stream.stats().reconnects == 1 and stream.wait())
    stage.say(bar(160))  # the live one is here before the hundred that were missed
    assert wait_for(lambda: len(bars) == 160)
    assert minutes(bars) == list(range(1, 161))
    assert stream.stats().unrepaired == 0


def test_no_live_bar_is_held_for_long_whatever_the_archive_does(stage: Stage, made: Any, clock: Clock) -> None:
    def fetch(*about: object) -> pd.DataFrame:
        time.sleep(1.0)
        return archive(2)

    symbols = [f"S{number:02}" for number in range(20)]
    stream = made(repair=fetch).subscribe(symbols, "bars").start()
    stream._mender._hold = 0.2
    bars: list[MinuteBar] = []
    stream.listen(bars.append)
    assert stream.wait()
    clock.minute = 1
    stage.say(*[bar(1, symbol) for symbol in symbols])
    assert wait_for(lambda: len(bars) == 20)
    stage.cut()
    assert wait_for(lambda: stream.stats().reconnects == 1 and stream.wait())
    clock.minute = 3
    began = time.monotonic()
    stage.say(*[bar(3, symbol) for symbol in symbols])
    assert wait_for(lambda: len(bars) == 40)
    assert time.monotonic() - began < 0.8
    assert wait_for(lambda: len(bars) > 40)
    assert {(int(one.volume), one.how) for one in bars[40:]} == {(2, "late")}


def test_many_symbols_are_asked_for_in_one_question(stage: Stage, made: Any, clock: Clock) -> None:
    asked = []

    class Library:
        def bars(self, symbol: str, *about: object, **more: object) -> pd.DataFrame:
            asked.append([symbol])
            return archive()

        def bars_many(self, names: list[str], *about: object, **more: object) -> Fetched:
            asked.append(names)
            return Fetched({name: archive() for name in names}, {})

    symbols = [f"S{number:03}" for number in range(120)]
    stream = made(repair=Library()).subscribe(symbols, "bars").start()
    bars: list[MinuteBar] = []
    stream.listen(bars.append)
    assert stream.wait()
    stage.cut()
    clock.minute = 2
    assert wait_for(lambda: len(bars) == 240)
    assert sorted(len(names) for names in asked) == [20, 50, 50]


def test_a_revised_bar_comes_after_the_one_that_it_revises(stage: Stage, made: Any, clock: Clock) -> None:
    def fetch(*about: object) -> pd.DataFrame:
        time.sleep(0.2)
        return archive()

    stream = made(repair=fetch).subscribe("AAPL", "bars", "revisions").start()
    bars: list[MinuteBar] = []
    stream.listen(bars.append)
    stream.wait()
    clock.minute = 4
    stage.say(bar(1), bar(4), bar(4, T="u"), bar(1, T="u"))
    assert wait_for(lambda: len(bars) == 6)
    told = [(int(one.volume), one.how) for one in bars]
    assert told == [(1, ""), (1, "revised"), (2, "repaired"), (3, "repaired"), (4, ""), (4, "revised")]


def test_who_subscribes_again_is_told_nothing_of_the_time_between(stage: Stage, made: Any, clock: Clock) -> None:
    stream = made(repair=lambda *asked: archive()).subscribe(["AAPL", "SPY"], "bars").start()
    bars: list[MinuteBar] = []
    stream.listen(bars.append)
    assert stream.wait()
    clock.minute = 1
    stage.say(bar(1))
    assert wait_for(lambda: bars)
    stream.unsubscribe("AAPL")
    assert wait_for(lambda: stage.heard[-1] == {"action": "unsubscribe", "bars": ["AAPL"]})
    clock.minute = 40
    stream.subscribe("AAPL", "bars")
    assert wait_for(lambda: stage.heard[-1] == {"action": "subscribe", "bars": ["AAPL"]})
    assert stream.wait()
    for minute in (41, 42):
        clock.minute = minute
        stage.say(bar(minute))
    assert wait_for(lambda: len(bars) == 3)
    time.sleep(0.1)
    assert minutes(bars) == [1, 41, 42]


@pytest.mark.parametrize("seed", range(12))
def test_whatever_breaks_every_bar_is_told_once_and_what_is_out_of_order_is_late(seed: int) -> None:
    dice, now, told, down = random.Random(seed), [0], list[MinuteBar](), [True]

    def fetch(*about: object) -> pd.DataFrame:
        known, slow, fails = archive(now[0]), dice.choice([0, 0.004, 0.02]), down[0] and dice.random() < 0.5
        time.sleep(slow)
        if fails:
            raise ConnectionError
        return known

    async def deliver(bars: Any) -> None:
        told.extend(bars)
        await asyncio.sleep(dice.choice([0, 0.002]))

    async def live() -> None:
        archive_now = Fetching(fetch, lambda: NOON.value + now[0] * MINUTE, pause=0.001, a_minute=1000)
        mender = Mender(archive_now, deliver, again=0.02, hold=0.01)
        mender.listen_to(["AAPL"], NOON.value)
        for minute in range(1, 60):
            now[0] = minute
            if dice.random() < 0.6 or minute == 59:
                told.extend(mender.sift(MinuteBar("AAPL", 171, 171, 171, 171, minute, NOON.value + minute * MINUTE)))
            if dice.random() < 0.1:
                mender.mend(["AAPL"])
            if dice.random() < 0.05:
                told.extend(mender.stop())
                await asyncio.sleep(0.005)
                mender.begin()
            await asyncio.sleep(dice.choice([0, 0.001, 0.005]))
        down[0] = False
        mender.mend(["AAPL"])
        until = time.monotonic() + 5
        while (len(told) < 59 or mender.unrepaired) and time.monotonic() < until:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert (mender.unrepaired, mender.held) == (0, 0)
        mender.stop()
        await asyncio.sleep(0)

    logging.getLogger("trading.stream").setLevel(logging.CRITICAL)
    asyncio.run(live())
    logging.getLogger("trading.stream").setLevel(logging.NOTSET)
    assert sorted(minutes(told)) == list(range(1, 60))
    in_order = [int(one.volume) for one in told if one.how != "late"]
    assert in_order == sorted(in_order)


def test_without_an_archive_a_break_is_counted_and_life_goes_on(stage: Stage, made: Any, clock: Clock) -> None:
    clock.minute = 9
    stream = made().subscribe("AAPL", "bars").start()
    bars: list[MinuteBar] = []
    stream.listen(bars.append)
    stream.wait()
    stage.say(bar(1))
    assert wait_for(lambda: bars)
    stage.cut()
    assert wait_for(lambda: stream.stats().unrepaired == 1)
    assert stream.wait()
    stage.say(bar(5))
    assert wait_for(lambda: len(bars) == 2)


def test_revised_bars_come_only_to_those_who_ask(stage: Stage, made: Any, clock: Clock) -> None:
    clock.minute = 3
    stream = made().subscribe("AAPL", "bars", "revisions").start()
    bars: list[MinuteBar] = []
    stream.listen(bars.append)
    stream.wait()
    stage.say(bar(1), bar(1, T="u", v=7))
    assert wait_for(lambda: len(bars) == 2)
    assert [(one.how, one.volume) for one in bars] == [("", 1), ("revised", 7)]


def test_bars_outside_the_session_are_counted_and_not_told(stage: Stage, made: Any, clock: Clock) -> None:
    clock.minute = 600
    early = bar(-200, v=1)  # 12:40 UTC, before the opening at 13:30
    stream, all_day = made().subscribe("AAPL", "bars").start(), made(extended=True).subscribe("AAPL", "bars").start()
    heard: list[MinuteBar] = []
    all_day.listen(heard.append)
    assert stream.wait()
    assert all_day.wait()
    stage.say(early)
    assert wait_for(lambda: stream.stats().outside == 1 and len(heard) == 1)
    assert stream.stats().delivered == 0


def test_midnight_is_a_minute_like_any_other_for_coins(stage: Stage, made: Any, clock: Clock) -> None:
    clock.minute = 8 * 60  # midnight
    table = archive(600)
    stream = made(repair=lambda *asked: table).subscribe("BTC/USD", "bars").start()
    bars: list[MinuteBar] = []
    stream.listen(bars.append)
    assert stream.wait()
    for minute in (477, 478, 480, 483):
        clock.minute = max(clock.minute, minute)
        stage.say(bar(minute, "BTC/USD"))
        assert wait_for(lambda: bars and bars[-1].volume == minute)  # noqa: B023
    assert minutes(bars) == list(range(477, 484))
    assert bars[3].time == pd.Timestamp("2024-03-29", tz="UTC")
    assert stream.stats().outside == 0


def test_a_callback_that_exits_holds_nothing_up(stage: Stage, made: Any) -> None:
    logging.getLogger("trading.stream").setLevel(logging.CRITICAL)
    stream, heard = made().subscribe("AAPL", "trades").start(), []
    stream.listen(lambda one: sys.exit(3))
    stream.listen(heard.append)
    stream.wait()
    stage.say(trade(1), trade(2))
    assert wait_for(lambda: len(heard) == 2)
    logging.getLogger("trading.stream").setLevel(logging.NOTSET)


@pytest.mark.parametrize("raised", [asyncio.CancelledError, KeyboardInterrupt, GeneratorExit])
def test_whatever_a_callback_raises_it_is_called_again(stage: Stage, made: Any, raised: type[BaseException]) -> None:
    logging.getLogger("trading.stream").setLevel(logging.CRITICAL)
    stream, heard = made().subscribe("AAPL", "trades").start(), []

    def touchy(one: Trade) -> None:
        heard.append(one)
        raise raised

    stream.listen(touchy)
    stream.wait()
    stage.say(trade(1), trade(2))
    assert wait_for(lambda: stream.stats().failed == 2)
    assert len(heard) == 2
    logging.getLogger("trading.stream").setLevel(logging.NOTSET)


def test_a_coroutine_function_is_refused_as_a_callback(made: Any) -> None:
    async def note(heard: object) -> None:
        pass

    class Noting:
        async def __call__(self, heard: object) -> None:
            pass

        async def note(self, heard: object) -> None:
            pass

    for callback in (note, partial(note), Noting(), Noting().note):
        with pytest.raises(AsyncCallbackError, match="Write def instead of async def"):
            made().listen(callback)


def test_a_callback_is_called_once_and_can_be_taken_away(stage: Stage, made: Any, clock: Clock) -> None:
    clock.minute = 1
    stream, heard, all_heard = made().subscribe("AAPL").start(), [], []
    for _ in range(2):
        stream.listen(heard.append, "trades", "quotes")
    stream.listen(all_heard.append)
    stream.wait()
    stage.say(trade(1), quote(1), bar(1))
    assert wait_for(lambda: len(all_heard) == 3)
    assert len(heard) == 2
    stream.unlisten(heard.append, "trades")
    stage.say(trade(2), quote(2))
    assert wait_for(lambda: len(all_heard) == 5)
    assert [type(one) for one in heard] == [Trade, BidAsk, BidAsk]


def test_a_second_stream_of_the_same_key_learns_why_it_must_wait(stage: Stage, made: Any) -> None:
    stage.answer_code = 406
    stream = made().subscribe("AAPL").start()
    assert wait_for(lambda: "stop() ends it" in repr(stream))
    assert stream.stats().state == "connecting"


def test_a_frame_with_tomorrows_bar_is_refused(stage: Stage, made: Any, clock: Clock) -> None:
    clock.minute = 1
    stream = made().subscribe("AAPL").start()
    heard: list[Any] = []
    stream.listen(heard.append)
    stream.wait()
    stage.say(bar(1 + 24 * 60), trade(2, t=NOON.value + 10**15), quote(3, t=NOON.value + 10**15), bar(2), trade(4))
    assert wait_for(lambda: stream.stats().received == 5)
    assert wait_for(lambda: len(heard) == 1)
    stats = stream.stats()
    assert (stats.refused, "still to come" in stats.trouble) == (4, True)
    assert stream.latest()["price"].tolist() == [171.25]


@pytest.mark.parametrize(
    "spoilt",
    [
        {"p": 0}, {"p": -1.0}, {"p": float("nan")}, {"p": "171"}, {"p": None}, {"s": -1}, {"t": None}, {"t": "noon"}, {"S": 5},
        {"S": None}, {"t": 1 << 63}, {"p": [1]},
    ],
)  # fmt: skip
def test_what_cannot_be_a_trade_is_refused_and_counted(spoilt: dict[str, Any]) -> None:
    heard, refused = heard_in([trade() | spoilt], 1 << 62)
    assert (heard, len(refused)) == ([], 1)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"h": 100.0},
        {"l": 172.0},
        {"o": 0.0},
        {"v": -1},
        {"v": float("inf")},
        {"t": NOON.value + 5},
        {"c": float("nan")},
    ],
)
def test_what_cannot_be_a_bar_is_refused_and_counted(spoilt: dict[str, Any]) -> None:
    heard, refused = heard_in([bar(1) | spoilt], 1 << 62)
    assert (heard, len(refused)) == ([], 1)


def test_a_fuzzed_frame_is_read_or_refused_and_nothing_else() -> None:
    dice, frame = random.Random(11), msgpack.packb([trade(), quote(), bar(1)])
    for _ in range(10_000):
        spoilt = bytearray(frame)
        for _ in range(dice.randrange(1, 4)):
            spoilt[dice.randrange(len(spoilt))] = dice.randrange(256)
        try:
            heard, _ = heard_in(messages_in(bytes(spoilt[: dice.randrange(len(frame)) + 1])), 1 << 62)
        except BrokenFrameError:
            continue
        assert all(type(one) in (Trade, BidAsk, MinuteBar) and type(one.symbol) is str for one in heard)


def test_half_a_message_breaks_the_line_and_no_more(stage: Stage, made: Any) -> None:
    stream = made().subscribe("AAPL", "trades").start()
    heard: list[Trade] = []
    stream.listen(heard.append)
    stream.wait()
    frame = msgpack.packb([trade(1)])
    stage.frame(frame[: len(frame) // 2])
    assert wait_for(lambda: stream.stats().reconnects == 1)
    assert stream.wait()
    stage.say(trade(2))
    assert wait_for(lambda: len(heard) == 1)
    assert "cannot be read" in stream.stats().trouble


@pytest.mark.parametrize("odd", [
    {"T": ["t"]}, {"T": "error", "code": [402], "msg": "x"}, {"T": "error", "code": 402.0, "msg": "x"},
    {"T": "subscription", "trades": [["AAPL"]]}, {"T": "t", "S": "AAPL", "i": [1], "p": 1.0, "s": 1, "t": 1},
    {"T": "t", "S": "AAPL", "p": True, "s": 1, "t": "2024-03-28T15:00:00Z"}, {"T": "t", "S": "AAPL", "p": 1.0, "s": 1, "t": "NaT"},
], ids=["kind", "code", "fraction", "subscription", "id", "price", "moment"])  # fmt: skip
def test_an_odd_message_ends_no_stream(stage: Stage, made: Any, odd: dict[str, Any]) -> None:
    stream = made().subscribe("AAPL", "trades").start()
    heard: list[Trade] = []
    stream.listen(heard.append)
    stream.wait()
    stage.frame(msgpack.packb([odd]))

    def told() -> bool:
        stage.say(trade(2))  # again and again: where the line was broken nobody hears it at first
        return bool(heard)

    assert wait_for(told)
    assert stream.running
    assert {one.key[0] for one in heard} == {2}


def test_a_silent_line_is_opened_again_in_market_hours(stage: Stage, made: Any) -> None:
    stage.mute = True
    stream = made(stale=0.1).subscribe("AAPL", "trades").start()
    assert wait_for(lambda: stream.stats().silent >= 2)
    stage.mute = False
    heard: list[Trade] = []
    stream.listen(heard.append)
    assert wait_for(lambda: stream.wait(1) and (stage.say(trade(len(stage.heard))), time.sleep(0.02), heard)[2])
    assert stream.stats().reconnects >= 2


def test_silence_at_night_is_no_reason_to_worry(stage: Stage, made: Any, clock: Clock) -> None:
    clock.minute = 12 * 60  # midnight in New York
    shares = made(stale=0.05).subscribe("AAPL", "trades").start()
    coins = made(stale=0.05).subscribe("BTC/USD", "trades").start()
    assert wait_for(lambda: coins.stats().silent >= 1)
    assert shares.stats().silent == 0
    assert shares.stats().state == "listening"


def test_patience_with_silence_doubles(stage: Stage, made: Any) -> None:
    stage.mute = True
    stream = made(stale=0.1).subscribe("AAPL", "trades").start()
    time.sleep(1.0)  # 0.1 + 0.2 + 0.4: three, and not ten
    assert 1 <= stream.stats().silent <= 4


def test_a_storm_of_broken_lines_loses_nothing_that_was_said(stage: Stage, made: Any, clock: Clock) -> None:
    stream = made(repair=lambda *asked: archive()).subscribe("AAPL", "trades", "bars").start()
    heard: list[Any] = []
    stream.listen(heard.append)
    for minute in range(1, 7):
        assert wait_for(lambda: stream.stats().reconnects == minute - 1 and stream.wait())  # noqa: B023
        clock.minute = minute
        stage.say(trade(minute), bar(minute))
        assert wait_for(lambda: sum(type(one) is Trade for one in heard) == minute)  # noqa: B023
        stage.cut()
    assert wait_for(lambda: sum(type(one) is MinuteBar for one in heard) == 6)
    assert [int(one.volume) for one in heard if type(one) is MinuteBar] == list(range(1, 7))


def test_a_stage_that_is_away_is_asked_in_growing_pauses(stage: Stage, made: Any) -> None:
    stage.away = True
    stream = made(pause=0.02).subscribe("AAPL").start()
    time.sleep(0.6)
    assert 3 <= stream._lines[False].lost <= 8
    assert stream.stats().state == "connecting"
    assert "503" in stream.stats().trouble
    stage.away = False
    assert stream.wait()


def test_pauses_double_are_shaken_and_have_a_limit() -> None:
    some = [pause for pause, _ in zip(pauses(0.5, 30, random.Random(1)), range(20), strict=False)]
    assert all(0.5 * 0.5 * 2**n <= pause <= 0.5 * 2**n for n, pause in enumerate(some[:6]))
    assert all(15 <= pause <= 30 for pause in some[7:])
    assert len(set(some)) == 20


def test_nobody_at_that_address_is_no_end(made: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        stream = made(url=f"http://127.0.0.1:{free.getsockname()[1]}").subscribe("AAPL").start()
        assert not stream.wait(0.2)
        assert stream.stats().state == "connecting"


def test_a_bad_key_ends_it_at_once_with_a_sentence(stage: Stage) -> None:
    stream = PriceStream("a-key", "wrong", url=stage.url).subscribe("AAPL").start()
    with pytest.raises(StreamRefusedError, match=r"402 auth failed.*ALPACA_API_KEY"):
        stream.wait()
    assert wait_for(lambda: not stream.running)
    assert stage.visits == 1
    for asked in (stream.latest, stream.quotes, stream.wait):
        with pytest.raises(StreamRefusedError):
            asked()
    with pytest.raises(StreamRefusedError), PriceStream("a-key", "wrong", url=stage.url).subscribe("AAPL") as second:
        assert wait_for(lambda: not second.running)
    assert stream.stop().state == "refused"


def test_a_key_that_was_good_may_fail_twice(stage: Stage, made: Any) -> None:
    stream = made().subscribe("AAPL").start()
    stream.wait()
    stage.answer_code = 402
    stage.cut()
    with pytest.raises(StreamRefusedError):
        assert wait_for(lambda: stream.wait(0.1) and False)
    assert stage.visits == 4


@pytest.mark.parametrize(("code", "ends"), [(405, True), (406, False), (409, True), (500, False)])
def test_what_waiting_mends_is_waited_for(stage: Stage, made: Any, code: int, ends: bool) -> None:
    stage.answer_code = code
    stream = made().subscribe("AAPL").start()
    if ends:
        with pytest.raises(StreamRefusedError, match=str(code)):
            stream.wait()
    else:
        assert wait_for(lambda: stage.visits >= 3)
        stage.answer_code = 0
        assert stream.wait()


def test_no_key_at_all_is_told_before_anything_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALPACA_API_KEY", raising=False)
    monkeypatch.delenv("ALPACA_SECRET_KEY", raising=False)
    with pytest.raises(ConfigError, match="ALPACA_SECRET_KEY"):
        PriceStream()


def test_a_kind_that_does_not_exist_is_told(made: Any) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean"):
        made().subscribe("AAPL", "trade")
    with pytest.raises(UnknownNameError, match="Did you mean"):
        made().listen(print, "quote")


@pytest.mark.parametrize("odd", [None, [None], [1], "", ["AAPL", " "], 5], ids=repr)
def test_what_is_no_symbol_is_refused_before_it_is_wanted(made: Any, odd: Any) -> None:
    stream = made()
    with pytest.raises(OddSymbolError, match=r"such as \['AAPL', 'BTC/USD'\]"):
        stream.subscribe(odd, "trades")
    assert stream.wants.symbols == []


def test_a_clock_that_is_slow_is_told_while_it_listens(stage: Stage, made: Any) -> None:
    stream = made().subscribe("AAPL").start()
    stream.wait()
    stage.say(trade(1, t=NOON.value + 8 * 10**9))
    assert wait_for(lambda: stream.stats().refused == 1)
    assert stream.stats().state == "listening"
    assert "still to come by this clock: is it slow?" in str(stream.stats())


def test_secrets_are_in_no_log_and_in_no_text(stage: Stage, made: Any, clock: Clock) -> None:
    text, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(text), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        stream = made().subscribe("AAPL").start()
        stream.listen(lambda heard: 1 / 0)
        stream.wait()
        stage.say(trade(), trade(2, p="broken"))
        stage.frame(b"\xc1")
        assert wait_for(lambda: stream.stats().reconnects == 1)
        wrong = PriceStream("a-key", "another-secret", url=stage.url).subscribe("AAPL").start()
        assert wait_for(lambda: not wrong.running)
        said = text.getvalue() + repr(stream) + repr(vars(stream)) + str(wrong.error) + repr(wrong.error) + repr(wrong)
        said += repr([vars(line) for line in stream._lines.values()]) + str(stream.stats())
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert "ZeroDivisionError" in said
    for word in (SECRET, "another-secret", "a-key"):
        assert word not in said


def test_a_callback_that_raises_is_called_again(stage: Stage, made: Any) -> None:
    logging.getLogger("trading.stream").setLevel(logging.CRITICAL)
    stream, heard = made().subscribe("AAPL").start(), []

    def touchy(one: Trade) -> None:
        heard.append(one)
        raise RuntimeError

    stream.listen(touchy, "trades")
    stream.wait()
    stage.say(trade(1), trade(2))
    assert wait_for(lambda: len(heard) == 2)
    assert wait_for(lambda: stream.stats().failed == 2)
    logging.getLogger("trading.stream").setLevel(logging.NOTSET)


def test_trades_and_bars_wait_for_a_slow_callback_and_are_all_told(stage: Stage, made: Any, clock: Clock) -> None:
    clock.minute = 1000
    stream, seen = made(most=8, extended=True).subscribe("AAPL").start(), []

    def slow(one: Any) -> None:
        seen.append(one)
        time.sleep(0.0005)

    stream.listen(slow)
    stream.wait()
    for first in range(0, 400, 20):
        stage.say(*[(trade(n), bar(n + 1), quote(n))[n % 3] for n in range(first, first + 20)])
    assert wait_for(lambda: (s := stream.stats()).received == 400 and not s.waiting)
    stats = stream.stop()
    assert stats.accounted == 400
    assert [one.key[0] for one in seen if type(one) is Trade] == [n for n in range(400) if n % 3 == 0]
    assert [int(one.volume) for one in seen if type(one) is MinuteBar] == [n + 1 for n in range(400) if n % 3 == 1]
    assert stats.dropped + sum(type(one) is BidAsk for one in seen) == 133


def test_a_line_that_waits_for_a_slow_callback_is_not_silent(stage: Stage, made: Any) -> None:
    stream, heard = made(most=3, stale=0.3).subscribe("AAPL", "trades").start(), []

    def slow(one: Trade) -> None:
        heard.append(one.key[0])  # type: ignore[index]
        time.sleep(0.1)

    stream.listen(slow)
    assert stream.wait()
    for number in range(16):  # told in a third of the time that the callback needs
        stage.say(trade(number))
        time.sleep(0.03)
    while len(heard) < 10:  # the line waits still
        assert stream.stats().silent == 0
        time.sleep(0.01)
    assert wait_for(lambda: len(heard) == 16)
    assert heard == list(range(16))


def test_a_full_belt_keeps_the_newest_quote_of_every_symbol() -> None:
    belt, dice = Belt(5), random.Random(2)
    newest = {}
    for number in range(1000):
        one = BidAsk(f"S{dice.randrange(20)}", number, 1, number, 1, number)
        newest[one.symbol] = number
        assert belt.put([one]) == 1
    assert len(belt) <= 25
    told = {}
    for one in belt.take(100) or []:
        told[one.symbol] = one.nanos
    assert told == newest


def test_it_is_gone_within_a_second_even_if_a_callback_hangs(stage: Stage, made: Any) -> None:
    stream, free = made().subscribe("AAPL", "trades").start(), threading.Event()
    stream.listen(lambda one: free.wait(20))
    stream.wait()
    stage.say(*[trade(number) for number in range(500)])
    assert wait_for(lambda: stream.stats().received == 500)
    began = time.monotonic()
    stream.stop()
    assert time.monotonic() - began < 1.2
    free.set()
    assert wait_for(lambda: not [t for t in threading.enumerate() if t.name.startswith("stream")])
    assert stream.stats().accounted == 500
    assert stream.stats().left == 499


def test_it_is_gone_within_a_second_while_the_line_waits_for_the_callback(stage: Stage, made: Any) -> None:
    stream, free = made(most=4).subscribe("AAPL", "trades").start(), threading.Event()
    stream.listen(lambda one: free.wait(20))
    stream.wait()
    stage.say(*[trade(number) for number in range(50)])
    assert wait_for(lambda: stream.stats().received == 50)
    began = time.monotonic()
    stream.stop()
    assert time.monotonic() - began < 1.5
    free.set()


def test_it_can_be_stopped_from_its_own_callback_and_begun_again(stage: Stage, made: Any, clock: Clock) -> None:
    clock.minute = 1
    stream, bars = made(repair=lambda *asked: archive()).subscribe("AAPL", "bars").start(), []
    stream.listen(bars.append)
    stream.listen(lambda one: stream.stop() if one.how == "" and one.volume == 1 else None)
    stream.wait()
    stage.say(bar(1))
    assert wait_for(lambda: not stream.running and bars)
    clock.minute = 3
    assert stream.start().wait()
    assert wait_for(lambda: len(bars) == 3)  # what was missed while it was stopped
    assert minutes(bars) == [1, 2, 3]


def test_who_starts_it_while_a_callback_still_stops_it_gets_a_stream_that_runs(stage: Stage, made: Any) -> None:
    stream, stopping, going = made().subscribe("AAPL", "trades").start(), threading.Event(), threading.Event()

    def stop(one: Trade) -> None:
        abandon = stream.belt.abandon
        stream.belt.abandon = lambda: stopping.set() or (going.wait(5) and abandon())
        stream.stop()

    stream.listen(stop)
    assert stream.wait()
    stage.say(trade())
    assert stopping.wait(5)  # the lines have ended, and the callback is about to sweep up behind them
    threading.Timer(0.2, going.set).start()
    stream.start()
    assert going.wait(5)
    time.sleep(0.1)
    assert stream.wait()


def test_of_two_threads_that_stop_it_neither_waits_for_the_other(stage: Stage, made: Any) -> None:
    stream, called = made().subscribe("AAPL", "trades").start(), threading.Event()

    def stop(one: Trade) -> None:
        called.set()
        time.sleep(0.1)  # the notebook stops it meanwhile, and waits for this callback
        stream.stop()

    stream.listen(stop)
    assert stream.wait()
    stage.say(trade())
    assert called.wait(5)
    began = time.monotonic()
    stream.stop()
    assert time.monotonic() - began < 0.9


def test_starting_twice_and_stopping_twice_is_once(stage: Stage, made: Any) -> None:
    stream = made().subscribe("AAPL").start()
    assert stream.wait()
    stream.start()
    assert stage.visits == 1
    stream.stop()
    assert stream.stop().state == "stopped"


def test_fifty_streams_leave_no_thread_and_no_socket_behind(stage: Stage) -> None:
    before = threading.active_count()
    for _ in range(50):
        with PriceStream("a-key", SECRET, url=stage.url).subscribe("AAPL", "trades") as stream:
            assert stream.wait()
    assert wait_for(lambda: threading.active_count() <= before)
    assert wait_for(lambda: not stage.visitors)
    gc.collect()


def test_a_session_knows_half_days_and_holidays() -> None:
    assert session_at("XNYS", pd.Timestamp("2024-11-29 17:59", tz="UTC").value) is not None
    for closed in ("2024-11-29 18:01", "2024-11-28 15:00", "2024-11-30 15:00"):
        assert session_at("XNYS", pd.Timestamp(closed, tz="UTC").value) is None


def test_keys_print_as_neither() -> None:
    keys = Keys("a-key", SECRET)
    assert SECRET not in repr(keys) + str(keys) + f"{keys}" + repr(Line("ws://x", keys, dict, print).__dict__)  # type: ignore[arg-type]


def test_numbers_that_are_not_there_are_not_shown() -> None:
    assert str(StreamStats("listening", received=5, delivered=5, age=0.1)).count(",") == 2


def test_ten_thousand_a_second_for_two_seconds_and_none_is_lost() -> None:
    place = Path(__file__).parents[1] / "bench" / "stream.py"
    spec = importlib.util.spec_from_file_location("bench_stream", place)
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    told = bench.measure(2.0)
    assert told["sent"] == told["received"] == told["delivered"] == told["called back"] == 20_000
    assert (told["dropped"], told["refused"], told["duplicates"], told["reconnects"]) == (0, 0, 0, 0)
