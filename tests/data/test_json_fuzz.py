"""Whatever a vendor's answer holds: right bars, or a typed refusal."""

from __future__ import annotations

import json
import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sizes import size
from spoiled import names, spoiled

from trading_core.data.alpaca_bars import AlpacaBars
from trading_core.data.ccxt_bars import CcxtBars, rows_table
from trading_core.data.patience import Manners, patiently, read_answer
from trading_core.data.quality import quality_of
from trading_core.data.sources import checked_bars
from trading_core.errors import TradingError

PHASES = (Phase.explicit, Phase.generate)  # a case that fails is short enough
CASES = settings(
    max_examples=size(300, 10_000),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=PHASES,
)
ODD = [None, "", "x", "1", True, {}, [], -1, 0, math.nan, math.inf, 1e308, 10**40, {"t": 1}]
price = st.sampled_from([10.0] * 40 + ODD)
moment = st.one_of(
    st.integers(2, 26).map(lambda day: f"2024-01-{day:02d}T05:00:00Z"),
    st.sampled_from([*ODD, "2024-13-01", "2024-01-02", "9999-12-31T00:00:00Z", "0001-01-01T00:00:00Z", "2024-01-02T05:00:00+99:00"]),
)  # fmt: skip
moments = st.sampled_from([False] * 6 + [True]).flatmap(
    lambda odd: moment if odd else st.integers(2, 26).map(lambda day: f"2024-01-{day:02d}T05:00:00Z")
)


@st.composite
def rows(draw: st.DrawFn) -> Any:
    "Bars of an answer, with faults."
    found = []
    for when in draw(st.lists(moments, max_size=8, unique_by=str)):
        row = {"t": when} | {name: draw(price) for name in "ohlcv"}
        if draw(st.sampled_from([False] * 12 + [True])):
            row.pop(draw(st.sampled_from("tohlcv")))
        found.append(row if draw(st.sampled_from([True] * 15 + [False])) else draw(st.sampled_from(ODD)))
    return sorted(found, key=str) if draw(st.sampled_from([True] * 5 + [False])) else found


@st.composite
def answers(draw: st.DrawFn) -> Any:
    "One page."
    if draw(st.sampled_from([False] * 15 + [True])):
        return draw(st.sampled_from([*ODD, {"bars": 3}, {"bars": {"AAPL": 3}}, {"bars": [1]}, {"bars": None}]))
    return {"bars": {"AAPL": draw(rows())}, "next_page_token": draw(st.sampled_from([None] * 9 + ["more", 7]))}


def told(question: Any, who: str = "Alpaca") -> pd.DataFrame | None:
    "What a question gives: bars, or None for a typed refusal."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            bars: pd.DataFrame = question()
        except TradingError as refused:
            names(refused, who, "AAPL" if who == "Alpaca" else "BTC/USD")
            return None
    assert np.isfinite(bars[["open", "high", "low", "close", "volume"]].to_numpy()).all()
    assert bars.index.is_monotonic_increasing
    assert not [f for f in quality_of({"AAPL": bars}) if f.rule in ("impossible", "duplicate", "order", "unreadable")]
    return bars


NOTHING: Any = {"corporate_actions": {}, "next_page_token": None}
EVENTS = st.sampled_from(
    [NOTHING, NOTHING, {"next_page_token": None, "corporate_actions": {"forward_splits": [{"symbol": "AAPL", "ex_date": "2024-01-09", "new_rate": 4, "old_rate": 1}]}}] * 4
    + [3, None, [], {"corporate_actions": 3}, {"corporate_actions": {"forward_splits": [{"symbol": "AAPL", "ex_date": "x", "new_rate": 0, "old_rate": 0}]}},
       {"corporate_actions": {"cash_dividends": [{"symbol": "AAPL"}]}}]
)  # fmt: skip


@CASES
@given(st.lists(answers(), min_size=1, max_size=3), EVENTS)
def test_any_answer_of_alpaca_gives_bars_or_a_typed_refusal(pages: list[Any], events: Any) -> None:
    left = list(pages)

    class Fuzzed(AlpacaBars):
        def get(self, path: str, query: Any, about: str) -> Any:
            return events if "corporate" in path else left.pop(0) if left else {"bars": {}}

    source = Fuzzed(key="k", secret="s", today="2024-02-01")
    told(lambda: source.bars("AAPL", "2024-01-01", "2024-01-31"))


