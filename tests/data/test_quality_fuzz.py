"""Whatever arrives: findings or a typed refusal, never another exception."""

from __future__ import annotations

import csv
import io
import json
import math
import warnings
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sizes import size

from trading_core.data.csv_files import CsvBars
from trading_core.data.findings import (
    Finding,
    findings_from,
    findings_table,
    plain_findings,
    quality_facts,
    refusals_of,
)
from trading_core.data.guarded import guarded, tradable_panel, usable_bars
from trading_core.data.normalizer import HybridDataNormalizer
from trading_core.data.quality import quality_of
from trading_core.data.sources import checked_bars
from trading_core.errors import TradingError
from trading_core.model import Asset

CASES = settings(
    max_examples=size(300, 10_000), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
COLUMNS = ["open", "high", "low", "close", "volume"]
ODD = [math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0, 1e-320, 1e308, 1.0, 100.0]
numbers = st.one_of(st.sampled_from(ODD), st.floats(allow_nan=True, allow_infinity=True), st.floats(1, 200))
cells = st.one_of(numbers, st.none(), st.text(max_size=4), st.booleans(), st.integers(-(10**30), 10**30), st.dates())
zones = st.sampled_from(["UTC"] * 12 + [None, "America/New_York", "Asia/Kolkata"])
units = st.sampled_from(["s", "ms", "us", "ns"])


def assert_told(refused: TradingError) -> None:
    "A refusal has a sentence."
    assert str(refused)


@st.composite
def indices(draw: st.DrawFn, rows: int) -> Any:
    "An index: of days, more or less."
    kind = draw(st.sampled_from(["days"] * 12 + ["minutes", "wild", "numbers", "text", "old"]))
    if kind == "numbers":
        return pd.RangeIndex(rows)
    if kind == "text":
        return pd.Index(draw(st.lists(st.text(max_size=10), min_size=rows, max_size=rows)), dtype=object)
    base = {"old": "1890-01-01", "minutes": "2024-03-07 14:30"}.get(kind, "2024-01-02")
    step = {"minutes": "1min", "wild": "7h"}.get(kind, "1D")
    unit = draw(units)
    step = draw(st.sampled_from(["1D", "B"])) if step == "1D" else step
    index = pd.date_range(base, periods=rows, freq=step, tz=draw(zones)).as_unit(unit)
    places = (
        draw(st.lists(st.integers(0, max(rows - 1, 0)), min_size=rows, max_size=rows))
        if draw(st.sampled_from([False] * 7 + [True]))
        else None
    )
    index = index if places is None else index[places]
    if rows and draw(st.sampled_from([False] * 19 + [True])):
        index = index.where(np.arange(rows) != 0, pd.NaT)
    return index


@st.composite
def likely(draw: st.DrawFn, rows: int) -> pd.DataFrame:
    "Bars that could be, with a few cells spoilt."
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    close = 50 * np.exp(rng.normal(0, 0.03, rows).cumsum())
    table = pd.DataFrame({"open": close, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": 1e6})
    for _ in range(draw(st.integers(0, 3))):  # another unit, a split, a spike, a feed that hangs
        begin, length = draw(st.integers(0, max(rows - 1, 0))), draw(st.integers(1, 12))
        part = slice(begin, begin + length if draw(st.booleans()) else None)
        table.iloc[part, :4] *= draw(st.sampled_from([100.0, 0.01, 0.5, 1 / 7, 3.0, 10.0, 1000.0, 1.0]))
        table.iloc[part, 4] *= draw(st.sampled_from([1.0, 0.0, 7.0]))
        if draw(st.booleans()) and rows:
            table.iloc[part] = table.iloc[begin].to_numpy()
    if rows and draw(st.sampled_from([False] * 4 + [True])):
        table.iat[draw(st.integers(0, rows - 1)), draw(st.integers(0, 4))] = draw(numbers)
    return table


@st.composite
def frames(draw: st.DrawFn) -> Any:
    "A table, or something else."
    if draw(st.sampled_from([False] * 39 + [True])):
        return draw(st.sampled_from([None, 3, "bars", [], {}, pd.Series([1.0]), np.zeros((2, 5)), pd.DataFrame()]))
    rows = draw(st.integers(0, 40))
    if draw(st.sampled_from([True] * 6 + [False])):
        table = draw(likely(rows))
    else:
        table = pd.DataFrame(
            {name: draw(st.lists(cells, min_size=rows, max_size=rows)) for name in COLUMNS}, dtype=object
        )
    for name in draw(st.lists(st.sampled_from(["split", "dividend", "adj_close", "note"]), unique=True, max_size=2)):
        usual = st.sampled_from(
            {"split": [1.0, 1.0, 1.0, 2.0, 7.0], "dividend": [0.0, 0.0, 0.5, 20.0]}.get(name, [49.0, 50.0])
        )
        table[name] = draw(st.lists(draw(st.sampled_from([usual, usual, numbers])), min_size=rows, max_size=rows))
    if draw(st.sampled_from([False] * 19 + [True])) and len(table.columns):
        table = table.drop(columns=draw(st.sampled_from(COLUMNS)))
    if draw(st.sampled_from([False] * 19 + [True])):
        table = pd.concat([table, table.iloc[:, :1]], axis=1)
    table.index = draw(indices(rows))
    return table


def sound(findings: list[Finding]) -> None:
    "What is promised of findings, whatever they are about."
    for finding in findings:
        assert finding.severity in ("fatal", "warn", "note")
        assert str(finding)
        assert finding.cure
    assert len(findings_table(findings)) == len(findings)
    facts = json.loads(json.dumps(quality_facts(findings, 2), allow_nan=True))
    assert len(findings_from(facts["findings"])) == min(len(findings), 200)
    assert plain_findings(findings_from(facts["findings"])) or not findings


@CASES
@given(frames(), frames(), st.booleans())
def test_any_tables_give_findings_or_a_typed_refusal(one: Any, two: Any, window: bool) -> None:
    tables = {"ONE": one, "TWO/USD": two}
    span = {"start": "2024-01-10", "end": "2024-02-01"} if window else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = quality_of(tables, others={"other": {"ONE": two, "TWO/USD": one}}, **span)
        except TradingError as refused:
            assert_told(refused)
            return
    sound(found)


@CASES
@given(frames(), frames())
def test_what_is_left_makes_a_panel_or_a_typed_refusal(one: Any, two: Any) -> None:
    tables = {"ONE": one, "TWO/USD": two}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = quality_of(tables)
            panel = guarded(HybridDataNormalizer().normalize(usable_bars(tables, found)), found)
            left = tradable_panel(panel)
        except TradingError as refused:
            assert_told(refused)
            return
    assert set(left.symbols) == set(panel.symbols) - refusals_of(found).keys()
    assert not panel.real[-1][[panel.symbols.index(s) for s in refusals_of(found) if s in panel.symbols]].any()


@CASES
@given(frames())
def test_any_table_is_checked_or_refused_with_a_type(table: Any) -> None:
    if not isinstance(table, pd.DataFrame):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            bars = checked_bars("ONE", table)
        except TradingError as refused:
            assert_told(refused)
            return
    assert np.isfinite(bars[COLUMNS].to_numpy()).all()
    assert bars.index[0].year < 1900 or not [
        f for f in quality_of({"ONE": bars}) if f.rule in ("unreadable", "impossible", "order", "zone", "duplicate")
    ]


odd_cells = ["1e1", "1e400", "", "null", "nan", "-1", "1,5", "1.000.000", "²", "0x10", "\0", " 10 ", '"10"', "TRUE"]
cell = st.sampled_from(["10"] * 60 + odd_cells)
odd_days = ["0000-00-00", "2024-02-30", "9999-12-31", "x", "", "2024-01-02 00:00:00", "02/01/2024"]
day = st.one_of(st.dates(date(2023, 12, 20), date(2024, 1, 20)).map(str), st.sampled_from(odd_days * 1))
good = st.builds(lambda day, *cells: ",".join([day, *cells]), day, *[cell] * 5)
line = st.one_of(good, good, good, good, good, st.text(alphabet="0123456789.,-/:eE \"'ABnaul\r\n;\t", max_size=40))


@CASES
@given(st.lists(line, max_size=8), st.sampled_from([*["date,open,high,low,close,volume"] * 6, "date,symbol,open,high,low,close,volume", "", "\ufeffDate;Open", "date,open,open,high,low,close,volume"]), st.sampled_from([False] * 7 + [True]))  # fmt: skip
@example(["2024-01-02,1,1,1,1,1"], "date,open,high,low,close,volume", False)
@example(["2024-01-02,\u0661,1,1,1,1"], "date,open,high,low,close,volume", False)
@example(["9999-12-31,1,1,1,1,1"], "date,open,high,low,close,volume", False)
@example(["0001-01-01,1,1,1,1,1"], "date,open,high,low,close,volume", False)
@example(["9999-12-31,10,10,10,10,10", "2023-12-20,10,10,10,10,10"], "date,open,high,low,close,volume", False)
def test_any_file_is_read_rightly_or_refused_with_a_type(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], header: str, broken: bool
) -> None:
    path = Path(tmp_path_factory.getbasetemp()) / "fuzz.csv"
    text = "\n".join([header, *lines]).encode("utf-8", "surrogatepass")
    path.write_bytes(text[: len(text) // 2] + b"\xff\xfe" if broken else text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            source = CsvBars(path, calendar=None)
            bars = source.bars("fuzz" if "symbol" not in header else (source.symbols() or ["A"])[0])
        except TradingError as refused:
            assert_told(refused)
            return
    values = bars.to_numpy()
    assert np.isfinite(values).all()
    assert (values[:, :4] > 0).all()
    if "symbol" not in header:  # read once more, in the plainest way
        rows = [row for row in csv.reader(io.StringIO(text.decode("utf-8-sig"), newline="")) if row][1:]
        by_day = {row[0].strip()[:10].replace("/", "-"): [float(x) for x in row[1:]] for row in rows}
        assert [list(map(float, row)) for row in values] == [by_day[day] for day in sorted(by_day)]
    sound(quality_of({"FUZZ": bars}, {"FUZZ": Asset.of("FUZZ/USD")}))
