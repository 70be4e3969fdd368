"""The time that counts is the venue's: asked as often as it must be, never guessed at, and told when ours is wrong."""

from __future__ import annotations

import threading
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from trading_core.data import HybridDataNormalizer
from trading_core.execution import ExecutorBase, PaperExecutor, VenueUnreachable
from trading_core.execution.alpaca import AlpacaExecutor
from trading_core.execution.alpaca_line import ClearNo
from trading_core.execution.approvals import clock_of
from trading_core.execution.ccxt_executor import CcxtExecutor
from trading_core.execution.clock import KEEP, AskedClock, apart_text, utc_now
from trading_core.execution.venue import ManualClock, PanelMarket, PaperVenue
from trading_core.execution.venue.faults import Faults
from trading_core.execution.venue.local import local_session

MARCH = pd.Timestamp("2024-03-06 15:00", tz="UTC")


class There:
    "A venue's clock that runs `speed` times as fast as ours; both are in our hands."

    def __init__(self, speed: float = 1.0) -> None:
        self.speed, self.here, self.asked, self.ahead = speed, 0.0, 0, pd.Timedelta(0)
        self.broken = False
        self.clock = AskedClock(self.tell, steady=lambda: self.here)

    def tell(self) -> pd.Timestamp:
        self.asked += 1
        if self.broken:
            raise VenueUnreachable("there", "tell the time", "the line broke")
        return self.true()

    def true(self) -> pd.Timestamp:
        return MARCH + self.ahead + pd.Timedelta(self.here * self.speed, "s")

    def wrong(self) -> float:
        return abs((self.clock() - self.true()).total_seconds())


@pytest.mark.parametrize("speed", [0.0, 0.5, 1.0, 2.0, 60.0, 3600.0])
def test_at_any_speed_the_time_is_right(speed: float) -> None:
    there = There(speed)
    for _ in range(300):
        assert there.wrong() < 1e-3
        there.here += 0.1


def test_a_clock_like_ours_is_asked_seldom_and_any_other_each_time() -> None:
    asked = {}
    for speed in (1.0, 60.0):
        there = There(speed)
        for _ in range(600):
            there.clock()
            there.here += 0.1
        asked[speed] = there.asked
    assert asked[60.0] == 600
    assert asked[1.0] < 25


def test_a_jump_is_noticed_when_the_answer_has_grown_old_and_each_look_asks_then() -> None:
    there = There()
    for there.here in (0.0, 1.0, 2.0):
        there.clock()
    there.ahead = pd.Timedelta("8h")
    there.here = 2.0 + KEEP
    assert there.wrong() == 0
    before = there.asked
    assert there.wrong() == there.wrong() == 0
    assert there.asked == before + 2


def test_what_cannot_be_asked_is_raised_and_asked_again() -> None:
    there = There()
    there.broken = True
    with pytest.raises(VenueUnreachable):
        there.clock()
    there.broken = False
    assert there.wrong() == 0


def test_threads_may_share_it() -> None:
    there, seen = There(), []
    there.clock()
    there.here = 1.0
    there.clock()
    threads = [threading.Thread(target=lambda: seen.append(there.clock())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert set(seen) == {there.true()}
    assert there.asked == 2


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, ""), (5, ""), (-5, ""), (6, "6 seconds behind"), (-90, "90 seconds ahead of")]
)
def test_two_clocks_that_differ_are_told_in_a_sentence(seconds: int, said: str) -> None:
    text = apart_text("alpaca", MARCH + pd.Timedelta(seconds, "s"), MARCH)
    assert said in text
    assert bool(text) == bool(said)


def venue(clock: ManualClock) -> PaperVenue:
    days = pd.date_range("2024-03-04", "2024-03-15", tz="UTC")
    bars = pd.DataFrame(np.full((len(days), 4), 100.0), days, ["open", "high", "low", "close"]).assign(volume=1e6)
    panel = HybridDataNormalizer().normalize({"COIN/USD": bars})
    return PaperVenue(PanelMarket(panel), clock=clock, cash=Decimal(1000), key="k", secret="s")


def test_alpaca_tells_the_time_of_its_own_clock_wherever_that_is() -> None:
    clock = ManualClock(MARCH)
    there = venue(clock)
    executor = AlpacaExecutor("k", "s", url="http://venue", session=local_session(there))
    assert executor.now() == MARCH
    clock.advance(MARCH + pd.Timedelta("9h"))
    assert executor.now() == MARCH + pd.Timedelta("9h")
    asked_by = clock_of(executor)()
    assert (asked_by, type(asked_by).__name__) == (MARCH + pd.Timedelta("9h"), "datetime")


def test_a_silent_alpaca_or_a_wrong_key_tells_no_time() -> None:
    there = venue(ManualClock(MARCH))
    dead = local_session(there, Faults(1, {"unavailable": 1.0}))
    with pytest.raises(VenueUnreachable, match="tell the time") as silent:
        AlpacaExecutor("k", "s", url="http://venue", session=dead, sleep=lambda seconds: None).now()
    with pytest.raises(ClearNo) as refused:
        AlpacaExecutor("wrong", "s", url="http://venue", session=local_session(there)).now()
    assert (silent.value.brief, refused.value.brief) == ("No answer from alpaca", "alpaca refused the key (HTTP 403)")


def test_an_exchange_is_asked_where_it_has_a_clock_and_ours_serves_where_it_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executor = CcxtExecutor("binance", "k", "s", url="http://127.0.0.1:9")
    executor.exchange.markets = {}
    monkeypatch.setattr(executor.exchange, "fetch_time", lambda: int(MARCH.timestamp() * 1000))
    assert executor.now() == MARCH
    executor.exchange.has["fetchTime"] = False
    assert abs(executor.now() - utc_now()) < pd.Timedelta("1min")


def test_paper_goes_by_our_clock() -> None:
    assert PaperExecutor.now is ExecutorBase.now
