"""Yahoo's answers, recorded or written here, over this machine's loopback."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from functools import partial

import pandas as pd
import pytest

from trading_core.data.normalizer import load_panel
from trading_core.data.sources import BadBarsError, BarSource, NoBarsError
from trading_core.data.yahoo import YahooBars, YahooError, fetch
from trading_core.errors import DataError
from trading_core.sessions import as_day

pytestmark = pytest.mark.filterwarnings("ignore::Warning:yfinance")


def yahoo(server, today="2024-01-20", attempts=3) -> YahooBars:
    return YahooBars(today=today, attempts=attempts, pause=0.0, fetch=partial(fetch, session=server.session))


def chart(symbol, days, closes, *, zone="America/New_York", kind="EQUITY", **columns):
    "An answer of the chart service, a bar each day at the session's opening time. (yfinance remembers by symbol and days.)"
    opening = pd.DatetimeIndex(days).tz_localize(zone) + pd.Timedelta(hours=0 if zone == "UTC" else 9.5)
    quote = {
        "open": closes,
        "high": [None if c is None else c + 1 for c in closes],
        "low": [None if c is None else c - 1 for c in closes],
        "close": closes,
        "volume": [None if c is None else 1000 for c in closes],
    } | columns
    period = {"timezone": zone, "start": 0, "end": 1, "gmtoffset": 0}
    meta = {
        "currency": "USD", "symbol": symbol, "exchangeName": "NMS", "instrumentType": kind, "gmtoffset": 0,
        "timezone": zone, "exchangeTimezoneName": zone, "priceHint": 2, "dataGranularity": "1d", "range": "",
        "currentTradingPeriod": {"pre": period, "regular": period, "post": period}, "validRanges": ["1d", "max"],
        "regularMarketTime": 1705000000, "regularMarketPrice": 1.0,
    }  # fmt: skip
    indicators = {"quote": [quote], "adjclose": [{"adjclose": [None if c is None else c * 0.9 for c in closes]}]}
    seconds = [int(moment.timestamp()) for moment in opening]
    return {"chart": {"result": [{"meta": meta, "timestamp": seconds, "indicators": indicators}], "error": None}}


WEEK = ["2024-01-08", "2024-01-09", "2024-01-10", "2024-01-11", "2024-01-12"]


def test_a_stock_is_read_by_session_without_the_dividend_adjustment(yahoo_server):
    yahoo_server.chart("ACME", chart("ACME", WEEK, [10.0, 11.0, 12.0, 13.0, 14.0]))
    source = yahoo(yahoo_server)
    assert isinstance(source, BarSource)
    assert (source.name, source.simulated, source.symbols()) == ("yahoo", False, [])
    bars = source.bars("ACME", "2024-01-08", "2024-01-12")
    assert bars.index.strftime("%Y-%m-%d").tolist() == WEEK
    assert (str(bars.index.tz), bars.index.unit) == ("UTC", "ns")
    assert bars["close"].tolist() == [10, 11, 12, 13, 14]
    assert list(bars.columns) == ["open", "high", "low", "close", "volume", "split", "dividend"]
    assert list(replace(source, raw=False).bars("ACME", "2024-01-08").columns) == list(bars.columns)[:5]


def test_todays_unfinished_bar_is_left_out(yahoo_server):
    yahoo_server.chart("ACME", chart("ACME", WEEK, [10.0, 11.0, 12.0, 13.0, 14.0]))
    assert yahoo(yahoo_server, today="2024-01-12").bars("ACME", "2024-01-08").index[-1] == as_day("2024-01-11")


def test_the_window_is_kept_even_if_yahoo_sends_more(yahoo_server):
    yahoo_server.chart("ACME", chart("ACME", WEEK, [10.0, 11.0, 12.0, 13.0, 14.0]))
    bars = yahoo(yahoo_server).bars("ACME", "2024-01-09", "2024-01-10")
    assert bars.index.strftime("%d").tolist() == ["09", "10"]
    asked = next(path for path in reversed(yahoo_server.asked) if "period1" in path)
    start, end = (
        pd.Timestamp(int(asked.split(f"{name}=")[1].split("&")[0]), unit="s", tz="UTC")
        for name in ("period1", "period2")
    )
    assert start <= pd.Timestamp("2024-01-09 14:30", tz="UTC")
    assert end >= pd.Timestamp("2024-01-10 21:00", tz="UTC")


@pytest.mark.parametrize(("symbol", "theirs"), [("BTC/USD", "BTC-USD"), ("BRK.B", "BRK-B")])
def test_symbols_are_spelled_as_yahoo_spells_them(yahoo_server, symbol, theirs):
    zone = "UTC" if "/" in symbol else "America/New_York"
    yahoo_server.chart(theirs, chart(theirs, WEEK, [10.0] * 5, zone=zone))
    assert len(yahoo(yahoo_server).bars(symbol, "2024-01-08")) == 5


def test_a_row_of_nulls_is_no_bar_and_half_a_row_is_refused(yahoo_server):
    yahoo_server.chart("HOLE", chart("HOLE", WEEK, [10.0, None, 12.0, 13.0, 14.0]))
    assert yahoo(yahoo_server).bars("HOLE", "2024-01-08").index.strftime("%d").tolist() == ["08", "10", "11", "12"]
    yahoo_server.chart("HALF", chart("HALF", WEEK, [10.0] * 5, low=[9.0, 9.0, None, 9.0, 9.0]))
    with pytest.raises(BadBarsError, match=r"^HALF, 2024-01-10: a value is missing or infinite"):
        yahoo(yahoo_server).bars("HALF", "2024-01-08")


def test_a_stock_with_a_bar_on_a_holiday_is_refused(yahoo_server):
    yahoo_server.chart("SAP", chart("SAP", ["2024-01-12", "2024-01-15"], [10.0, 11.0]))
    with pytest.raises(BadBarsError, match="SAP, 2024-01-15: Yahoo has a bar on a Monday"):
        yahoo(yahoo_server).bars("SAP", "2024-01-08")


def test_a_rate_limit_is_waited_out(yahoo_server):
    yahoo_server.fail("SLOW", 429)
    yahoo_server.fail("SLOW", 429)
    yahoo_server.chart("SLOW", chart("SLOW", WEEK, [10.0] * 5))
    assert len(yahoo(yahoo_server).bars("SLOW", "2024-01-08")) == 5


def test_a_rate_limit_that_stays_is_a_failure_and_no_refusal(yahoo_server):
    yahoo_server.fail("BUSY", 429)
    with pytest.raises(
        YahooError, match=r"no answer about BUSY in 3 attempts \(YFRateLimitError: Too Many Requests"
    ) as failed:
        yahoo(yahoo_server).bars("BUSY", "2024-01-08")
    assert failed.value.exit_code == 1


def test_a_symbol_that_yahoo_does_not_know_is_refused_without_asking_again(yahoo_server):
    yahoo_server.chart(
        "NONE",
        {
            "chart": {
                "result": None,
                "error": {"code": "Not Found", "description": "No data found, symbol may be delisted"},
            }
        },
        404,
    )
    with pytest.raises(DataError, match="Yahoo has no bars of NONE") as refused:
        yahoo(yahoo_server).bars("NONE", "2024-01-08")
    assert refused.value.exit_code == 2
    assert "NONE" in str(refused.value)


def test_no_network_is_said_in_one_sentence(yahoo_server):
    class Away:
        def __init__(self):
            self.calls = 0

        def __call__(self, name, start, end):
            self.calls += 1
            raise ConnectionError("Name or service not known")

    away = Away()
    with pytest.raises(
        YahooError, match=r"\(ConnectionError: Name or service not known\). Check the network"
    ) as failed:
        YahooBars(today="2024-01-20", attempts=2, pause=0, fetch=away).bars("ACME")
    assert away.calls == 2
    assert "market.source=csv" in str(failed.value)


def test_days_that_are_not_over_are_refused_without_asking(yahoo_server):
    with pytest.raises(NoBarsError, match="The last complete day is 2024-01-19"):
        yahoo(yahoo_server).bars("ACME", "2024-01-20")
    assert yahoo_server.asked == []


def test_the_switch_that_hides_errors_is_put_back(yahoo_server):
    import yfinance

    before = yfinance.config.debug.hide_exceptions
    yahoo_server.chart("ACME", chart("ACME", WEEK, [10.0] * 5))
    yahoo(yahoo_server).bars("ACME", "2024-01-08")
    assert yfinance.config.debug.hide_exceptions is before


@pytest.mark.realdata
def test_recorded_answers_become_a_panel(yahoo_server, real_data):
    for path in sorted((real_data / "raw/yahoo_chart_json").glob("*.json")):
        recorded = json.loads(path.read_text())
        symbol = recorded["body"]["chart"]["result"][0]["meta"]["symbol"]
        yahoo_server.chart(symbol, recorded["body"], recorded["http_status"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        panel = load_panel(yahoo(yahoo_server), ["AAPL", "BTC/USD", "QQQ"], "2020-01-01", "2020-01-02")
    assert panel.symbols == ("AAPL", "BTC/USD", "QQQ")
    assert panel.observed.to_numpy().tolist() == [[False, True, False], [True, True, True]]
    assert panel.close.at["2020-01-02", "AAPL"] == pytest.approx(75.0875, abs=1e-3)
    assert panel.close.at["2020-01-02", "BTC/USD"] == pytest.approx(6985.47, abs=0.01)