@CASES
@given(st.lists(st.lists(price, min_size=4, max_size=7), max_size=8), st.lists(st.sampled_from([1704067200000 + 86_400_000 * n for n in range(12)] + ODD), min_size=8, max_size=8))  # fmt: skip
def test_any_answer_of_an_exchange_gives_bars_or_a_typed_refusal(values: list[list[Any]], starts: list[Any]) -> None:
    table = [[start, *cells] for start, cells in zip(starts, values, strict=False)]

    class Exchange:
        markets = {"BTC/USD": {"spot": True, "active": True}}  # noqa: RUF012
        features: dict[str, Any] = {}  # noqa: RUF012

        def fetch_ohlcv(self, market: str, interval: str, since: int, limit: int) -> list[Any]:
            return json.loads(json.dumps(table))

    class Fuzzed(CcxtBars):
        opened = Exchange()

        def ask(self, about: str, question: Any) -> Any:
            return question(self.opened)

    told(lambda: Fuzzed(today="2024-02-01").bars("BTC/USD", "2024-01-01", "2024-01-31"), "binance")


class Reply:
    "What arrives, as far as it is looked at."

    status_code = 200
    headers: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, text: str):
        self.text = text


class Spoilt(AlpacaBars):
    "An Alpaca that says one text about bars and another one about events."

    def get(self, path: str, query: Any, about: str) -> Any:
        text = EVENTS_TEXT if "corporate" in path else BARS_TEXT
        return patiently(lambda: read_answer(Reply(text), 0.0), "Alpaca", about, attempts=1, pause=0.0)  # type: ignore[arg-type]


BARS_TEXT = EVENTS_TEXT = ""


def answer_about(symbol: str, starts: pd.DatetimeIndex) -> Any:
    "Bars that begin at these moments, as Alpaca tells them."
    rows = [{"t": f"{when:%Y-%m-%dT%H:%M:%SZ}", "o": 9.5 + n, "h": 11.0 + n, "l": 9.0 + n, "c": 10.0 + n, "v": 100 + n, "n": 7, "vw": 10.0 + n}
            for n, when in enumerate(starts)]  # fmt: skip
    return {"bars": {symbol: rows}, "next_page_token": None}


def event(**more: Any) -> Any:
    return {
        "symbol": "AAPL",
        "ex_date": "2024-01-05",
        "process_date": "2024-01-09",
        "cusip": "037833100",
        "id": "x",
    } | more


HAPPENED = {
    "corporate_actions": {
        "forward_splits": [event(new_rate=4, old_rate=1)],
        "cash_dividends": [event(ex_date="2024-01-09", rate=0.25), event(symbol="MSFT", rate=7.0)],
        "stock_dividends": [event(ex_date="2024-01-10", rate=0.05)],
    },
    "next_page_token": None,
}
DAILY = answer_about("AAPL", pd.DatetimeIndex([f"2024-01-{d:02d} 05:00" for d in (3, 4, 5, 8, 9, 10, 11)], tz="UTC"))
HALVES = answer_about("AAPL", pd.date_range("2024-01-03 14:30", "2024-01-03 20:30", freq="30min", tz="UTC"))
HOURS = answer_about("BTC/USD", pd.date_range("2024-01-03", "2024-01-04 23:00", freq="1h", tz="UTC"))
KINDS = [
    ("AAPL", "1d", DAILY),
    ("AAPL", "1h", HALVES),
    ("AAPL", "30m", HALVES),
    ("BTC/USD", "1d", HOURS),
    ("BTC/USD", "1h", HOURS),
]
ABOUT = ("bars", "corporate_actions")


def plain_actions(text: str, days: list[str]) -> tuple[list[float], list[float]]:
    "Splits and dividends on the first of `days` that is not before them, read in the plainest way."
    happened: dict[str, tuple[float, float]] = {}
    for kind, events in json.loads(text)["corporate_actions"].items():
        for one in events or []:
            if one["symbol"] != "AAPL" or kind not in HAPPENED["corporate_actions"]:
                continue
            ratio, paid = happened.get(one["ex_date"], (1.0, 0.0))
            if kind == "cash_dividends":
                paid += one["rate"]
            else:
                ratio *= one["new_rate"] / one["old_rate"] if "splits" in kind else 1 + one["rate"]
            happened[one["ex_date"]] = ratio, paid
    split, dividend = [1.0] * len(days), [0.0] * len(days)
    for when, (ratio, paid) in sorted(happened.items()):
        later = [n for n, day in enumerate(days) if day >= when]
        if later:
            dividend[later[0]] += paid * split[later[0]]  # for a share that was held before the first of them
            split[later[0]] *= ratio
    return split, dividend


