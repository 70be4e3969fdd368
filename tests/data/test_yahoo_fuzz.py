"""Whatever Yahoo's chart service answers: the bars that the answer holds, or a typed refusal that names Yahoo and the symbol."""

from __future__ import annotations

import copy
import json
import math
import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("YF_DISABLE_CURL_CFFI", "1")  # before yfinance is imported: plain connections can be rerouted

import pandas as pd
import pytest
import requests
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from sizes import size
from spoiled import names, spoiled

from trading_core.data.intervals import grid
from trading_core.data.sources import checked_bars
from trading_core.data.yahoo import YahooBars, fetch
from trading_core.data.yahoo_loopback import YahooLoopback
from trading_core.errors import TradingError
from trading_core.model import Asset
from trading_core.sessions import sessions, zone_of

pytestmark = pytest.mark.filterwarnings("ignore::Warning")
NOW = "2024-03-08 15:00"
CASES = settings(
    max_examples=size(100, 10_000), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)  # fmt: skip


def bars_of(symbol: str, days: int = 8) -> pd.DataFrame:
    "Bars as traded, with a split and a dividend."
    index = sessions(Asset.of(symbol).calendar, "2024-02-01", "2024-03-07")[-days:]
    close = 100.0 + pd.Series(range(days), index, dtype=float)
    bars = pd.DataFrame({"open": close - 0.5, "high": close + 1, "low": close - 1, "close": close, "volume": 1000.0})
    bars = bars.assign(split=1.0, dividend=0.0)
    bars.iloc[3, bars.columns.get_loc("dividend")] = 0.5
    bars.iloc[5, bars.columns.get_loc("split")] = 4.0
    return bars


