"""YahooBars and the Yahoo of this machine, through yfinance and real sockets."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("YF_DISABLE_CURL_CFFI", "1")  # before yfinance is imported: plain connections can be rerouted

import numpy as np
import pandas as pd
import pytest

from trading_core.data import BarStore
from trading_core.data.intervals import grid
from trading_core.data.loopback import Answer
from trading_core.data.panel import UnknownSymbolError
from trading_core.data.promises import check_source
from trading_core.data.sources import BadBarsError, NoBarsError
from trading_core.data.yahoo import YahooBars, YahooError, fetch
from trading_core.data.yahoo_loopback import YahooLoopback, chart_of
from trading_core.errors import DataError
from trading_core.sessions import as_day, as_moment, sessions

pytestmark = pytest.mark.filterwarnings("ignore::Warning")
Home = Callable[..., tuple[YahooLoopback, YahooBars]]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    "A Yahoo of bars as traded, and a source that asks it."
    yfinance = pytest.importorskip("yfinance")
    yfinance.set_tz_cache_location(str(tmp_path / "yahoo"))
    with ExitStack() as stack:

        def make(bars: dict[str, pd.DataFrame], now: str, **more: Any) -> tuple[YahooLoopback, YahooBars]:
            server = stack.enter_context(YahooLoopback(bars, more.pop("short", None), now))
            asking = partial(fetch, session=server.session(more.pop("timeout", 5.0)))
            return server, YahooBars(today=now, fetch=asking, pause=0.0, **more)

        yield make


def daily(start: str, end: str, symbol: str = "ACME", price: float = 100.0) -> pd.DataFrame:
    "Bars with whole prices, no action."
    days = sessions("24/7" if "/" in symbol else "XNYS", start, end)
    close = price + np.arange(len(days), dtype=float)
    table = {"open": close - 0.5, "high": close + 1, "low": close - 1, "close": close, "volume": 1000.0}
    return pd.DataFrame(table, days).assign(split=1.0, dividend=0.0)


def divided(bars: pd.DataFrame, day: str, ratio: float) -> pd.DataFrame:
    "As traded, with a split before the open of `day`."
    bars = bars.copy()
    rows = bars.index >= as_day(day)
    bars.loc[rows, ["open", "high", "low", "close"]] /= ratio
    bars.loc[rows, "volume"] *= ratio
    bars.loc[as_day(day), "split"] = ratio
    return bars


def test_prices_volumes_and_dividends_come_back_as_they_were_traded(home: Home):
    traded = divided(divided(daily("2024-01-02", "2024-03-07"), "2024-01-30", 4.0), "2024-02-20", 0.1)
    traded.loc["2024-01-16", "dividend"] = 1.25
    traded.loc["2024-02-22", "dividend"] = 0.5
    _, source = home({"ACME": traded}, "2024-03-08 15:00", raw=True)
    bars = source.bars("ACME")
    pd.testing.assert_frame_equal(bars, traded, check_freq=False, rtol=1e-6, check_names=False)
    assert bars["close"].iloc[0] == 100.0  # 25/1000 of it travelled as a 32-bit number


def test_a_split_after_the_window_is_undone_in_it(home: Home):
    traded = divided(daily("2024-01-02", "2024-03-07"), "2024-03-01", 3.0)
    server, source = home({"ACME": traded}, "2024-03-08", raw=True)
    bars = source.bars("ACME", "2024-01-02", "2024-01-31")
    assert bars["close"].to_numpy() == pytest.approx(
        traded.loc["2024-01-02":"2024-01-31", "close"].to_numpy(), rel=1e-7
    )
    assert bars.index[-1] == as_day("2024-01-31")
    asked = [query for path, query in server.asked if "period2" in query]
    assert int(asked[-1]["period2"]) > as_day("2024-03-08").timestamp()


@pytest.mark.parametrize("interval", ["1d", "1h"])
def test_a_split_after_a_today_of_the_past_is_undone_too(home: Home, interval: str):
    days = divided(daily("2024-02-26", "2024-03-15"), "2024-03-12", 4.0)
    own = intraday("ACME", "1h", "2024-02-26", "2024-03-15")
    own.loc[as_day("2024-03-12") :, ["open", "high", "low", "close"]] /= 4
    _, source = home({"ACME": days}, "2024-03-16", short={"ACME": {"1h": own}})
    bars = replace(source, today="2024-03-08 16:00").bars("ACME", "2024-02-26", interval=interval)
    wanted = days[:"2024-03-07"] if interval == "1d" else own[: pd.Timestamp("2024-03-08 16:00", tz="UTC")]
    assert bars.index.equals(wanted.index)
    assert bars["close"].tolist() == pytest.approx(wanted["close"].tolist())


def test_a_split_of_this_morning_is_undone_though_its_bar_is_not_over(home: Home):
    traded = divided(daily("2024-01-02", "2024-03-08"), "2024-03-08", 2.0)
    _, source = home({"ACME": traded}, "2024-03-08 16:00", raw=True)
    bars = source.bars("ACME")
    assert bars.index[-1] == as_day("2024-03-07")
    assert (bars["split"] == 1.0).all()
    assert bars["close"].iloc[-1] == pytest.approx(traded["close"].iloc[-2])


def test_a_split_on_a_day_without_a_bar_is_told_with_the_next(home: Home):
    traded = divided(daily("2024-01-02", "2024-03-07"), "2024-02-20", 5.0)
    traded.loc["2024-02-20", ["open", "high", "low", "close", "volume"]] = np.nan
    _, source = home({"ACME": traded}, "2024-03-08", raw=True)
    bars = source.bars("ACME")
    assert as_day("2024-02-20") not in bars.index
    assert bars["split"][bars["split"] != 1.0].to_dict() == {as_day("2024-02-21"): 5.0}
    assert bars["close"].iloc[0] == pytest.approx(100.0)


@pytest.mark.parametrize("start", [None, "2024-02-28", "2024-03-05", "2024-03-06"])
def test_a_split_on_a_day_of_which_yahoo_says_nothing_is_not_told_the_day_before(home: Home, start: str | None):
    traded = divided(daily("2024-02-26", "2024-03-15"), "2024-03-05", 4.0)
    server, source = home({"ACME": traded}, "2024-03-16")
    say, gone = server.say, int(pd.Timestamp("2024-03-05 14:30", tz="UTC").timestamp())

    def without(path: str, query: dict[str, str]) -> Any:
        answer = say(path, query)
        if isinstance(answer, dict) and "period1" in query:
            result = answer["chart"]["result"][0]
            row, kinds = result["timestamp"].index(gone), result["indicators"]
            for column in (result["timestamp"], *kinds["quote"][0].values(), kinds["adjclose"][0]["adjclose"]):
                del column[row]
        return answer

    server.say = without
    bars = source.bars("ACME", start)
    wanted = traded.drop(as_day("2024-03-05"))[start or "2024-02-26" :]
    assert bars["close"].tolist() == pytest.approx(wanted["close"].tolist())
    assert bars["split"][bars["split"] != 1].to_dict() == {as_day("2024-03-06"): 4.0}


@pytest.mark.parametrize("interval", ["1d", "5m", "1m"])
def test_a_bar_tells_the_same_whatever_day_the_window_begins_with(home: Home, interval: str):
    days = divided(daily("2024-02-01", "2024-03-08"), "2024-03-01", 4.0)
    days.loc["2024-02-27", "dividend"] = 1.0
    own = intraday("ACME", "5m" if interval == "1d" else interval, "2024-02-12", "2024-03-08")
    own.loc[as_day("2024-03-01") :, ["open", "high", "low", "close"]] /= 4
    own = own[~own.index.normalize().isin([as_day("2024-02-27"), as_day("2024-03-01")])]
    days.loc[["2024-02-27", "2024-03-01"], ["open", "high", "low", "close", "volume"]] = np.nan
    _, source = home({"ACME": days}, "2024-03-09", short={"ACME": {interval: own}})
    whole = source.bars("ACME", "2024-02-15", interval=interval)
    told = whole[(whole["split"] != 1) | (whole["dividend"] != 0)]
    assert told.index.strftime("%m-%d").tolist() == ["02-28", "03-04"]
    for start in ("2024-02-26", "2024-02-27", "2024-02-28", "2024-02-29", "2024-03-02", "2024-03-04", "2024-03-05"):
        pd.testing.assert_frame_equal(source.bars("ACME", start, interval=interval), whole[start:], check_freq=False)


def test_a_store_filled_in_two_windows_keeps_the_split_of_a_day_without_a_bar(home: Home, tmp_path: Path):
    days = divided(daily("2024-02-26", "2024-03-15"), "2024-03-05", 4.0)
    days.loc["2024-03-05", ["open", "high", "low", "close", "volume"]] = np.nan
    _, source = home({"ACME": days}, "2024-03-16")
    store = BarStore(tmp_path / "store", source)
    store.bars("ACME", "2024-02-26", "2024-03-05")
    store.bars("ACME", "2024-03-06", "2024-03-15")
    bars = store.bars("ACME", "2024-02-26", "2024-03-15")
    assert bars["split"][bars["split"] != 1].to_dict() == {as_day("2024-03-06"): 4.0}


def test_what_happened_before_the_oldest_minutes_is_not_told_with_them(home: Home):
    days = daily("2024-02-01", "2024-03-08")
    days.loc["2024-02-07", "dividend"] = 1.0  # minutes are kept from the eighth
    own = intraday("ACME", "1m", "2024-02-01", "2024-03-08")
    _, source = home({"ACME": days}, "2024-03-08", short={"ACME": {"1m": own}})
    assert not source.bars("ACME", "2024-02-01", "2024-02-12", "1m")["dividend"].any()


def test_a_dividend_of_the_day_of_a_split_is_told_for_an_old_share(home: Home):
    traded = divided(daily("2024-01-02", "2024-03-07"), "2024-02-20", 4.0)
    traded.loc["2024-02-20", "dividend"] = 0.8  # for each share held on the nineteenth
    _, source = home({"ACME": traded}, "2024-03-08")
    bars = source.bars("ACME")
    assert bars.loc["2024-02-20", ["split", "dividend"]].tolist() == pytest.approx([4.0, 0.8])
    assert bars["dividend"].sum() == pytest.approx(0.8)


def test_without_raw_there_are_five_columns_and_the_prices_of_today(home: Home):
    traded = divided(daily("2024-01-02", "2024-03-07"), "2024-02-20", 4.0)
    _, source = home({"ACME": traded}, "2024-03-08", raw=False)
    bars = source.bars("ACME")
    assert list(bars.columns) == ["open", "high", "low", "close", "volume"]
    assert bars["close"].iloc[0] == pytest.approx(25.0)


@pytest.mark.parametrize("symbol", ["ACME", "BTC/USD"])
@pytest.mark.parametrize("raw", [False, True])
def test_it_keeps_the_promises_of_a_source(home: Home, symbol: str, raw: bool):
    _, source = home({symbol: daily("2024-01-02", "2024-02-02", symbol)}, "2024-02-03", raw=raw)
    assert len(check_source(source, symbol)) > 20


@pytest.mark.parametrize("now", ["2024-03-08 10:00", "2024-03-08 15:00", "2024-03-08 23:59"])
@pytest.mark.parametrize("symbol", ["ACME", "BTC/USD"])
def test_todays_bar_is_never_handed_out(home: Home, symbol: str, now: str):
    _, source = home({symbol: daily("2024-03-01", "2024-03-08", symbol)}, now)
    assert source.bars(symbol).index[-1] == as_day("2024-03-07")
    with pytest.raises(NoBarsError, match="The last complete day is 2024-03-07"):
        source.bars(symbol, "2024-03-08")


def test_a_bar_from_tomorrow_is_refused_with_everything_beside_it(home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("trading_core.data.yahoo.moment", lambda today: as_moment(today or "2024-03-08 12:00"))
    server, source = home({"BTC/USD": daily("2024-03-01", "2024-03-10", "BTC/USD")}, "2024-03-08 12:00")
    server.now = "2024-03-11"  # the clock of this machine is three days behind
    with pytest.raises(
        BadBarsError, match=r"BTC/USD, 2024-03-09: it is 2024-03-08 12:00 UTC, and there is a bar from the"
    ):
        YahooBars(today="2024-03-08 12:00", fetch=lambda *a: source.fetch(a[0], a[1], as_day("2024-03-12"))).bars(
            "BTC/USD"
        )


def test_days_keep_their_dates_when_the_clocks_of_new_york_change(home: Home):
    traded = daily("2024-02-01", "2024-11-29")
    _, source = home({"ACME": traded, "BTC/USD": daily("2024-02-01", "2024-11-29", "BTC/USD")}, "2024-12-01")
    assert source.bars("ACME").index.equals(sessions("XNYS", "2024-02-01", "2024-11-29"))
    assert len(source.bars("BTC/USD")) == 303


def intraday(symbol: str, interval: str, start: str, end: str) -> pd.DataFrame:
    marks = grid("24/7" if "/" in symbol else "XNYS", interval, start, end)
    close = 100.0 + 0.25 * np.arange(len(marks))
    table = {"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 100.0}
    return pd.DataFrame(table, marks)


@pytest.mark.parametrize("interval", ["1m", "5m", "15m", "1h"])
def test_short_bars_are_labelled_by_their_ends_over_a_half_day_and_a_change_of_clocks(home: Home, interval: str):
    own = intraday("ACME", interval, "2024-11-25", "2024-12-03")  # the 28th is closed, the 29th ends at one
    _, source = home({"ACME": daily("2024-11-25", "2024-12-03")}, "2024-12-04", short={"ACME": {interval: own}})
    bars = source.bars("ACME", "2024-11-26", "2024-12-02", interval)
    wanted = own["2024-11-26":"2024-12-02"]
    assert bars.index.equals(wanted.index)
    assert bars["close"].tolist() == pytest.approx(wanted["close"].tolist())


def test_a_change_of_clocks_moves_the_marks_in_utc_only(home: Home):
    own = intraday("ACME", "1h", "2024-03-07", "2024-03-12")
    _, source = home({"ACME": daily("2024-03-07", "2024-03-12")}, "2024-03-13", short={"ACME": {"1h": own}})
    bars = source.bars("ACME", "2024-03-07", "2024-03-12", "1h")
    assert bars.index.equals(own.index)
    firsts = bars.groupby(bars.index.date).apply(lambda day: f"{day.index[0]:%H:%M}").tolist()
    assert firsts == ["15:30", "15:30", "14:30", "14:30"]


def test_pages_of_minutes_meet_without_a_gap_or_a_double(home: Home):
    own = intraday("BTC/USD", "1m", "2024-02-10", "2024-03-02")
    server, source = home(
        {"BTC/USD": daily("2024-02-10", "2024-03-02", "BTC/USD")}, "2024-03-03", short={"BTC/USD": {"1m": own}}
    )
    bars = source.bars("BTC/USD", "2024-02-10", "2024-03-02", "1m")
    assert bars.index.equals(own.index)
    assert len(bars) == 22 * 1440
    assert sum(query.get("interval") == "1m" for _, query in server.asked) == 4


def test_a_bar_on_the_seam_of_two_pages_comes_once(home: Home):
    own = intraday("BTC/USD", "1m", "2024-02-20", "2024-03-02")
    server, source = home(
        {"BTC/USD": daily("2024-02-20", "2024-03-02", "BTC/USD")}, "2024-03-03", short={"BTC/USD": {"1m": own}}
    )
    say = server.say

    def generous(path: str, query: dict[str, str]) -> Any:  # both ends included, as Yahoo has it on some days
        more = {"period2": str(int(query["period2"]) + 120)} if query.get("interval") == "1m" else {}
        return say(path, query | more)

    server.say = generous
    assert source.bars("BTC/USD", "2024-02-20", "2024-03-02", "1m").index.equals(own.index)


@pytest.mark.parametrize(
    ("now", "start", "end", "first", "last"),
    [
        ("2024-03-11 12:00", "2024-03-04", None, "2024-03-04", "2024-03-08"),  # today, before the opening
        ("2024-03-08 22:00", "2024-02-25", "2024-03-03", "2024-02-26", "2024-03-01"),  # a Sunday
        ("2024-03-08 22:00", "2024-02-13", "2024-03-08", "2024-02-28", "2024-03-08"),  # before it was listed
    ],
)
def test_a_page_of_minutes_without_bars_does_not_cost_those_of_the_others(
    home: Home, now: str, start: str, end: str | None, first: str, last: str
):
    listed = "2024-02-28" if first == "2024-02-28" else "2024-02-12"
    own = intraday("ACME", "1m", listed, "2024-03-08")
    _, source = home({"ACME": daily(listed, "2024-03-08")}, now, short={"ACME": {"1m": own}})
    bars = source.bars("ACME", start, end, "1m")
    assert bars.index.equals(own[first:last].index)


def test_a_store_keeps_the_minutes_beside_a_weekend(home: Home, tmp_path: Path):
    own = intraday("ACME", "1m", "2024-02-26", "2024-03-01")
    _, source = home({"ACME": daily("2024-02-12", "2024-03-08")}, "2024-03-08 22:00", short={"ACME": {"1m": own}})
    store = BarStore(tmp_path / "store", source)
    assert len(store.bars("ACME", "2024-02-24", "2024-03-02", "1m")) == 5 * 390


def test_minutes_of_which_no_page_has_any_are_refused(home: Home):
    own = intraday("ACME", "1m", "2024-03-08", "2024-03-08")
    _, source = home({"ACME": daily("2024-02-12", "2024-03-08")}, "2024-03-08 22:00", short={"ACME": {"1m": own}})
    with pytest.raises(NoBarsError, match="Yahoo has no bars of ACME"):
        source.bars("ACME", "2024-02-20", "2024-03-02", "1m")


def test_the_minute_that_is_not_over_is_left_out(home: Home):
    own = intraday("ACME", "5m", "2024-03-08", "2024-03-08")
    _, source = home({"ACME": daily("2024-03-01", "2024-03-08")}, "2024-03-08 16:02:30", short={"ACME": {"5m": own}})
    assert source.bars("ACME", interval="5m").index[-1] == pd.Timestamp("2024-03-08 16:00", tz="UTC")


def test_short_bars_are_undone_too_and_the_first_of_the_day_tells_of_the_split(home: Home):
    days = divided(daily("2024-02-26", "2024-03-07"), "2024-03-05", 4.0)
    days.loc["2024-02-28", "dividend"] = 1.0
    own = intraday("ACME", "30m", "2024-02-26", "2024-03-07")
    own.loc[as_day("2024-03-05") :, ["open", "high", "low", "close"]] /= 4
    _, source = home({"ACME": days}, "2024-03-08", short={"ACME": {"15m": _halved(own), "30m": own}}, raw=True)
    bars = source.bars("ACME", "2024-02-27", "2024-03-06", "30m")
    assert bars["close"].tolist() == pytest.approx(own["2024-02-27":"2024-03-06"]["close"].tolist())
    assert bars["split"][bars["split"] != 1].to_dict() == {pd.Timestamp("2024-03-05 15:00", tz="UTC"): 4.0}
    assert bars["dividend"][bars["dividend"] != 0].to_dict() == {pd.Timestamp("2024-02-28 15:00", tz="UTC"): 1.0}


@pytest.mark.parametrize("interval", ["5m", "1h"])
def test_what_happens_on_a_day_without_short_bars_is_told_with_the_next_one(home: Home, interval: str):
    days = divided(daily("2024-02-26", "2024-03-08"), "2024-03-05", 4.0)
    days.loc["2024-03-04", "dividend"] = 1.0  # for a share of before the split
    own = intraday("ACME", interval, "2024-02-26", "2024-03-08")
    own.loc[as_day("2024-03-05") :, ["open", "high", "low", "close"]] /= 4
    own = own[~own.index.normalize().isin([as_day("2024-03-04"), as_day("2024-03-05")])]
    _, source = home({"ACME": days}, "2024-03-09", short={"ACME": {interval: own}})
    bars = source.bars("ACME", "2024-02-27", "2024-03-07", interval)
    next_one = own["2024-03-06":].index[0]
    assert bars["close"].tolist() == pytest.approx(own["2024-02-27":"2024-03-07"]["close"].tolist())
    assert bars["split"][bars["split"] != 1].to_dict() == {next_one: 4.0}
    assert bars["dividend"][bars["dividend"] != 0].to_dict() == pytest.approx({next_one: 1.0})


def _halved(bars: pd.DataFrame) -> pd.DataFrame:
    "Bars of half the length, since yfinance makes 30 minutes of twice 15."
    early = bars.set_axis(bars.index - pd.Timedelta(minutes=15))
    return pd.concat([early, bars]).sort_index()


def test_weeks_that_yahoo_has_forgotten_are_said_so(home: Home):
    server, source = home({"ACME": daily("2023-01-03", "2024-03-07")}, "2024-03-08")
    with pytest.raises(NoBarsError, match="It keeps bars of 1m for 29 days, so from 2024-02-08"):
        source.bars("ACME", "2024-01-02", "2024-01-31", "1m")
    assert server.asked == []


TROUBLES = {
    "busy": Answer("Too Many Requests", 429),
    "html with 200": Answer("<html>Will be right back</html>"),
    "html with 502": Answer("<html><h1>Bad Gateway</h1></html>", 502),
    "its own 500": Answer(
        {"chart": {"result": None, "error": {"code": "500", "description": "Internal Server Error"}}}, 500
    ),
    "half a page": Answer({"chart": {"result": [{"meta": {}}]}}, cut=20),
    "half a body": Answer('{"chart": {"result": [{"meta": {"symbol": "ACME", "exchangeTimezoneName": "UTC"'),
    "no timestamps": Answer(
        {"chart": {"result": [{"meta": {}, "indicators": {"quote": [{"open": []}]}}], "error": None}}
    ),
    "silence": Answer("late", after=30),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_that_passes_is_waited_out(home: Home, trouble: str):
    server, source = home({"ACME": daily("2024-01-02", "2024-03-07")}, "2024-03-08", timeout=0.4, attempts=6)
    whole = source.bars("ACME")  # the zone is known from here on
    server.next = [TROUBLES[trouble]] * 2
    pd.testing.assert_frame_equal(source.bars("ACME"), whole)


@pytest.mark.parametrize("trouble", [name for name in TROUBLES if name != "silence"])
def test_trouble_that_stays_is_an_error_and_never_an_empty_table(home: Home, trouble: str):
    server, source = home({}, "2024-03-08", attempts=2)
    server.fail("ACME", TROUBLES[trouble])
    with pytest.raises((YahooError, DataError)) as failed:
        source.bars("ACME")
    assert "ACME" in str(failed.value)
    assert failed.type is YahooError or trouble == "its own 500"  # asked for a zone, yfinance keeps that one to itself


def test_a_silent_server_is_given_up_after_the_bound(home: Home):
    server, source = home({"ACME": daily("2024-01-02", "2024-03-07")}, "2024-03-08", timeout=0.2, attempts=2)
    source.bars("ACME")
    server.say = lambda path, query: Answer("late", after=30)
    with pytest.raises(YahooError, match="2 attempts") as failed:
        source.bars("ACME")
    assert "127.0.0.1" not in str(failed.value).split("(")[0]


def test_an_empty_answer_and_a_delisted_symbol_are_refused_by_name(home: Home):
    _, source = home({"ACME": daily("2024-01-02", "2024-02-07")}, "2024-03-08")
    with pytest.raises(NoBarsError, match="Yahoo has no bars of ACME"):
        source.bars("ACME", "2024-02-20", "2024-03-01")
    with pytest.raises(NoBarsError, match=r"Yahoo has no bars of GONE.*possibly delisted"):
        source.bars("GONE")


@pytest.mark.parametrize("symbol", ["", " ", None])
def test_what_is_no_symbol_is_refused_without_asking(home: Home, symbol: Any):
    server, source = home({"ACME": daily("2024-01-02", "2024-02-07")}, "2024-03-08")
    with pytest.raises(UnknownSymbolError, match="Yahoo has no symbol"):
        source.bars(symbol)
    if symbol is not None:
        with pytest.raises(UnknownSymbolError, match="Yahoo has no symbol"):
            source.bars(symbol, interval="5m")
        assert source.latest([symbol])["price"].isna().all()
    assert server.asked == []


CRUMB = {"finance": {"result": None, "error": {"code": "Unauthorized", "description": "Invalid Crumb"}}}


@pytest.mark.parametrize(
    "no", [Answer(CRUMB, 401), Answer(CRUMB, 200), Answer("null", 200)], ids=["401", "200", "null"]
)
def test_a_no_that_is_not_about_the_symbol_is_never_remembered_as_days_without_bars(
    home: Home, tmp_path: Path, no: Answer
):
    server, source = home({"ACME": daily("2024-01-02", "2024-03-07")}, "2024-03-08")
    store = BarStore(tmp_path / "store", source)
    server.fail("ACME", no)
    failed = store.fetch(["ACME"], "2024-01-02").failed
    assert isinstance(failed["ACME"], YahooError)
    server.recorded.clear()
    assert store.fetch(["ACME"], "2024-01-02").added == 46


def test_two_bars_of_one_day_are_refused_also_while_trade_goes_on(home: Home):
    server, source = home({"ACME": daily("2024-01-02", "2024-03-08")}, "2024-03-08 15:00")
    asked = {"interval": "1d", "period1": "0", "period2": str(int(pd.Timestamp("2024-03-09", tz="UTC").timestamp()))}
    told = chart_of(server.known["ACME"], asked, pd.Timestamp("2024-03-08 15:00", tz="UTC"))
    stamps = told["chart"]["result"][0]["timestamp"]
    stamps[11] = stamps[10]
    server.record(told)
    with pytest.raises(YahooError, match="1 of 47 bars share their day with another one"):
        source.bars("ACME")


def test_the_latest_price_is_todays_and_has_its_time(home: Home):
    bars = {"ACME": daily("2024-03-01", "2024-03-08"), "BTC/USD": daily("2024-03-01", "2024-03-08", "BTC/USD")}
    _, source = home(bars, "2024-03-08 15:00")
    latest = source.latest(["ACME", "GONE", "BTC/USD"])
    assert latest.index.tolist() == ["ACME", "GONE", "BTC/USD"]
    assert latest["price"].tolist() == pytest.approx([105.0, np.nan, 107.0], nan_ok=True)
    assert latest["time"].notna().tolist() == [True, False, True]
    assert (latest["time"].dropna() <= pd.Timestamp("2024-03-08 15:00", tz="UTC")).all()


def test_many_threads_see_errors_and_the_switch_is_put_back(home: Home):
    import yfinance

    bars = {f"S{n}": daily("2024-01-02", "2024-03-07", price=50.0 + n) for n in range(12)}
    _, source = home(bars, "2024-03-08")
    before, told = yfinance.config.debug.hide_exceptions, {}

    def one(symbol: str) -> None:
        try:
            told[symbol] = source.bars(symbol)["close"].iloc[0]
        except DataError as error:
            told[symbol] = error

    threads = [threading.Thread(target=one, args=(name,)) for name in [*bars, "GONE", "LOST"]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {told[name] for name in bars} == {50.0 + n for n in range(12)}
    assert all(isinstance(told[name], NoBarsError) for name in ("GONE", "LOST"))
    assert yfinance.config.debug.hide_exceptions is before


def test_revised_prices_are_seen_by_a_process_that_asked_before(home: Home):
    traded = daily("2024-01-02", "2024-03-07")
    server, source = home({"ACME": traded}, "2024-03-08")
    source.bars("ACME", "2024-01-02", "2024-01-31")
    revised = traded.assign(volume=7.0)
    server.known |= YahooLoopback({"ACME": revised}).known
    assert (source.bars("ACME", "2024-01-02", "2024-01-31")["volume"] == 7.0).all()


@pytest.mark.realdata
def test_recorded_answers_are_read_raw(home: Home, real_data: Path):
    server, source = home({}, "2025-02-20", raw=True)
    for path in sorted((real_data / "raw/yahoo_chart_json").glob("*.json")):
        recorded = json.loads(path.read_text())
        server.record(recorded["body"], recorded["http_status"])
    assert source.bars("AAPL", "2020-01-01", "2020-01-02")["close"].tolist() == [75.0875]
    assert source.bars("BTC/USD", "2020-01-01", "2020-01-02").shape == (2, 7)


@pytest.mark.realdata
def test_the_row_of_nulls_of_a_real_coin_is_no_bar(home: Home, real_data: Path):
    table = pd.read_csv(real_data / "raw/yahoo_BTC-USD_with_null_row.csv", na_values="null", parse_dates=["Date"])
    table = (
        table.set_index("Date").tz_localize("UTC").rename(columns=str.lower)[["open", "high", "low", "close", "volume"]]
    )
    _, source = home({"BTC/USD": table}, "2020-12-31")
    bars = source.bars("BTC/USD", "2020-08-01", "2020-08-07")
    assert bars.index.strftime("%d").tolist() == ["01", "02", "03", "05", "06", "07"]
