"""Splits and dividends in CSV files: read as vendors write them, refused where they cannot be booked, and booked once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from trading_core.backtest import backtest
from trading_core.data import SimulatedBars, load_panel
from trading_core.data.csv_files import CsvBars
from trading_core.data.csv_lines import CsvError
from trading_core.data.intervals import grid
from trading_core.strategies import SmaCross

HEAD = "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits\n"


def rows_of(*told: str) -> str:
    return "".join(f"2024-01-0{day},10,11,9,10.5,500,{cells}\n" for day, cells in enumerate(told, 2))


def test_zero_and_empty_mean_none(write):
    bars = CsvBars(write("ACME.csv", HEAD + rows_of("0.0,0.0", ",", "0.24,4.0", "0,0.1"))).bars("ACME")
    assert bars["split"].tolist() == [1.0, 1.0, 4.0, 0.1]
    assert bars["dividend"].tolist() == [0.0, 0.0, 0.24, 0.0]


@pytest.mark.parametrize("title", ["split", "Splits", "Stock Splits"])
def test_one_column_brings_the_other(write, title):
    head = HEAD.replace("Dividends,Stock Splits", title)
    bars = CsvBars(write("ACME.csv", head + rows_of("0", "2"))).bars("ACME")
    assert bars[["split", "dividend"]].to_numpy().tolist() == [[1.0, 0.0], [2.0, 0.0]]


def test_without_the_columns_there_are_five(write):
    head = HEAD.replace("Dividends,Stock Splits", "Adj Close,Split Note")
    bars = CsvBars(write("ACME.csv", head + rows_of("1,2", "1,x"))).bars("ACME")
    assert list(bars.columns) == ["open", "high", "low", "close", "volume"]


@pytest.mark.parametrize(
    ("cells", "column", "arrived"),
    [
        ("0,4:1", "Stock Splits", "'4:1' arrived, but new shares for an old one are needed"),
        ("0,-2", "Stock Splits", "'-2' arrived"),
        ("0,1e999", "Stock Splits", "'1e999' arrived"),
        ("0,TRUE", "Stock Splits", "'TRUE' arrived"),
        ("nan,1", "Dividends", "'nan' arrived, but cash for a share is needed"),
        ("-0.1,1", "Dividends", "'-0.1' arrived"),
        ("$0.24,1", "Dividends", "'$0.24' arrived"),
    ],
)
def test_a_cell_that_cannot_be_booked_is_refused(write, cells, column, arrived):
    with pytest.raises(CsvError) as refused:
        CsvBars(write("ACME.csv", HEAD + rows_of("0,0", cells))).bars("ACME")
    assert (refused.value.line, refused.value.column) == (3, column)
    assert arrived in str(refused.value)
    assert "leave the cell empty where there is none" in str(refused.value)


def test_two_columns_for_the_split_are_a_question(write):
    head = HEAD.replace("Dividends", "Split")
    with pytest.raises(CsvError, match="Split and Stock Splits both look like the split"):
        CsvBars(write("ACME.csv", head + rows_of("1,1"))).bars("ACME")


def test_a_row_that_differs_in_its_dividend_has_other_values(write):
    twice = HEAD + rows_of("0,0") + rows_of("0.3,0")
    with pytest.raises(CsvError, match="with other values"):
        CsvBars(write("ACME.csv", twice)).bars("ACME")


def test_a_backtest_from_files_books_what_the_source_itself_would_have(write):
    market = SimulatedBars(today="2022-01-01", actions=True)
    for symbol in ("KODE", "TAZO", "AQVA"):
        own = market.bars(symbol, "2018-01-02")
        if symbol == "KODE":
            own = own.drop(columns=["split", "dividend"]).assign(split=own["split"])
        titles = {"split": "Stock Splits", "dividend": "Dividends"}
        path = write(f"{symbol}.csv", own.rename_axis("Date").rename(columns=titles).to_csv(date_format="%Y-%m-%d"))
    read, wanted = (
        load_panel(source, ["AQVA", "KODE", "TAZO"], "2018-01-02") for source in (CsvBars(path.parent), market)
    )
    np.testing.assert_array_equal(read.actions["split"], wanted.actions["split"])
    one, other = (backtest(SmaCross(20, 50), panel) for panel in (read, wanted))
    pd.testing.assert_frame_equal(one.actions, other.actions)
    assert set(one.actions["kind"]) == {"split", "dividend"}


@pytest.mark.parametrize(("interval", "mark"), [("1m", "09:31"), ("5m", "09:35")])
def test_a_split_before_the_session_is_told_by_its_first_bar(write, interval, mark):
    marks = grid("XNYS", "1m", "2024-07-02", "2024-07-03").tz_convert("America/New_York")
    second = marks[marks.normalize() == marks[-1].normalize()][:1]
    early = second - pd.Timedelta(minutes=90)
    marks = marks.append(early).sort_values()
    price = np.where(marks < early[0], 400.0, 100.0)
    bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), price), marks.strftime("%Y-%m-%d %H:%M"))
    bars = bars.assign(volume=100, split=np.where(marks == early[0], 4.0, 0.0)).rename_axis("time_ny")
    source = CsvBars(write("ACME.csv", bars.to_csv()), label="end")
    found = source.bars("ACME", interval=interval)
    told = found.index[found["split"] != 1.0].tz_convert("America/New_York")
    assert told.strftime("%m-%d %H:%M").tolist() == [f"07-03 {mark}"]
    assert found["split"].prod() == 4.0
