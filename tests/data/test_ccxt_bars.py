"""CcxtBars against the Binance of this machine and against exchanges with odd habits, over real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_core.data.ccxt_bars import CcxtBars, CcxtSaidNoError, forwards
from trading_core.data.intervals import grid
from trading_core.data.loopback import Answer, Loopback
from trading_core.data.normalizer import HybridDataNormalizer
from trading_core.data.panel import UnknownSymbolError
from trading_core.data.patience import Manners, SourceError
from trading_core.data.promises import check_source
from trading_core.data.sources import BadBarsError, NoBarsError
from trading_core.execution.venue.binance import BinanceServer, SpotBook
from trading_core.execution.venue.market import ManualClock, PanelMarket
from trading_core.sessions import as_day

pytest.importorskip("ccxt", reason="no ccxt: bars of exchanges are not tried")

NOW = "2024-03-27 18:20"
QUICK = Manners(attempts=4, pause=0.001, timeout=2.0)
DAYS = pd.date_range("2020-11-01", "2024-03-28", tz="UTC", unit="ns")
CLOSE = 500.0 + np.arange(len(DAYS), dtype=float)
COIN = pd.DataFrame({"open": CLOSE - 0.5, "high": CLOSE + 1, "low": CLOSE - 1, "close": CLOSE, "volume": 1440.0}, DAYS)


@pytest.fixture(scope="module")
def binance() -> Iterator[CcxtBars]:
    panel = HybridDataNormalizer().normalize({"COIN/USD": COIN})
    with BinanceServer(SpotBook(PanelMarket(panel), clock=ManualClock(NOW))) as server:
        yield CcxtBars("binance", server.url, QUICK, today=NOW)


def test_every_day_comes_once_over_the_seam_of_a_thousand(binance: CcxtBars):
    bars = check_source(binance, "COIN/USD")
    assert len(bars) == 1242 > 1000
    pd.testing.assert_frame_equal(bars, COIN[: as_day("2024-03-26")], check_freq=False)


def test_the_day_and_the_hour_of_now_are_left_out(binance: CcxtBars):
    assert binance.bars("COIN/USD", "2024-03-20").index[-1] == as_day("2024-03-26")
    assert binance.bars("COIN/USD", "2024-03-26", interval="1h").index[-1] == pd.Timestamp("2024-03-27 18:00", tz="UTC")
    with pytest.raises(NoBarsError, match=r"binance has no bars of COIN/USD from 2024-03-27"):
        binance.bars("COIN/USD", "2024-03-27")


@pytest.mark.parametrize(("interval", "start"), [("1m", "2024-03-09"), ("5m", "2024-03-01"), ("1h", "2024-01-20")])
def test_short_bars_end_at_every_mark_over_pages_and_changes_of_clocks(binance: CcxtBars, interval: str, start: str):
    bars = binance.bars("COIN/USD", start, "2024-03-12", interval)
    assert bars.index.equals(grid("24/7", interval, start, "2024-03-12"))
    last = bars["2024-03-12":"2024-03-13"]
    assert last["close"].iloc[-1] == pytest.approx(COIN.loc[as_day("2024-03-12"), "close"])


def test_symbols_are_ours_or_the_exchanges(binance: CcxtBars):
    assert binance.symbols() == ["COIN/USDT"]
    assert binance.bars("COIN/USDT", "2024-03-01").equals(binance.bars("COIN/USD", "2024-03-01"))
    with pytest.raises(UnknownSymbolError, match="binance has no symbol 'KOIN/USD'"):
        binance.bars("KOIN/USD")


def test_the_latest_price_has_a_time_and_a_stranger_does_not_cost_it(binance: CcxtBars):
    latest = binance.latest(["NONE/USD", "COIN/USD"])
    assert latest["price"].notna().tolist() == [False, True]
    assert latest["time"].iloc[1] <= pd.Timestamp(NOW, tz="UTC")
    assert list(binance.latest("COIN/USD").index) == ["COIN/USD"]


MARKET = {
    "symbol": "COINUSDT", "status": "TRADING", "baseAsset": "COIN", "quoteAsset": "USDT", "isSpotTradingAllowed": True,
    "permissions": ["SPOT"], "filters": [],
}  # fmt: skip
Rows = list[list[Any]]


def kline(day: pd.Timestamp, price: Any = "10") -> list[Any]:
    return [int(day.timestamp() * 1000), price, price, price, price, "1", 0, "0", 1, "0", "0", "0"]


@pytest.fixture
def odd() -> Iterator[Callable[[Callable[[pd.Timestamp, int], Rows]], tuple[Loopback, CcxtBars]]]:
    "An exchange that answers bars since a moment as a function says."
    with ExitStack() as stack:

        def make(rows: Callable[[pd.Timestamp, int], Rows], now: str = NOW) -> tuple[Loopback, CcxtBars]:
            def say(path: str, query: dict[str, str]) -> object:
                if "klines" not in path:
                    return {"symbols": [MARKET]}
                return rows(pd.Timestamp(int(query["startTime"]), unit="ms", tz="UTC"), int(query["limit"]))

            server = stack.enter_context(Loopback(say))
            return server, CcxtBars("binance", server.url, QUICK, today=now, page=10)

        yield make


LISTED = pd.date_range("2024-01-10", "2024-03-26", tz="UTC")
HABITS: dict[str, Callable[[pd.Timestamp, int], Rows]] = {
    "as asked": lambda since, size: [kline(d) for d in LISTED[since <= LISTED][:size]],
    "one too early": lambda since, size: [kline(d) for d in LISTED[since - pd.Timedelta(days=1) <= LISTED][:size]],
    "windows that may be empty": lambda since, size: [
        kline(d) for d in pd.date_range(since, periods=size) if d in LISTED
    ],
    "windows shorter than a page": lambda since, size: [
        kline(d) for d in pd.date_range(since, periods=3) if d in LISTED
    ],
    "newest first": lambda since, size: [kline(d) for d in LISTED[since <= LISTED][:size]][::-1],
    "fewer than asked": lambda since, size: [kline(d) for d in LISTED[since <= LISTED][:3]],
    "more than asked": lambda since, size: [kline(d) for d in LISTED],
    "the same twice": lambda since, size: [kline(d) for d in LISTED[since <= LISTED][:size]] * 2,
}


@pytest.mark.parametrize("habit", HABITS)
def test_whatever_the_habit_each_day_comes_once(odd: Any, habit: str):
    _, source = odd(HABITS[habit])
    assert source.bars("COIN/USD", "2023-10-01").index.equals(LISTED)
    assert source.bars("COIN/USD", "2024-02-01", "2024-02-25").index.equals(
        pd.date_range("2024-02-01", "2024-02-25", tz="UTC")
    )


def test_a_hole_of_months_is_passed_over(odd: Any):
    held = LISTED[(LISTED < "2024-01-15") | (LISTED > "2024-03-10")]
    _, source = odd(lambda since, size: [kline(d) for d in pd.date_range(since, periods=size) if d in held])
    assert source.bars("COIN/USD", "2023-12-01").index.equals(held)


@pytest.mark.parametrize("window", [3, 10])
@pytest.mark.parametrize("start", ["2023-12-01", "2024-01-10", "2024-01-16"])
def test_a_hole_is_passed_over_in_steps_that_the_exchange_has_shown(odd: Any, window: int, start: str):
    held = LISTED[(LISTED < "2024-01-13") | (LISTED > "2024-01-20")]
    server, source = odd(lambda since, size: [kline(d) for d in pd.date_range(since, periods=window) if d in held])
    assert source.bars("COIN/USD", start).index.equals(held[held >= start])
    assert sum("klines" in path for path, _ in server.asked) < 40 + 2 * 117 / window
    assert source.bars("COIN/USD", "2024-01-16", "2024-01-22").index.equals(
        held[(held > "2024-01-15") & (held < "2024-01-23")]
    )


@pytest.mark.parametrize("since_counts", [True, False])
def test_an_exchange_that_answers_with_its_last_bars_is_refused_where_earlier_ones_would_be_lost(
    odd: Any, since_counts: bool
):
    last = lambda since, size: [kline(d) for d in (LISTED[since <= LISTED] if since_counts else LISTED)[-size:]]  # noqa: E731
    _, source = odd(last)
    for start, end in (("2023-10-01", None), (None, None), ("2024-02-01", "2024-02-25"), ("2024-01-10", "2024-01-12")):
        with pytest.raises(BadBarsError, match=r"Begin at 2024-03-17, or take another exchange. It came from binance"):
            source.bars("COIN/USD", start, end)
    assert source.bars("COIN/USD", "2024-03-17").index.equals(LISTED[-10:])
    assert source.bars("COIN/USD", "2024-03-20").index.equals(LISTED[-7:])


@pytest.mark.parametrize("window", [None, 10])
def test_a_coin_listed_years_after_the_first_day_costs_few_questions(odd: Any, window: int | None):
    hours = pd.date_range("2024-03-20 07:00", "2024-03-27 18:00", freq="h", tz="UTC")

    def say(path: str, query: dict[str, str]) -> object:
        if "klines" not in path:
            return {"symbols": [MARKET]}
        held = hours if query["interval"] == "1h" else hours.normalize().unique()
        since = pd.Timestamp(int(query["startTime"]), unit="ms", tz="UTC")
        ends = since + (window or 10**4) * pd.Timedelta(query["interval"])
        return [kline(d) for d in held[(since <= held) & (held < ends)][: int(query["limit"])]]

    server, source = odd(lambda since, size: [])
    server.say = say
    bars = source.bars("COIN/USD", "2023-06-01", interval="1h")
    assert bars.index.equals(hours[:-1] + pd.Timedelta(hours=1))
    assert sum("klines" in path for path, _ in server.asked) < 80


def test_a_row_of_nulls_is_no_bar_and_half_a_row_is_refused(odd: Any):
    _, source = odd(
        lambda since, size: [kline(d, None if d.day == 20 else "10") for d in LISTED[since <= LISTED][:size]]
    )
    assert as_day("2024-02-20") not in source.bars("COIN/USD").index
    torn = kline(as_day("2024-02-20"))
    torn[3] = None
    _, source = odd(
        lambda since, size: [torn if f"{d:%m%d}" == "0220" else kline(d) for d in LISTED[since <= LISTED][:size]]
    )
    with pytest.raises(BadBarsError, match="COIN/USD, 2024-02-20: a value is missing"):
        source.bars("COIN/USD", "2024-02-01")


def test_days_of_hong_kong_are_refused(odd: Any):
    shifted = LISTED + pd.Timedelta(hours=16)
    _, source = odd(lambda since, size: [kline(d) for d in shifted[since <= shifted][:size]])
    with pytest.raises(BadBarsError, match="the bar has a time of day"):
        source.bars("COIN/USD")


@pytest.mark.parametrize("ahead", ["2024-03-29", "2025-01-01"])
def test_a_bar_from_the_future_is_refused(odd: Any, ahead: str):
    _, source = odd(lambda since, size: [kline(d) for d in LISTED[since <= LISTED][:size]] + [kline(as_day(ahead))])
    with pytest.raises(
        BadBarsError, match=f"COIN/USD, {ahead}: it is 2024-03-27 18:20 UTC, and there is a bar from the future"
    ):
        source.bars("COIN/USD")


TROUBLES = {
    "busy": Answer({"code": -1003, "msg": "Too much request weight used"}, 429),
    "shut out": Answer({"code": -1003, "msg": "Way too much request weight used"}, 418),
    "html with 503": Answer("<html>maintenance</html>", 503),
    "html with 200": Answer("<html>log in</html>"),
    "half an answer": Answer([kline(d) for d in LISTED[:10]], cut=100),
    "its own 500": Answer({"code": -1001, "msg": "Internal error; unable to process your request."}, 500),
    "silence": Answer("", after=30),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_in_the_middle_costs_nothing(odd: Any, trouble: str):
    left = [TROUBLES[trouble]] * 2
    server, source = odd(HABITS["as asked"])
    source = CcxtBars("binance", server.url, Manners(4, 0.001, 0.4), today=NOW, page=10)
    say = server.say
    server.say = lambda path, query: (
        left.pop() if "klines" in path and len(server.asked) > 4 and left else say(path, query)
    )
    assert source.bars("COIN/USD", "2024-01-01").index.equals(LISTED)
    assert not left


@pytest.mark.parametrize("trouble", [name for name in TROUBLES if name != "silence"])
def test_trouble_that_stays_is_an_error_that_names_no_address(odd: Any, trouble: str):
    server, source = odd(HABITS["as asked"])
    say = server.say
    server.say = lambda path, query: TROUBLES[trouble] if "klines" in path else say(path, query)
    with pytest.raises(SourceError, match="binance gave no answer about COIN/USD in 4 attempts") as failed:
        source.bars("COIN/USD")
    assert "127.0.0.1" not in str(failed.value)


def test_a_refusal_is_final(odd: Any):
    server, source = odd(HABITS["as asked"])
    say = server.say
    server.say = lambda path, query: (
        Answer({"code": -1100, "msg": "Illegal characters found."}, 400) if "klines" in path else say(path, query)
    )
    with pytest.raises(CcxtSaidNoError, match="binance refuses bars of COIN/USD: Illegal characters found"):
        source.bars("COIN/USD")
    assert sum("klines" in path for path, _ in server.asked) == 1


@given(
    st.lists(st.integers(0, 400), max_size=80, unique=True), st.integers(0, 200), st.integers(1, 200), st.integers(1, 40),
    st.integers(0, 5), st.integers(0, 40), st.booleans(),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_pages_give_each_bar_once_whatever_they_overlap(held, first, length, size, early, window, turned):
    stop, asked = first + length, []
    held = sorted({*held, stop - 1})  # the coin is traded to the end
    wide = min(window, size)  # 0: no window

    def page(since: int) -> Rows:
        asked.append(since)
        some = [n for n in held if n >= since - early and (not wide or n < since + wide)]
        some = some if wide else some[: size + early]
        return [[n, 1.0] for n in (reversed(some) if turned else some)]

    found = [row[0] for row in forwards(page, first, stop, 1, size)]
    assert found == [n for n in held if first <= n < stop]
    assert len(asked) <= 2 * length + 12
