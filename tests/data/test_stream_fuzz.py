"""Whatever comes over a stream: prices that can be true, or a refusal that is counted; never another exception."""

from __future__ import annotations

import json
import math
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from sizes import size
from spoiled import PAGES, faulty, names, spoiled

from trading_core.data.stream import _Once
from trading_core.data.stream_line import Ear, Keys
from trading_core.data.stream_repair import Fetching, Mender
from trading_core.data.stream_words import (
    BidAsk,
    BrokenFrameError,
    MinuteBar,
    StreamRefusedError,
    Trade,
    heard_in,
    messages_in,
)

CASES = settings(
    max_examples=size(300, 10_000), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)  # fmt: skip
NOON = 1_711_728_000_000_000_000  # 2024-03-29 16:00 UTC, a Friday on which XNYS was closed
HORIZON = NOON + 5_000_000_000
SOUND: list[Any] = [
    {"T": "t", "S": "AAPL", "i": 7, "x": "V", "p": 171.25, "s": 100, "c": ["@"], "t": "2024-03-28T15:00:00.5Z", "z": "C"},
    {"T": "q", "S": "AAPL", "bx": "V", "bp": 171.24, "bs": 2, "ax": "V", "ap": 171.26, "as": 3, "c": ["R"], "t": NOON - 10**9},
    {"T": "b", "S": "BTC/USD", "o": 10.0, "h": 12.0, "l": 9.0, "c": 11.0, "v": 3.5, "n": 4, "vw": 10.5, "t": NOON - 120 * 10**9},
    {"T": "u", "S": "AAPL", "o": 10, "h": 12, "l": 9, "c": 11, "v": 3, "t": "2024-03-28T15:00:00Z"},
    {"T": "error", "code": 406, "msg": "connection limit exceeded"},
    {"T": "success", "msg": "connected"},
    {"T": "subscription", "trades": ["AAPL"], "quotes": ["AAPL"], "bars": ["AAPL", "BTC/USD"]},
]  # fmt: skip


def packed(tree: Any) -> bytes:
    "As msgpack, as far as it can be said in it."
    try:
        return bytes(msgpack.packb(tree))
    except (OverflowError, ValueError):
        return json.dumps(tree).encode()


frames = st.one_of(
    faulty(SOUND).map(packed),
    spoiled(SOUND).map(lambda text: text.encode("utf-8", "replace")),
    st.tuples(faulty(SOUND).map(packed), st.integers(0, 400)).map(lambda told: told[0][: told[1]]),
    st.sampled_from([*(page.encode() for page in PAGES), b"\xff", b"\xc1", b"\x91" * 2000, b"\xdf\xff\xff\xff\xff"]),
    st.binary(max_size=30),
)


def possible(one: Any) -> None:
    "What is promised of everything that is handed on."
    assert isinstance(one.symbol, str)
    assert type(one.nanos) is int
    assert 0 < one.nanos <= HORIZON
    assert one.time.year >= 1970
    prices = [value for value in one if isinstance(value, float)]
    assert all(math.isfinite(value) and value >= 0 for value in prices)
    if type(one) is Trade:
        assert one.price > 0
        assert hash(one.key) is not None
    if type(one) is MinuteBar:
        assert 0 < one.low <= min(one.open, one.close) <= max(one.open, one.close) <= one.high
        assert one.nanos % 60_000_000_000 == 0


@CASES
@given(frames)
@example(json.dumps([SOUND[0] | {"t": "NaT"}]).encode())
@example(json.dumps([SOUND[0] | {"T": ["t"]}]).encode())
@example(json.dumps([SOUND[0] | {"i": [7]}]).encode())
@example(json.dumps([SOUND[0] | {"p": True}]).encode())
@example(json.dumps([SOUND[1] | {"bp": True}]).encode())
@example(json.dumps([SOUND[0] | {"p": 10**400}]).encode())
@example(json.dumps([SOUND[0] | {"t": "1677-09-21T00:12:44Z"}]).encode())
@example(json.dumps([SOUND[2] | {"t": 0}]).encode())
@example(b"[" * 100_000)
def test_any_frame_gives_prices_that_can_be_true_or_a_refusal(frame: bytes) -> None:
    try:
        messages = messages_in(frame)
    except BrokenFrameError as refused:
        names(refused, "cannot be read")
        return
    heard, refused = heard_in(messages, HORIZON)
    told = [one for one in messages if isinstance(one.get("T"), str) and one["T"] in ("t", "q", "b", "u")]
    assert len(heard) + len(refused) == len(told)
    once, mender = _Once(), Mender(Fetching(None, lambda: NOON), None)  # type: ignore[arg-type]
    for one in heard:
        possible(one)
        if type(one) is Trade:
            once.new(one)
        elif type(one) is MinuteBar:
            mender.sift(one)
        else:
            assert type(one) is BidAsk


def test_the_frames_of_these_tests_are_right_when_nothing_is_wrong() -> None:
    for frame in (packed(SOUND), json.dumps(SOUND).encode()):
        heard, refused = heard_in(messages_in(frame), HORIZON)
        assert [type(one).__name__ for one in heard] == ["Trade", "BidAsk", "MinuteBar", "MinuteBar"]
        assert refused == []


class Web:
    "A connection over which one frame comes."

    def __init__(self, frame: bytes):
        self.frame = frame

    async def recv(self, decode: bool) -> bytes:
        return self.frame


@CASES
@given(frames)
@example(b'[{"T":"error","code":[402],"msg":"x"}]')
@example(b'[{"T":"error","code":402.0,"msg":"x"}]')
@example(b'[{"T":"error","code":402,"msg":null}]')
@example(b'[{"T":"subscription","trades":[["AAPL"]]}]')
def test_any_frame_is_heard_or_ends_the_line_for_a_reason_that_it_knows(frame: bytes) -> None:
    ear = Ear(Web(frame), "ws://127.0.0.1/", Keys("k", "s"))  # type: ignore[arg-type]
    hearing = ear.hear()
    try:
        with pytest.raises(StopIteration):
            hearing.send(None)
    except (BrokenFrameError, ConnectionError, StreamRefusedError) as known:
        names(known)
        return
    assert all(isinstance(symbol, str) for symbols in ear.confirmed.values() for symbol in symbols)