@CASES
@given(st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), spoiled(kind[2], ABOUT))), st.one_of(st.just(json.dumps(HAPPENED)), spoiled(HAPPENED, ABOUT)))  # fmt: skip
def test_any_text_of_alpaca_gives_the_bars_in_it_or_a_typed_refusal(asked: Any, happened: str) -> None:
    global BARS_TEXT, EVENTS_TEXT
    ((symbol, interval, _), BARS_TEXT), EVENTS_TEXT = asked, happened
    source = Spoilt(key="k", secret="s", today="2024-02-01")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            bars = source.bars(symbol, "2024-01-01", "2024-01-31", interval)
        except TradingError as refused:
            names(refused, "Alpaca", symbol)
            return
    checked_bars(symbol, bars, interval)
    rows = json.loads(BARS_TEXT)["bars"][symbol]
    assert all(type(row[name]) in (int, float) for row in rows for name in "ohlcv")
    assert [row["t"] for row in rows] == sorted({row["t"] for row in rows})
    begun = [pd.Timestamp(row["t"]) for row in rows]
    if (symbol, interval) == ("AAPL", "1d"):
        wanted = [(f"{when:%Y-%m-%d}", [float(row[n]) for n in "ohlcv"]) for when, row in zip(begun, rows, strict=True)]
        wanted = [one for one in wanted if "2024-01-01" <= one[0] <= "2024-01-31"]
        assert [
            (f"{day:%Y-%m-%d}", row.tolist()) for day, row in zip(bars.index, bars.to_numpy()[:, :5], strict=True)
        ] == wanted
        split, dividend = plain_actions(EVENTS_TEXT, [day for day, _ in wanted])
        assert bars["split"].tolist() == pytest.approx(split)
        assert bars["dividend"].tolist() == pytest.approx(dividend)
    else:
        step = {"1h": "1h", "30m": "30min", "1d": "1D"}[interval]
        zero = "30min" if symbol == "AAPL" and interval == "1h" else "0min"
        table = pd.DataFrame(rows, pd.DatetimeIndex(begun))[list("ohlcv")].astype(float)
        spans = (
            table.resample(step, offset=zero)
            .agg({"o": "first", "h": "max", "l": "min", "c": "last", "v": "sum"})
            .dropna()
        )
        found = {tuple(row) for row in spans.to_numpy().tolist()}
        assert {tuple(row) for row in bars.to_numpy()[:, :5].tolist()} <= found


KLINES = [[1_704_067_200_000 + 86_400_000 * n, 9.5 + n, 11.0 + n, 9.0 + n, 10.0 + n, 5.5] for n in range(12)]


@CASES
@given(spoiled({"rows": KLINES}))
def test_any_text_of_an_exchange_gives_the_bars_in_it_or_a_typed_refusal(text: str) -> None:
    class Exchange:
        markets = {"BTC/USD": {"spot": True, "active": True}}  # noqa: RUF012
        features: dict[str, Any] = {}  # noqa: RUF012

        def fetch_ohlcv(self, market: str, interval: str, since: int, limit: int) -> list[Any]:
            return json.loads(text)["rows"]  # type: ignore[no-any-return]

    class Fuzzed(CcxtBars):
        opened = Exchange()

    source = Fuzzed(today="2024-02-01", manners=Manners(attempts=1, pause=0.0))
    bars = told(lambda: source.bars("BTC/USD", "2024-01-01", "2024-01-31"), "binance")
    if bars is None:
        return
    rows = [row for row in json.loads(text)["rows"] if row[1:5] != [None] * 4]
    rows = sorted(row for row in rows if 1_704_067_200_000 <= row[0] < 1_706_745_600_000)
    plain = rows_table([row for n, row in enumerate(rows) if n == 0 or row != rows[n - 1]])
    assert bars.to_numpy().tolist() == plain.to_numpy().tolist()
    assert bars.index.equals(plain.index)


def test_the_answers_of_these_tests_are_often_right(monkeypatch: pytest.MonkeyPatch) -> None:
    answer: Any = {"bars": {"AAPL": [{"t": "2024-01-03T05:00:00Z", "o": 10, "h": 10, "l": 10, "c": 10, "v": 10}]}}
    answer["next_page_token"] = None
    source = AlpacaBars(key="k", secret="s", today="2024-02-01")
    monkeypatch.setattr(AlpacaBars, "get", lambda self, path, query, about: NOTHING if "corporate" in path else answer)
    bars = told(lambda: source.bars("AAPL", "2024-01-01", "2024-01-31"))
    assert bars is not None
    assert len(bars) == 1
