"""The stream only wakes up; whatever it says twice, late or not at all, each fill is booked once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from benches import SocketBench, ids

from trading_core.execution import Wakeups
from trading_core.execution.venue.faults import Faults
from trading_core.execution.venue.server import VenueServer
from trading_core.model import OrderRequest, Side, money


def wait_for(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


class Bench(SocketBench):
    def __init__(self, servers: ExitStack, rates: dict[str, float]) -> None:
        super().__init__(servers)
        self.server = servers.enter_context(VenueServer(self.venue, Faults(11, rates)))


def coins(number: int) -> OrderRequest:
    return OrderRequest(f"order-{number}", "COIN/USD", Side.BUY, money("0.1"))


@pytest.mark.parametrize(
    "rates",
    [{"duplicate": 0.6, "replay": 0.4}, {"reorder": 0.6}, {"gap": 0.6}, {"silence": 0.3, "gap": 0.3}],
    ids=["twice", "out of order", "gaps", "silence"],
)
def test_fills_are_booked_once_however_the_stream_tells_them(rates: dict[str, float]) -> None:
    with ExitStack() as servers:
        bench = Bench(servers, rates)
        venue, woken, booked, cursor = bench.executor(), threading.Event(), [], ""
        with Wakeups("paper-key", "paper-secret", woken.set, url=bench.server.url, stale=0.4) as stream:
            assert wait_for(lambda: stream.connected)
            for number in range(6):
                venue.submit(coins(number))
            end = time.monotonic() + 15
            while len(booked) < 12 and time.monotonic() < end:
                woken.wait(0.5)
                woken.clear()
                new, cursor = venue.fills_after(cursor)
                booked += new
        assert sorted(f.client_id for f in booked if f.side is Side.BUY) == [f"order-{n}" for n in range(6)]
        assert len(set(ids(booked))) == len(booked) == 12


def test_a_silent_stream_is_replaced_and_wakes_up_each_time() -> None:
    with ExitStack() as servers:
        bench, knocks = Bench(servers, {}), []
        with Wakeups("paper-key", "paper-secret", lambda: knocks.append(1), url=bench.server.url, stale=0.2) as stream:
            assert wait_for(lambda: stream.restarts >= 2)
            assert stream._silences >= 1  # each silence in a row is tolerated for longer
        assert len(knocks) >= 4  # two connections and two silences at least


def test_a_stream_that_is_opened_a_second_time_is_watched_again() -> None:
    with ExitStack() as servers:
        bench = Bench(servers, {})
        stream = Wakeups("paper-key", "paper-secret", lambda: None, url=bench.server.url, stale=0.2)
        with stream:
            assert wait_for(lambda: stream.connected)
        with stream:
            before = stream.restarts
            assert wait_for(lambda: stream.restarts > before)


def test_a_stream_with_a_wrong_key_says_so_and_ends() -> None:
    with ExitStack() as servers:
        bench = Bench(servers, {})
        with Wakeups("AK-canary", "SK-canary", lambda: None, url=bench.server.url, connect=0.3) as stream:
            assert wait_for(lambda: stream.restarts >= 1 and stream.problem != "")
            assert not stream.connected
            assert "canary" not in stream.problem
    assert wait_for(lambda: not any("trade updates" in thread.name for thread in threading.enumerate()))


def test_a_venue_that_goes_away_and_comes_back_wakes_up() -> None:
    with ExitStack() as servers:
        bench, knocks = Bench(servers, {}), []
        port = bench.server.port
        with Wakeups(
            "paper-key", "paper-secret", lambda: knocks.append(1), url=bench.server.url, connect=0.5
        ) as stream:
            assert wait_for(lambda: stream.connected)
            bench.server.stop()
            before = len(knocks)
            with VenueServer(bench.venue, port=port):
                assert wait_for(lambda: len(knocks) > before, 20)


def test_an_executor_without_a_stream_never_wakes_up() -> None:
    from benches import LocalBench

    from trading_core.execution import CcxtExecutor

    knocks: list[int] = []
    with CcxtExecutor("binance", "key", "secret").wakeups(lambda: knocks.append(1)):
        pass
    assert knocks == []
    assert isinstance(LocalBench().executor().wakeups(lambda: None), Wakeups)
