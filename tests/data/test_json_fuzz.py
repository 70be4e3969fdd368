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

from trading_core.data.alpaca_bars import AlpacaBars
from trading_core.data.ccxt_bars import CcxtBars
from trading_core.data.quality import quality_of
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


def told(question: Any) -> pd.DataFrame | None:
    "What a question gives: bars, or None for a typed refusal."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            bars: pd.DataFrame = question()
        except TradingError as refused:
            _sentence(refused)
            return None
    assert np.isfinite(bars[["open", "high", "low", "close", "volume"]].to_numpy()).all()
    assert bars.index.is_monotonic_increasing
    assert not [f for f in quality_of({"AAPL": bars}) if f.rule in ("impossible", "duplicate", "order", "unreadable")]
    return bars


def _sentence(refused: TradingError) -> None:
    assert str(refused)


EVENTS = st.sampled_from(
    [{}, {"corporate_actions": {}}, {"corporate_actions": {"forward_splits": [{"symbol": "AAPL", "ex_date": "2024-01-09", "new_rate": 4, "old_rate": 1}]}}] * 4
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

    told(lambda: Fuzzed(today="2024-02-01").bars("BTC/USD", "2024-01-01", "2024-01-31"))


def test_the_answers_of_these_tests_are_often_right(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"bars": {"AAPL": [{"t": "2024-01-03T05:00:00Z", "o": 10, "h": 10, "l": 10, "c": 10, "v": 10}]}}
    source = AlpacaBars(key="k", secret="s", today="2024-02-01")
    monkeypatch.setattr(AlpacaBars, "get", lambda self, path, query, about: {} if "corporate" in path else answer)
    bars = told(lambda: source.bars("AAPL", "2024-01-01", "2024-01-31"))
    assert bars is not None
    assert len(bars) == 1
