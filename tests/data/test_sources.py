"""The port: sources of one method, windows, moments, and the questions that every source is asked."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_core.data.intervals import grid
from trading_core.data.promises import check_source
from trading_core.data.simulated import SimulatedBars
from trading_core.data.sources import (
    BadBarsError,
    BarSource,
    DaysBackError,
    IntervalError,
    NoBarsError,
    Source,
    actions_of,
    as_source,
    checked_bars,
    complete_bars,
    in_window,
)
from trading_core.errors import DataError, UnknownNameError
from trading_core.sessions import as_day

DAYS = pd.date_range("2024-01-01", "2024-01-20", tz="UTC", unit="ns")


def table(index: pd.DatetimeIndex = DAYS) -> pd.DataFrame:
    close = 10.0 + np.arange(len(index))
    return pd.DataFrame({"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 1.0}, index)


class Old:
    "What a user wrote two years ago."

    name, simulated, colour = "old", False, "green"

    def symbols(self) -> list[str]:
        return ["COIN/USD"]

    def bars(self, symbol: str, start: Any = None, end: Any = None) -> pd.DataFrame:
        found = table().loc[None if start is None else as_day(start) : None if end is None else as_day(end)]
        if found.empty or symbol != "COIN/USD":
            raise NoBarsError(self.name, symbol, "in those days")
        return found


class Tiny:
    "The least that can be a source."

    def bars(self, symbol: str, start: Any = None, end: Any = None) -> pd.DataFrame:
        return Old().bars(symbol, start, end)


class Heir(Source):
    "One method, and the rest inherited."

    def bars(self, symbol: str, start: Any = None, end: Any = None) -> pd.DataFrame:
        return Old().bars(symbol, start, end)


class Reader(Source):
    "Asked for days that are worked out already."

    def read(self, symbol: str, start: Any, end: Any, interval: str) -> pd.DataFrame:
        return Old().bars(symbol, start, end)


@pytest.mark.parametrize("kind", [Old, Tiny, Heir, Reader])
def test_a_source_of_one_method_keeps_every_promise(kind: type):
    assert len(check_source(kind(), "COIN/USD")) == 20
    source = as_source(kind())
    assert isinstance(source, BarSource)
    assert source.name == kind.__name__.lower()
    assert source.simulated is False
    assert source.bars("COIN/USD", days_back=3, end="2024-01-10").index.strftime("%d").tolist() == ["08", "09", "10"]
    with pytest.raises(IntervalError, match="has no bars of 1h; it offers 1d"):
        source.bars("COIN/USD", interval="1h")
    assert source.latest(["COIN/USD", "NONE"])["price"].tolist() == pytest.approx([29.0, np.nan], nan_ok=True)


def test_whatever_an_old_source_has_beyond_the_port_stays():
    source = as_source(Old())
    assert source.colour == "green"
    assert source.symbols() == ["COIN/USD"]
    assert as_source(source) is source
    assert pickle.loads(pickle.dumps(source)).bars("COIN/USD").equals(table())


def test_a_whole_source_is_left_as_it_is():
    market = SimulatedBars(today="2024-02-01")
    assert as_source(market) is market
    assert isinstance(market, Source)


def test_an_old_source_with_a_connection_is_closed_with_it():
    closed = []

    class Connected(Old):
        def close(self) -> None:
            closed.append("closed")

    with as_source(Connected()) as source:
        source.bars("COIN/USD")
    assert closed == ["closed"]


@pytest.mark.parametrize("days_back", [0, -3, 1.5, True, "7"])
def test_days_back_is_a_whole_number_above_zero_and_stands_alone(days_back: Any):
    with pytest.raises(DaysBackError, match="a whole number of days above 0"):
        SimulatedBars(today="2024-02-01").bars("BTC/USD", days_back=days_back)
    with pytest.raises(DaysBackError, match="beside start=2024-01-01"):
        SimulatedBars(today="2024-02-01").bars("BTC/USD", "2024-01-01", days_back=3)


@pytest.mark.parametrize("kind", [Tiny, Heir, Reader])
def test_one_text_is_one_symbol_and_not_its_letters(kind: type):
    source = as_source(kind())
    assert list(source.latest("COIN/USD").index) == ["COIN/USD"]
    assert source.latest("COIN/USD").equals(source.latest(["COIN/USD"]))


def test_days_back_ends_with_the_last_complete_day():
    market = SimulatedBars(today="2024-02-01")
    assert market.bars("BTC/USD", days_back=np.int64(2)).equals(market.bars("BTC/USD", days_back=2))
    assert market.bars("BTC/USD", days_back=2).index.strftime("%m-%d").tolist() == ["01-30", "01-31"]


class Broken:
    "A source of one slip each."

    def __init__(self, slip: str):
        self.slip, self.closed = slip, False

    name, simulated = "broken", False

    def symbols(self) -> list[str]:
        return []

    def bars(
        self, symbol: str, start: Any = None, end: Any = None, interval: str = "1d", *, days_back: Any = None
    ) -> pd.DataFrame:
        if self.closed and self.slip == "closed for good":
            raise NoBarsError(self.name, symbol, "at all")
        if interval != "1d" and self.slip == "an interval by another error":
            raise KeyError(interval)
        if interval != "1d" and self.slip == "no word of it":
            raise NoBarsError(self.name, symbol, "in those days")
        if interval != "1d" and self.slip != "any interval":
            raise IntervalError(self.name, interval, ["1d"])
        if days_back and self.slip == "days_back off by one":
            days_back += 1
        if days_back and self.slip != "days_back ignored":
            start = as_day(end) - pd.Timedelta(days=days_back - 1)
        found = table()
        if self.slip == "the window moves the prices" and start is not None:
            found = found * 1.0001
        found = found.loc[start and as_day(start) : end and as_day(end)]
        if found.empty and self.slip != "an empty table":
            raise NoBarsError(self.name, symbol, "in those days")
        return found

    def latest(self, symbols: Any) -> pd.DataFrame:
        time = pd.Timestamp("2024-01-21", tz=None if self.slip == "a time without a zone" else "UTC")
        row = {"price": [0.0 if self.slip == "a price of nothing" else 29.0], "time": [time]}
        return pd.DataFrame(row, list(symbols)).drop(columns="time" if self.slip == "no time" else [])

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Any:
        return None if self.slip == "with gives nothing" else self

    def __exit__(self, *problem: Any) -> None:
        self.close()


SLIPS = {
    "an interval by another error": "KeyError for bars of 7w",
    "any interval": "an interval that is not offered is refused",
    "no word of it": "a refusal names the interval",
    "days_back off by one": "days_back",
    "days_back ignored": "days_back",
    "the window moves the prices": "a bar does not depend on the window",
    "an empty table": "a window without bars is refused",
    "a time without a zone": "has a time in UTC",
    "a price of nothing": "it is above zero",
    "no time": "with price and time",
    "closed for good": "has no bars",
    "with gives nothing": "it gives the source itself",
}


@pytest.mark.parametrize("slip", SLIPS)
def test_every_broken_promise_is_named(slip: str):
    with pytest.raises(DataError, match=SLIPS[slip]):
        check_source(Broken(slip), "COIN/USD")


class Hollow(Source):
    "Reads a table without rows, as a query of a database does for days that it does not have."

    def read(self, symbol: str, start: Any, end: Any, interval: str) -> pd.DataFrame:
        return Old().bars(symbol).iloc[:0]


def test_a_read_without_rows_is_refused_by_its_source_and_days():
    with pytest.raises(NoBarsError, match=r"^hollow has no bars of COIN/USD from 2024-01-05 to 2024-01-08"):
        Hollow().bars("COIN/USD", "2024-01-05", "2024-01-08")


class Forgetful(Source):
    "Tells of a split only if the window begins before its day."

    def read(self, symbol: str, start: Any, end: Any, interval: str) -> pd.DataFrame:
        bars = Old().bars(symbol, start, end)
        ex_day = Old().bars(symbol).index[10]
        return bars.assign(split=np.where((bars.index == ex_day) & (bars.index[0] < ex_day), 4.0, 1.0))


def test_a_split_that_depends_on_the_window_breaks_a_promise():
    with pytest.raises(BadBarsError, match="a bar does not depend on the window"):
        check_source(Forgetful(), "COIN/USD")


def test_a_source_without_a_slip_passes():
    assert len(check_source(Broken(""), "COIN/USD")) == 20


@pytest.mark.parametrize("interval", ["1m", "5m", "30m", "1h"])
def test_short_bars_are_checked_by_their_own_marks(interval: str):
    index = grid("XNYS", interval, "2024-11-27", "2024-12-02")
    assert checked_bars("ACME", table(index), interval).index.equals(index)
    with pytest.raises(BadBarsError, match="time of day"):
        checked_bars("ACME", table(index))
    with pytest.raises(BadBarsError, match="ends between the marks"):
        checked_bars("ACME", table(index + pd.Timedelta(seconds=12)), interval)
    with pytest.raises(BadBarsError, match="the time is there twice"):
        checked_bars("ACME", table(index.append(index[-1:])), interval)
    with pytest.raises(UnknownNameError, match="interval: '2h'"):
        checked_bars("ACME", table(index), "2h")


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [("split", 0.0, "4.0 is four for one"), ("split", -1.0, "split"), ("split", np.inf, "split"), ("split", None, "split"),
     ("split", "4:1", "the split is 4:1"), ("dividend", -0.1, "0.0 is none"), ("dividend", np.nan, "dividend")],
)  # fmt: skip
def test_actions_that_cannot_be_are_refused_by_day(column: str, value: Any, words: str):
    bars = table().assign(**{column: 1.0 if column == "split" else 0.0}).astype({column: object})
    bars.iloc[4, -1] = value
    with pytest.raises(BadBarsError, match=words) as refused:
        checked_bars("ACME", bars)
    assert refused.value.place == "2024-01-05"


def test_actions_come_in_pairs_and_bars_without_them_stay_without():
    assert list(checked_bars("ACME", table().assign(dividend=0.5)).columns)[-2:] == ["split", "dividend"]
    assert list(checked_bars("ACME", table()).columns) == ["open", "high", "low", "close", "volume"]
    assert actions_of("ACME", table(), DAYS) == {}


@given(st.integers(0, 3000), st.sampled_from(["1d", "1h", "5m"]))
@settings(max_examples=200, deadline=None)
def test_no_bar_is_handed_out_before_it_is_over(minutes: int, interval: str):
    step = {"1d": "D", "1h": "h", "5m": "5min"}[interval]
    index = pd.date_range("2024-01-01", "2024-01-03", freq=step, tz="UTC", unit="ns")
    now = pd.Timestamp("2024-01-01", tz="UTC") + pd.Timedelta(minutes=minutes)
    over = index + pd.Timedelta(days=1) if interval == "1d" else index
    known = table(index[index <= now + (pd.Timedelta(0) if interval == "1d" else pd.Timedelta(minutes=4))])
    kept = complete_bars("ACME", known, interval, now)
    assert kept.index.equals(index[over <= now])


@pytest.mark.parametrize(
    ("interval", "label", "ahead"),
    [
        ("1d", "2024-01-03", True),
        ("1d", "2024-01-02", False),
        ("1h", "2024-01-02 11:00", False),
        ("1h", "2024-01-02 12:00", True),
    ],
)
def test_a_bar_that_has_not_begun_is_refused(interval: str, label: str, ahead: bool):
    now = pd.Timestamp("2024-01-02 10:30", tz="UTC")
    bars = table(pd.DatetimeIndex([label], tz="UTC"))
    if ahead:
        with pytest.raises(BadBarsError, match="a bar from the future"):
            complete_bars("ACME", bars, interval, now)
    else:
        assert complete_bars("ACME", bars, interval, now).empty


def test_a_window_of_days_has_the_bars_that_lie_in_them():
    index = pd.date_range("2024-01-01", "2024-01-04", freq="6h", tz="UTC")
    inside = index[in_window(index, "2024-01-02", "2024-01-02", "1h")]
    assert inside.strftime("%d %H").tolist() == ["02 06", "02 12", "02 18", "03 00"]
    assert len(index[in_window(index, None, None, "1h")]) == len(index)
    assert DAYS[in_window(DAYS, "2024-01-02", "2024-01-04")].equals(DAYS[1:4])


def test_a_stream_of_prices_is_loaded_when_it_is_first_named():
    code = (
        "import sys, trading_core.data as d; a = 'trading_core.data.stream' in sys.modules;"
        "print(a, d.PriceStream.__module__, 'PriceStream' in d.__all__)"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert made.split() == ["False", "trading_core.data.stream", "True"]