def halves_of(symbol: str) -> pd.DataFrame:
    "Bars of fifteen minutes on two days."
    marks = grid(Asset.of(symbol).calendar, "15m", "2024-03-06", "2024-03-07")
    marks = marks if len(marks) < 60 else marks[:40]
    close = 100.0 + 0.25 * pd.Series(range(len(marks)), marks, dtype=float)
    return pd.DataFrame({"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 100.0})


def answer_of(symbol: str, interval: str = "1d") -> Any:
    "What Yahoo would say."
    home = YahooLoopback({symbol: bars_of(symbol)}, {symbol: {"15m": halves_of(symbol)}}, now=NOW)
    name = symbol.replace("/", "-")
    first, last = (str(int(pd.Timestamp(day, tz="UTC").timestamp())) for day in ("2024-02-01", "2024-03-09"))
    span = {"period1": first, "period2": last, "interval": interval}
    return home._chart(f"/v8/finance/chart/{name}", span)


class Told(requests.adapters.BaseAdapter):
    "Answers every question with one text, without a socket; what zone a symbol is in is asked of `sound`."

    def __init__(self) -> None:
        super().__init__()
        self.text, self.sound = "", ""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        made = requests.Response()
        made.status_code, made.url, made.request, made.encoding = 200, str(request.url), request, "utf-8"
        path = made.url
        made._content = (
            b"crumb"
            if "getcrumb" in path
            else (self.sound if "range=1d" in path else self.text).encode("utf-8", "replace")
        )
        return made

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    yfinance = pytest.importorskip("yfinance")
    yfinance.set_tz_cache_location(str(tmp_path_factory.mktemp("yahoo")))
    return Told()


def source_of(told: Told, raw: bool) -> YahooBars:
    session = requests.Session()
    session.trust_env = False
    for scheme in ("https://", "http://"):
        session.mount(scheme, told)
    return YahooBars(today=NOW, fetch=partial(fetch, session=session), attempts=1, pause=0.0, raw=raw, per_minute=0.0)


def held(text: str, symbol: str) -> dict[str, list[list[float]]]:
    "The rows of an answer by day, read in the plainest way; a row of nulls is none."
    result = json.loads(text)["chart"]["result"][0]
    quote, zone = result["indicators"]["quote"][0], zone_of(Asset.of(symbol).calendar)
    found: dict[str, list[list[float]]] = {}
    names = ("open", "high", "low", "close", "volume")
    columns = [quote[name] for name in names]
    assert {len(column) for column in columns} == {len(result["timestamp"])}
    for second, *row in zip(result["timestamp"], *columns, strict=True):
        if all(value is None for value in row[:4]):
            continue
        assert abs(second) < 4e9
        day = pd.Timestamp(second, unit="s", tz="UTC").tz_convert(zone).strftime("%Y-%m-%d")
        found.setdefault(day, []).append([math.nan if value is None else value for value in row])
    return found


SYMBOLS = ["AAPL", "BTC/USD"]
SOUND = {symbol: answer_of(symbol) for symbol in SYMBOLS}
ABOUT = ("timestamp", "indicators", "events")


@CASES
@given(st.sampled_from(SYMBOLS).flatmap(lambda s: st.tuples(st.just(s), spoiled(SOUND[s], ABOUT))), st.booleans())
def test_any_answer_of_yahoo_gives_the_bars_in_it_or_a_refusal(told: Told, asked: tuple[str, str], raw: bool) -> None:
    symbol, text = asked
    told.text, told.sound = text, json.dumps(SOUND[symbol])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            bars = source_of(told, raw).bars(symbol, "2024-02-01")
        except TradingError as refused:
            names(refused, "Yahoo", symbol)
            return
    checked_bars(symbol, bars)
    rows = held(text, symbol)
    wanted = sorted(day for day in rows if "2024-02-01" <= day < NOW[:10])
    assert bars.index.strftime("%Y-%m-%d").tolist() == wanted
    if not raw:
        assert all(len(rows[day]) == 1 or all(row[:4] == rows[day][0][:4] for row in rows[day]) for day in wanted)
        for day, row in zip(wanted, bars[["open", "high", "low", "close", "volume"]].to_numpy(), strict=True):
            told_of_day = [
                [*map(float, one[:4]), float(int(one[4]))] for one in rows[day]
            ]  # yfinance's volumes are whole
            assert row.tolist() in told_of_day
            assert not any(isinstance(value, bool | str) for one in rows[day] for value in one)


SHORT = {symbol: answer_of(symbol, "15m") for symbol in SYMBOLS}


def late_by(seconds: int) -> tuple[str, str]:
    "An answer whose last bar begins so many seconds later."
    answer = copy.deepcopy(SHORT["BTC/USD"])
    answer["chart"]["result"][0]["timestamp"][-1] += seconds
    return "BTC/USD", json.dumps(answer)


@CASES
@given(st.sampled_from(SYMBOLS).flatmap(lambda s: st.tuples(st.just(s), spoiled(SHORT[s], ABOUT))))
@example(late_by(-1))
@example(late_by(-899))
@example(late_by(1))
def test_any_answer_about_short_bars_gives_bars_in_it_or_a_refusal(told: Told, asked: tuple[str, str]) -> None:
    symbol, told.text = asked
    told.sound = json.dumps(SOUND[symbol])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            bars = source_of(told, False).bars(symbol, "2024-03-06", "2024-03-08", "15m")
        except TradingError as refused:
            names(refused, "Yahoo", symbol)
            return
    checked_bars(symbol, bars, "15m")
    result = json.loads(told.text)["chart"]["result"][0]
    quote = result["indicators"]["quote"][0]
    rows: dict[int, list[Any]] = {}
    for n, second in enumerate(result["timestamp"]):
        told_prices = [quote[name][n] for name in ("open", "high", "low", "close")]
        rows.setdefault(second, []).append([None if value is None else float(value) for value in told_prices])
    for when, row in zip(bars.index, bars.to_numpy().tolist(), strict=True):
        second = int(when.timestamp())  # one that begins a little late still ends with the session
        begun = [one for start, some in rows.items() if second - 900 <= start < second for one in some]
        assert begun
        assert all(one == row[:4] for one in begun)
    marks = set(grid(Asset.of(symbol).calendar, "15m", "2024-03-06", "2024-03-07"))
    ends = {
        pd.Timestamp(s + 900, unit="s", tz="UTC") for s, row in rows.items() if abs(s) < 4e9 and row[0] != [None] * 4
    }
    if result["meta"] == SHORT[symbol]["chart"]["result"][0]["meta"]:  # it says when to look away
        assert set(bars.index) >= marks & ends


@CASES
@given(st.sampled_from(SYMBOLS).flatmap(lambda s: st.tuples(st.just(s), spoiled(SOUND[s]))))
def test_any_answer_gives_a_latest_price_that_can_be_true_or_none(told: Told, asked: tuple[str, str]) -> None:
    symbol, told.text = asked
    told.sound = json.dumps(SOUND[symbol])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            latest = source_of(told, False).latest([symbol])
        except TradingError as refused:
            names(refused, "Yahoo", symbol)
            return
    price, when = latest["price"].iloc[0], latest["time"].iloc[0]
    assert math.isnan(price) == (when is pd.NaT)
    assert math.isnan(price) or (0 < price < math.inf and when <= pd.Timestamp(NOW, tz="UTC") + pd.Timedelta(days=1))


@pytest.mark.realdata
@settings(CASES, max_examples=size(50, 1000))
@given(st.data())
def test_recorded_answers_with_a_fault_give_the_bars_in_them_or_a_refusal(
    told: Told, real_data: Path, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(sorted((real_data / "raw/yahoo_chart_json").glob("*.json"))))
    recorded = json.loads(path.read_text())["body"]
    symbol = recorded["chart"]["result"][0]["meta"]["symbol"].replace("-", "/")
    told.text, told.sound = data.draw(spoiled(recorded, ABOUT)), json.dumps(recorded)
    try:
        bars = replace(source_of(told, False), today="2025-02-20").bars(symbol, "2020-01-01", "2020-01-03")
    except TradingError as refused:
        names(refused, "Yahoo", symbol)
        return
    rows = held(told.text, symbol)
    assert all(
        row[:4] in [one[:4] for one in rows[f"{day:%Y-%m-%d}"]]
        for day, row in zip(bars.index, bars.to_numpy().tolist(), strict=True)
    )
