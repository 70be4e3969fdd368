"""One fault of an answer each, over real sockets: what it is called, and that it is not read as bars."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("YF_DISABLE_CURL_CFFI", "1")  # before yfinance is imported: plain connections can be rerouted

import pandas as pd
import pytest

from trading_core.data.alpaca_bars import AlpacaBars
from trading_core.data.intervals import grid
from trading_core.data.loopback import Answer, Loopback
from trading_core.data.patience import Manners
from trading_core.data.sources import BadBarsError
from trading_core.data.yahoo import YahooBars, fetch
from trading_core.data.yahoo_answer import Overheard
from trading_core.data.yahoo_loopback import YahooLoopback
from trading_core.errors import TradingError
from trading_core.sessions import sessions

pytestmark = pytest.mark.filterwarnings("ignore::Warning")
NOW = "2024-03-08 15:00"


def flat(index: pd.DatetimeIndex) -> pd.DataFrame:
    "Bars that rise by a dollar each."
    close = 100.0 + pd.Series(range(len(index)), index, dtype=float)
    return pd.DataFrame({"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 1000.0})


@pytest.fixture
def yahoo(tmp_path: Path) -> Iterator[tuple[YahooLoopback, YahooBars]]:
    yfinance = pytest.importorskip("yfinance")
    yfinance.set_tz_cache_location(str(tmp_path / "yahoo"))
    days = flat(sessions("XNYS", "2024-03-01", "2024-03-07")).assign(split=1.0, dividend=0.0)
    short = {length: flat(grid("XNYS", length, "2024-03-07", "2024-03-07")) for length in ("5m", "15m")}
    with YahooLoopback({"ACME": days}, {"ACME": short}, NOW) as server:
        asking = partial(fetch, session=server.session(5.0))
        yield server, YahooBars(today=NOW, fetch=asking, pause=0.0, attempts=1)


def spoil(server: YahooLoopback, how: Callable[[dict[str, Any]], object], interval: str = "") -> None:
    "From now on the result of each answer, or of those about bars of one length, has this fault."
    whole = server.say

    def say(path: str, query: dict[str, str]) -> Any:
        answer = copy.deepcopy(whole(path, query))
        body = answer.body if isinstance(answer, Answer) else answer
        if isinstance(body, dict) and "period1" in query and interval in ("", query["interval"]):
            how(body["chart"]["result"][0])
        return answer

    server.say = say


def quote(result: dict[str, Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = result["indicators"]["quote"][0]
    return found


def a_split(numerator: Any) -> dict[str, Any]:
    return {
        "splits": {"1709562600": {"date": 1709562600, "numerator": numerator, "denominator": 1.0, "splitRatio": "4:1"}}
    }


YAHOO: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a day twice": (lambda r: r["timestamp"].__setitem__(2, r["timestamp"][1] + 60), "1 of 5 bars share their day"),
    "the last day twice": (lambda r: r["timestamp"].__setitem__(4, r["timestamp"][3] + 60), "1 of 5 bars share their day"),
    "milliseconds": (lambda r: r["timestamp"].__setitem__(2, r["timestamp"][2] * 1000), "long after the latest trade"),
    "a price as text": (lambda r: quote(r)["open"].__setitem__(1, "101"), "open holds '101'"),
    "true for a price": (lambda r: quote(r)["volume"].__setitem__(1, True), "volume holds 'True'"),
    "one number for a list": (lambda r: quote(r).__setitem__("volume", 7), "no list of the same length"),
    "no volume": (lambda r: quote(r)["volume"].__setitem__(1, None), "a bar has prices, and None for its volume"),
    "more than a number can hold": (lambda r: quote(r)["volume"].__setitem__(1, 10**19), "for its volume"),
    "another symbol": (lambda r: r["meta"].__setitem__("symbol", "OTHER"), "it is about 'OTHER'"),
    "weeks": (lambda r: r["meta"].__setitem__("dataGranularity", "1wk"), "its bars are of '1wk' and not of 1d"),
    "a negative split": (lambda r: r.__setitem__("events", a_split(-4.0)), "splits hold"),
    "a split as text": (lambda r: r.__setitem__("events", a_split("4")), "TypeError"),
    "a zone where it is tomorrow": (
        lambda r: r["meta"].__setitem__("exchangeTimezoneName", "Pacific/Auckland"), "counts its days in Pacific/Auckland",
    ),
}  # fmt: skip


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("fault", YAHOO)
def test_a_wrong_answer_of_yahoo_is_refused_by_name(
    yahoo: tuple[YahooLoopback, YahooBars], fault: str, raw: bool
) -> None:
    server, source = yahoo
    how, words = YAHOO[fault]
    assert len(source.bars("ACME")) == 5
    spoil(server, how)
    with pytest.raises(TradingError) as refused:
        YahooBars(today=NOW, fetch=source.fetch, pause=0.0, attempts=1, raw=raw).bars("ACME")
    assert words in str(refused.value)
    assert "Yahoo" in str(refused.value)
    assert "ACME" in str(refused.value)


def test_a_price_that_no_market_makes_names_who_told_it(yahoo: tuple[YahooLoopback, YahooBars]) -> None:
    server, source = yahoo
    spoil(server, lambda r: quote(r)["high"].__setitem__(1, 50.0))
    with pytest.raises(BadBarsError, match=r"^ACME, 2024-03-04: high is below low .* It came from Yahoo\.$"):
        source.bars("ACME")


def test_the_row_of_the_latest_price_beside_the_days_own_does_no_harm(yahoo: tuple[YahooLoopback, YahooBars]) -> None:
    server, source = yahoo

    def live(result: dict[str, Any]) -> None:
        result["timestamp"].append(result["meta"]["regularMarketTime"])
        for column in (*quote(result).values(), result["indicators"]["adjclose"][0]["adjclose"]):
            column.append(column[-1])

    spoil(server, live)
    assert len(source.bars("ACME")) == 5


def test_a_line_that_cannot_be_heard_gives_its_bars_all_the_same(
    yahoo: tuple[YahooLoopback, YahooBars], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("get", "cache_get"):
        monkeypatch.setattr(Overheard, name, lambda self, *a, __name=name, **o: getattr(self.line, __name)(*a, **o))
    assert len(yahoo[1].bars("ACME")) == 5


@pytest.mark.parametrize(
    ("moved", "words"),
    [(-300, "a moment is there twice"), (120, "a bar ends between them|no bar begins or ends there")],
)
def test_a_short_bar_at_a_wrong_moment_is_refused(
    yahoo: tuple[YahooLoopback, YahooBars], moved: int, words: str
) -> None:
    server, source = yahoo
    assert len(source.bars("ACME", "2024-03-07", "2024-03-07", "5m")) == 78
    spoil(server, lambda r: r["timestamp"].__setitem__(20, r["timestamp"][20] + moved), "5m")
    with pytest.raises(TradingError, match=words):
        source.bars("ACME", "2024-03-07", "2024-03-07", "5m")


@pytest.mark.parametrize(("interval", "row"), [("15m", -1), ("30m", -1), ("30m", 3), ("30m", 4)])
def test_a_bar_that_begins_within_another_is_not_made_a_part_of_it(
    yahoo: tuple[YahooLoopback, YahooBars], interval: str, row: int
) -> None:
    server, source = yahoo
    spoil(server, lambda r: r["timestamp"].__setitem__(row, r["timestamp"][row] - 60))
    with pytest.raises(TradingError, match=r"Yahoo.* the bars of seconds \d+ and \d+ overlap"):
        source.bars("ACME", "2024-03-07", "2024-03-07", interval)


@pytest.mark.parametrize("told", ["one price", "its moment"])
def test_the_latest_trade_belongs_to_the_bar_within_which_it_was(
    yahoo: tuple[YahooLoopback, YahooBars], told: str
) -> None:
    server, source = yahoo

    def live(result: dict[str, Any]) -> None:
        if result["meta"]["dataGranularity"] == "1d":  # what was asked for splits
            return
        moment = result["timestamp"][-1] + 840
        if told == "its moment":
            result["meta"]["regularMarketTime"] = moment
        result["timestamp"].append(moment)
        for name, column in quote(result).items():
            column.append(0 if name == "volume" else 129.0 if told == "one price" else 128.0 + 2 * (name == "high"))
        for column in result["indicators"].get("adjclose", []):
            column["adjclose"].append(129.0)

    whole = source.bars("ACME", "2024-03-07", "2024-03-07", "15m")
    spoil(server, live)
    bars = source.bars("ACME", "2024-03-07", "2024-03-07", "15m")
    assert bars["close"].tolist()[:-1] == whole["close"].tolist()[:-1]
    assert (bars["close"].iloc[-1], bars["high"].iloc[-1]) == ((129, 129) if told == "one price" else (128, 130))


def test_half_hours_are_not_taken_for_quarters(yahoo: tuple[YahooLoopback, YahooBars]) -> None:
    server, source = yahoo
    spoil(server, lambda r: r["meta"].__setitem__("dataGranularity", "30m"), "15m")
    for interval in ("15m", "30m"):  # yfinance makes half hours of quarters
        with pytest.raises(TradingError, match=f"its bars are of '30m' and not of {interval}"):
            source.bars("ACME", "2024-03-07", "2024-03-07", interval)


@pytest.mark.parametrize("price", ["x", True, -1.0, {}])
def test_a_latest_price_that_is_none_is_none(yahoo: tuple[YahooLoopback, YahooBars], price: Any) -> None:
    server, source = yahoo
    spoil(server, lambda r: r["meta"].__setitem__("regularMarketPrice", price))
    latest = source.latest(["ACME"])
    assert latest["price"].isna().all() or latest["price"].tolist() == [104.0]


START = pd.date_range("2024-03-07 14:30", "2024-03-07 20:30", freq="30min", tz="UTC")


def alpaca(how: Callable[[list[dict[str, Any]]], object], day: bool) -> dict[str, Any]:
    "What an Alpaca with one fault says."
    begun = [pd.Timestamp(f"2024-03-0{n} 05:00", tz="UTC") for n in (4, 5, 6, 7)] if day else START
    rows = [{"t": f"{when:%Y-%m-%dT%H:%M:%SZ}", "o": 10.0, "h": 11.0, "l": 9.0, "c": 10.0, "v": 5} for when in begun]
    how(rows)
    return {"bars": {"ACME": rows}, "next_page_token": None}


ALPACA: dict[str, tuple[bool, Callable[[list[dict[str, Any]]], object], str]] = {
    "a day twice": (True, lambda rows: rows.insert(1, rows[0]), "a bar is there twice"),
    "a half hour twice": (False, lambda rows: rows.insert(1, rows[0]), "a bar is there twice"),
    "half hours in disorder": (False, lambda rows: rows.reverse(), "follows a later one"),
    "an impossible half of a whole hour": (False, lambda rows: rows[3].update(h=9.5), "high is below open or close"),
    "a null in a half of an hour": (False, lambda rows: rows[3].update(o=None), "NoneType in place of"),
    "a day that begins at six": (True, lambda rows: rows[2].update(t="2024-03-06T11:00:00Z"), "a day that begins at 06:00"),
    "a price as text": (True, lambda rows: rows[2].update(c="10"), "a str in place of a number"),
    "true for a price": (True, lambda rows: rows[2].update(v=True), "a bool in place of a number"),
    "a moment as a number": (True, lambda rows: rows[2].update(t=1709701200), "1709701200 is no day or moment"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ALPACA)
def test_a_wrong_answer_of_alpaca_is_refused_by_name_and_costs_no_other_symbol(fault: str) -> None:
    daily, how, words = ALPACA[fault]
    said, other = alpaca(how, daily), alpaca(lambda rows: None, daily)
    said["bars"]["FINE"] = other["bars"]["ACME"]
    nothing = {"corporate_actions": {}, "next_page_token": None}
    with Loopback(lambda path, query: nothing if "corporate" in path else said) as server:
        source = AlpacaBars("k", "s", url=server.url, today=NOW, manners=Manners(attempts=1, pause=0.0))
        found = source.bars_many(["ACME", "FINE"], "2024-03-04", "2024-03-07", "1d" if daily else "1h")
        source.close()
    assert list(found.bars) == ["FINE"]
    told = str(found.failed["ACME"])
    assert words in told
    assert "Alpaca" in told
    assert "ACME" in told


@pytest.mark.parametrize(("name", "answer"), [
    ("no token", {"bars": {"ACME": []}}), ("no bars", {"next_page_token": None}), ("nested", "[" * 50_000), ("no list", {"bars": 3, "next_page_token": None}),
])  # fmt: skip
def test_an_answer_without_its_parts_is_refused(name: str, answer: Any) -> None:
    with Loopback(lambda path, query: answer) as server:
        source = AlpacaBars("k", "s", url=server.url, today=NOW, manners=Manners(attempts=1, pause=0.0))
        with pytest.raises(TradingError, match="Alpaca") as refused:
            source.bars("ACME", "2024-03-04", "2024-03-07")
        source.close()
    assert "ACME" in str(refused.value)
    assert "no bars of" not in str(refused.value)
