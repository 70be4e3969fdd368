"""Files as vendors write them, and as they break."""

from __future__ import annotations

import csv
import gzip
import io
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trading_core.data.csv_files import AmbiguousSymbolError, CsvBars, Table, parse
from trading_core.data.csv_lines import CsvError, day_of, first_fault, layout_of, read_text
from trading_core.data.panel import UnknownSymbolError
from trading_core.data.promises import check_source
from trading_core.data.sources import BadBarsError, NoBarsError
from trading_core.errors import ConfigError, DataError

HEAD = "Date,Open,High,Low,Close,Volume\n"
ROWS = ["2024-01-02,10,11,9,10.5,500", "2024-01-03,10,11,9,10.5,500", "2024-01-04,10,11,9,10.5,500"]


def file_of(*rows: str, head: str = HEAD) -> str:
    return head + "\n".join(rows) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        file_of(*ROWS),
        file_of(*ROWS).replace("\n", "\r\n"),
        file_of(*ROWS).replace("\n", "\r"),
        "\ufeff" + file_of(*ROWS),
        file_of(*ROWS).rstrip("\n"),
        file_of(ROWS[0], "", ROWS[1], "", ROWS[2], ""),
        file_of(*reversed(ROWS)),
        file_of(*ROWS).replace("-01-", "/01/"),
        file_of(*(row.replace("-", "") for row in ROWS)),
        file_of(*(row.replace(",10,", " 00:00:00+02:00,10,", 1) for row in ROWS)),
        file_of(*(row.replace(",10,", "T21:00:00Z,10,", 1) for row in ROWS)),
        file_of(*(row.replace(",10,", " 23:59:59.999,10,", 1) for row in ROWS)),
        file_of(*(f'"{row}"'.replace(",", '","') for row in ROWS)),
        file_of(*(f"{row},7,x" for row in ROWS), head="timestamp,OPEN,high,Low, close ,Vol,Adj Close,Note\n"),
        file_of(
            *(f"{n},{row}" for n, row in enumerate(ROWS)), head=",1. Date,1. open,2. high,3. low,4. close,5. volume\n"
        ),
        file_of(*(f"ACME,{row}" for row in ROWS), head="Ticker," + HEAD),
    ],
)
def test_one_table_comes_out_of_every_honest_spelling(write, text):
    source = CsvBars(write("ACME.csv", text))
    bars = source.bars("ACME")
    assert bars.index.strftime("%Y-%m-%d").tolist() == ["2024-01-02", "2024-01-03", "2024-01-04"]
    assert bars.to_numpy().tolist() == [[10, 11, 9, 10.5, 500]] * 3
    assert (str(bars.index.tz), bars.index.unit, list(bars.columns)) == (
        "UTC", "ns", ["open", "high", "low", "close", "volume"]
    )  # fmt: skip
    check_source(source, "ACME")


@pytest.mark.parametrize(
    ("rows", "line", "column", "sentence"),
    [
        ([ROWS[0], "2024-01-03,null,null,null,null,null"], 3, "Open", "'null' arrived, but a number is needed"),
        ([ROWS[0], "2024-01-03,10,11,9,,500"], 3, "Close", "'' arrived, but a number is needed. The vendor has no value"),
        ([ROWS[0], "2024-01-03,10,11,9,nan,500"], 3, "Close", "'nan' arrived"),
        ([ROWS[0], "2024-01-03,10,inf,9,10,500"], 3, "High", "'inf' arrived"),
        ([ROWS[0], "2024-01-03,1e999,1e999,9,10,500"], 3, "", "a value is missing or infinite"),
        ([ROWS[0], "2024-01-03,1.914.080.078.125,11,9,10,500"], 3, "Open", "another locale rewrote the file"),
        ([ROWS[0], '2024-01-03,"10,5",11,9,10,500'], 3, "Open", "Write decimals with a point"),
        ([ROWS[0], '2024-01-03,10,11,9,10,"1,500"'], 3, "Volume", "'1,500' arrived"),
        ([ROWS[0], "2024-01-03,$10,11,9,10,500"], 3, "Open", "Write the bare number"),
        ([ROWS[0], "2024-01-03,1_0,11,9,10,500"], 3, "Open", "'1_0' arrived"),
        ([ROWS[0], "2024-01-03,10,11,9,٣,500"], 3, "Close", "'٣' arrived"),
        (["2024-01-03,10,11,9,10,TRUE", "2024-01-04,10,11,9,10,TRUE"], 2, "Volume", "'TRUE' arrived"),
        ([ROWS[0], "03/04/2024,10,11,9,10,500"], 3, "Date", "'03/04/2024' arrived, but a day such as 2020-08-02"),
        ([ROWS[0], "29-04-13 23:59,10,11,9,10,500"], 3, "Date", "Write dates with the year first"),
        ([ROWS[0], "2024-02-30,10,11,9,10,500"], 3, "Date", "'2024-02-30' arrived"),
        ([ROWS[0], "2024-01/03,10,11,9,10,500"], 3, "Date", "'2024-01/03' arrived"),
        ([ROWS[0], ",10,11,9,10,500"], 3, "Date", "'' arrived"),
        ([ROWS[0], "2024-01-03,10,11,9,10"], 3, "", "there are 5 fields, but the header has 6"),
        ([ROWS[0], "2024-01-03,10,11,9,10,500,"], 3, "", "there are 7 fields, but the header has 6"),
        (["2024-01-03,10,11,9,10,500,", "2024-01-04,10,11,9,10,500,"], 2, "", "there are 7 fields"),
        ([ROWS[0], "2024-01-03,10,11,9,10,500,1", "2024-01-04,10,11,9,10"], 3, "", "there are 7 fields"),
        ([ROWS[0], " ", ROWS[1]], 3, "", "there are 1 fields"),
        ([ROWS[0], HEAD.strip(), ROWS[1]], 3, "", "the header comes again"),
        ([ROWS[0], HEAD.strip().upper(), ROWS[1]], 3, "", "the header comes again"),
        ([ROWS[0], '"2024-01-03,10,11,9,10,500'], 3, "", "the line cannot be split"),
        ([ROWS[0], "", "", "2024-01-03,10,8,9,10,500"], 5, "", "high is below low (open 10, high 8"),
        ([ROWS[0], "2024-01-03,10,11,9,12,500"], 3, "", "high is below open or close"),
        ([ROWS[0], "2024-01-03,10,11,9.5,9,500"], 3, "", "low is above open or close"),
        ([ROWS[0], "2024-01-03,0,0,0,0,0"], 3, "", "a price is not above zero"),
        ([ROWS[0], "2024-01-03,-10,11,-11,10,500"], 3, "", "a price is not above zero"),
        ([ROWS[0], "2024-01-03,10,11,9,10,-1"], 3, "", "the volume is negative"),
        ([*ROWS, ROWS[1]], 5, "", "2024-01-03 is on line 3 already, with the same values"),
        ([*ROWS, "2024-01-03,10,11,9,10.6,500"], 5, "", "2024-01-03 is on line 3 already, with other values"),
        ([ROWS[0], ROWS[2], ROWS[1]], 4, "", "2024-01-03 comes after a later day"),
        ([ROWS[2], ROWS[0], ROWS[1]], 3, "", "2024-01-02 comes after a later day"),
        (["2024-01-02 09:30,10,11,9,10,5", "2024-01-02 09:31,10,11,9,10,5"], 3, "Date", "the time of day is 09:31, before it was 09:30"),
        (["2024-01-02 09:30,10,11,9,10,5", "2024-01-03,10,11,9,10,5"], 3, "Date", "the time of day is missing"),
        (["2024-03-28,10,11,9,10,5", "2024-03-29,10,11,9,10,5"], 3, "", "2024-03-29 has a bar, a Friday, but ACME trades on the sessions of XNYS"),
        (["2024-01-05,10,11,9,10,5", "2024-01-06,10,11,9,10,5"], 3, "", "If it is a coin, ask for ACME/USD"),
        (["2024-01-05,10,11,9,10,5", "2024-01-23,10,11,9,10,5"], 3, "", "10 sessions of ACME are missing"),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_with_its_line_and_the_cure(write, rows, line, column, sentence):
    path = write("ACME.csv", file_of(*rows))
    with pytest.raises(CsvError) as refused:
        CsvBars(path).bars("ACME")
    error = refused.value
    assert (error.line, error.column) == (line, column), str(error)
    assert sentence in str(error)
    assert str(error).startswith(str(path))
    assert str(error).endswith((".", "yes."))
    assert isinstance(error, DataError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_nine_missing_sessions_are_a_halt_and_ten_a_choice(write):
    gap = ["2024-01-05,10,11,9,10,5", "2024-01-22,10,11,9,10,5"]  # Martin Luther King's day is no session
    assert len(CsvBars(write("ACME.csv", file_of(*gap))).bars("ACME")) == 2
    path = write("ACME.csv", file_of(gap[0], "2024-01-23,10,11,9,10,5"))
    with pytest.raises(CsvError, match=r"accept it with --set market.allow_gaps=yes"):
        CsvBars(path).bars("ACME")
    assert len(CsvBars(path, allow_gaps=True).bars("ACME")) == 2
    assert len(CsvBars(path).bars("ACME", "2024-01-20")) == 1  # nobody asked about the gap


def test_another_calendar_or_none_can_be_given(write):
    path = write("ACME.csv", file_of("2024-01-05,10,11,9,10,5", "2024-01-06,10,11,9,10,5"))
    assert len(CsvBars(path, calendar=None).bars("ACME")) == 2
    assert len(CsvBars(path, calendar="24/7").bars("ACME")) == 2
    with pytest.raises(CsvError, match="trades on the sessions of XJSE"):
        CsvBars(path, calendar="XJSE").bars("ACME")


@pytest.mark.parametrize(
    ("data", "line", "sentence"),
    [
        (b"", 0, "the file is empty"),
        (b"\n\n", 0, "the file is empty"),
        (HEAD.encode(), 0, "there is a header only"),
        (HEAD.encode() + b"2024-01-02,10,11,9,10,5\n2024-01-03,\xff,11,9,10,5\n", 3, "byte 0xff is no UTF-8"),
        (file_of(*ROWS).encode("utf-16"), 1, "is no UTF-8"),
        (gzip.compress(file_of(*ROWS).encode(), mtime=0)[:-9], 0, "it cannot be unpacked"),
        (b"Date;Open;High;Low;Close;Volume\n2024-01-02;10;11;9;10;5\n", 1, "Save it with commas"),
        (b"Date,Open,High,Low,Close\n2024-01-02,10,11,9,10\n", 1, "there is no column for volume"),
        (b"Date,Time,Open,High,Low,Close,Volume\n", 1, "Date and Time both look like the day"),
        (b"2024-01-02,10,11,9,10,5\n", 1, "the header is '2024-01-02,10"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, data, line, sentence):
    path = tmp_path / "ACME.csv"
    path.write_bytes(data)
    with pytest.raises(CsvError) as refused:
        CsvBars(path).bars("ACME")
    assert refused.value.line == line
    assert sentence in str(refused.value)


def test_a_nul_byte_is_refused(write):
    with pytest.raises(CsvError, match="line 3"):
        CsvBars(write("ACME.csv", file_of(ROWS[0], "2024-01-03,10,11,9,1\x000,500"))).bars("ACME")


def long_file(*rows: str) -> str:
    return "symbol,date,open,high,low,close,volume\n" + "".join(f"{row},10,11,9,10,5\n" for row in rows)


def test_a_long_file_may_be_sorted_by_day_or_by_symbol_and_each_symbol_by_itself(write):
    by_day = long_file(
        "AAA,2024-01-04", "BBB,2024-01-02", "BBB,2024-01-03", "AAA,2024-01-03", "BBB,2024-01-04", "AAA,2024-01-02"
    )
    source = CsvBars(write("all.csv", by_day))
    assert source.symbols() == ["AAA", "BBB"]
    for symbol in source.symbols():
        assert source.bars(symbol).index.strftime("%d").tolist() == ["02", "03", "04"]


def test_rows_of_different_symbols_do_not_repeat_each_other(write):
    path = write("all.csv", long_file("AAA,2024-01-02", "BBB,2024-01-02", "AAA,2024-01-03", "BBB,2024-01-02"))
    with pytest.raises(CsvError, match="line 5: BBB 2024-01-02 is on line 3 already"):
        CsvBars(path).bars("AAA")


def test_a_column_called_name_has_the_symbols_where_no_other_has(write):
    head = "date,open,high,low,close,volume,Name\n"
    rows = [f"{row},{name}" for name in ("AAPL", "MSFT") for row in ROWS]
    source = CsvBars(write("all_stocks_5yr.csv", file_of(*rows, head=head)))
    assert source.symbols() == ["AAPL", "MSFT"]
    assert len(source.bars("MSFT")) == 3
    both = [f"{row},Apple,AAPL" for row in ROWS]
    path = write("both.csv", file_of(*both, head=head.replace("Name", "Name,Symbol")))
    assert CsvBars(path).symbols() == ["AAPL"]


def test_a_blank_symbol_is_refused(write):
    with pytest.raises(CsvError, match="line 3, column symbol: it is blank"):
        CsvBars(write("all.csv", long_file("AAA,2024-01-02", " ,2024-01-02"))).bars("AAA")


@pytest.mark.parametrize("raw", ["BTC/USD", "BTC-USD", "BTCUSD", "btc-usd", "BTC", "BTC_USD"])
def test_a_pair_is_found_however_it_is_spelled(write, raw):
    days = [f"{raw},{day:%Y-%m-%d}" for day in pd.date_range("2024-01-01", periods=14)]
    source = CsvBars(write("all.csv", long_file(*days)))
    assert len(source.bars("BTC/USD")) == 14
    assert source.symbols() == ["BTC/USD"]


@pytest.mark.parametrize("name", ["ACME.csv", "acme.csv.gz", "vendor_ACME_2015.csv", "ACME.US.csv", "daily ACME.CSV"])
def test_a_file_without_symbols_speaks_through_its_name(tmp_path, name):
    data = file_of(*ROWS).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert len(CsvBars(tmp_path).bars("ACME")) == 3
    assert len(CsvBars(str(tmp_path / name)).bars("ACME")) == 3


@pytest.mark.parametrize("name", ["BRK.A.csv", "BRK.A_2012_2017.csv", "vendor BRK.A.US.csv", "daily_BRK-A.csv"])
def test_a_share_class_is_no_symbol_of_its_own_and_not_the_other_class(write, name):
    source = CsvBars(write(name, file_of(*ROWS)))
    assert len(source.bars("BRK.A")) == 3
    for other in ("A", "BRK", "US", "BRK.B"):  # A is Agilent
        with pytest.raises(UnknownSymbolError):
            source.bars(other)


def test_a_file_is_found_beside_that_of_a_share_class_of_its_letter(tmp_path, write):
    write("A_2012_2017.csv", file_of(ROWS[0])), write("BRK.A_2012_2017.csv", file_of(*ROWS))
    assert [len(CsvBars(tmp_path).bars(symbol)) for symbol in ("A", "BRK.A")] == [1, 3]


def test_a_dot_and_a_dash_are_the_same_share_class(write):
    assert len(CsvBars(write("BRK-B.csv", file_of(*ROWS))).bars("BRK.B")) == 3


def test_a_coin_in_other_money_is_not_taken_for_dollars(write):
    with pytest.raises(UnknownSymbolError):
        CsvBars(write("BTC.csv", file_of(*ROWS))).bars("BTC/EUR")
    for name in ("BTC_EUR.csv", "vendor_BTC_EUR_2024.csv", "BTC-EUR.csv", "BTCEUR.csv"):
        source = CsvBars(write(name, file_of(*ROWS)))
        assert len(source.bars("BTC/EUR")) == 3
        with pytest.raises(UnknownSymbolError):
            source.bars("BTC/USD")


def test_a_folder_may_hold_many_files_and_is_read_one_by_one(tmp_path, write):
    write("AAA.csv", file_of(*ROWS))
    write("BBB.csv", file_of("2024-01-02,broken,11,9,10,5"))
    write("notes.txt", "not for us")
    source = CsvBars(tmp_path)
    assert len(source.bars("AAA")) == 3  # BBB has not been read
    with pytest.raises(CsvError, match=r"BBB\.csv, line 2, column Open: 'broken' arrived"):
        source.bars("BBB")


def test_a_file_is_read_once(write, monkeypatch):
    source = CsvBars(write("all.csv", long_file("AAA,2024-01-02", "BBB,2024-01-02")))
    reads: list[Path] = []
    real = Table.read
    monkeypatch.setattr(Table, "read", lambda path: reads.append(path) or real(path))
    for _ in range(3):
        source.bars("AAA"), source.bars("BBB"), source.symbols()
    assert len(reads) == 1


def test_two_files_with_one_symbol_are_a_question(tmp_path, write):
    write("adjusted_ACME.csv", file_of(*ROWS)), write("raw_ACME.csv", file_of(*ROWS))
    with pytest.raises(AmbiguousSymbolError, match=r"adjusted_ACME.csv and in .*raw_ACME.csv, but one file is needed"):
        CsvBars(tmp_path).bars("ACME")
    assert len(CsvBars(tmp_path / "raw_ACME.csv").bars("ACME")) == 3


def test_several_paths_come_as_a_list_or_as_text(tmp_path, write):
    paths = [write("AAA.csv", file_of(*ROWS)), write("B, C.csv", file_of(*ROWS))]
    assert CsvBars(paths).symbols() == ["AAA", "B, C"]
    assert CsvBars(str(paths[1])).symbols() == ["B, C"]  # a comma in a name that exists
    write("BBB.csv", file_of(*ROWS))
    assert CsvBars(f"{paths[0]}, {tmp_path / 'BBB.csv'},").symbols() == ["AAA", "BBB"]


@pytest.mark.parametrize(
    ("path", "sentence"), [("nowhere", "no file or folder"), ("", "needs market.path"), ([], "needs market.path")]
)
def test_a_path_that_leads_nowhere_is_refused_at_once(path, sentence):
    with pytest.raises(ConfigError, match=sentence):
        CsvBars(path)


def test_an_empty_folder_is_refused_at_once(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no .csv or .csv.gz file"):
        CsvBars(tmp_path)


def test_symbols_and_days_that_are_not_there_are_refused_with_what_is(write):
    source = CsvBars(write("all.csv", long_file("AAPL,2024-01-02", "MSFT,2024-01-02")))
    with pytest.raises(UnknownSymbolError, match=r"market.path has no symbol 'APPL'. Did you mean 'AAPL'"):
        source.bars("APPL")
    with pytest.raises(
        NoBarsError, match=r"no bars of AAPL from 2024-02-01. There are bars from 2024-01-02 to 2024-01-02"
    ):
        source.bars("AAPL", "2024-02-01")


HOURS = pd.date_range("2024-11-02 04:00", periods=20, freq="h", tz="UTC").tz_convert("America/New_York")


@pytest.mark.parametrize("bare", [0, 1, 7])
def test_offsets_from_utc_on_some_lines_only_are_refused_with_the_first_that_differs(write, bare):
    rows = [f"{hour:%Y-%m-%d %H:%M:%S}{'' if n == bare else '-04:00'},10,11,9,10,5" for n, hour in enumerate(HOURS)]
    path = write("BTC-USD.csv", file_of(*rows))
    with pytest.raises(CsvError, match="offset from UTC") as refused:
        CsvBars(path, label="start").bars("BTC/USD", interval="1h")
    assert refused.value.line == (bare + 2 if bare else 3)
    rows[bare] = (
        rows[bare].replace(",", "-04:00,", 1) if bare != 7 else rows[bare].replace(" 07", " 11").replace(",", "Z,", 1)
    )
    whole = CsvBars(write("BTC-USD.csv", file_of(*rows)), label="start").bars("BTC/USD", interval="1h")
    assert whole.index.equals(HOURS.tz_convert("UTC") + pd.Timedelta(hours=1))


@pytest.mark.parametrize("removed", [False, True])
def test_the_hour_that_is_there_twice_in_november_is_told_as_that(write, removed):
    hours = pd.date_range("2024-11-03 04:00", periods=24, freq="h", tz="UTC").tz_convert("America/New_York")
    rows = [f"{hour:%Y-%m-%d %H:%M},10,11,9,10,{n}" for n, hour in enumerate(hours) if not (removed and n == 2)]
    path = write("BTC-USD.csv", file_of(*rows, head=HEAD.replace("Date", "time_ny")))
    with pytest.raises(CsvError, match=r"once on the clock of America/New_York. Get the file in UTC") as refused:
        CsvBars(path, label="start").bars("BTC/USD", interval="1h")
    assert "2024-11-03" in str(refused.value)
    assert "remove" not in str(refused.value).lower()
    path = write("BTC-USD.csv", file_of(*rows[5:], rows[-1], head=HEAD.replace("Date", "time_ny")))
    with pytest.raises(CsvError, match="Remove one of the two"):
        CsvBars(path, label="start").bars("BTC/USD", interval="1h")


def future_file(interval: str) -> str:
    "A coin's bars by their ends, from two days ago to two days ahead."
    today = pd.Timestamp.now(tz="UTC").normalize()
    marks = pd.date_range(today - pd.Timedelta(days=2), today + pd.Timedelta(days=2), freq=interval, inclusive="right")
    return file_of(*(f"{mark:%Y-%m-%d %H:%M},10,11,9,10,5" for mark in marks), head=HEAD.replace("Date", "time_utc"))


@pytest.mark.parametrize("interval", ["1d", "1h"])
def test_a_bar_ahead_of_the_clock_is_refused(write, interval):
    path = write("BTC-USD.csv", future_file("D" if interval == "1d" else "h"))
    for today in (None, "2024-01-01"):
        with pytest.raises(BadBarsError, match="a bar from the future"):
            CsvBars(path, label="end", today=today).bars("BTC/USD", interval=interval)


def test_the_day_that_is_not_over_is_left_out_and_so_is_what_came_after_a_day_of_the_past(write):
    today = pd.Timestamp.now(tz="UTC").normalize()
    rows = [f"{today - pd.Timedelta(days=n):%Y-%m-%d},10,11,9,10,5" for n in (3, 2, 1, 0)]
    path = write("BTC-USD.csv", file_of(*rows))
    assert CsvBars(path).bars("BTC/USD").index[-1] == today - pd.Timedelta(days=1)
    assert CsvBars(path).latest(["BTC/USD"])["time"].iloc[0] == today
    then = CsvBars(path, today=today - pd.Timedelta(days=1))
    assert then.bars("BTC/USD").index[-1] == today - pd.Timedelta(days=2)
    assert then.latest(["BTC/USD"])["time"].iloc[0] == today - pd.Timedelta(days=1)
    with pytest.raises(NoBarsError):
        CsvBars(path, today="2020-01-01").bars("BTC/USD")


def test_hours_as_of_a_moment_of_the_past_end_with_the_last_one_that_was_over(write):
    rows = [f"{hour:%Y-%m-%d %H:%M},10,11,9,10,5" for hour in pd.date_range("2024-03-01", periods=576, freq="5min")]
    path = write("BTC-USD.csv", file_of(*rows, head=HEAD.replace("Date", "time_utc")))
    for interval, last in (("1h", "15:00"), ("30m", "15:30")):
        source = CsvBars(path, label="start", today="2024-03-02 15:35")
        assert source.bars("BTC/USD", interval=interval).index[-1] == pd.Timestamp(f"2024-03-02 {last}", tz="UTC")


CELLS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True).map(repr),
    st.sampled_from(["10", "10.5", "", "null", "1.2.3", "TRUE", "0x1", "1e3", " 7 ", "1_0", "+5", ".5", "5.", "-0", "1d5", "∞", '"'],),
    st.text("0123456789.,eE+-_ x", max_size=8),
)  # fmt: skip


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=4))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_fast_reader_refuses_exactly_what_the_slow_one_does(tmp_path, cells):
    path, text = tmp_path / "ACME.csv", io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(HEAD.strip().split(","))
    for day, (low, volume) in enumerate(cells, 2):
        rows.writerow([f"2024-01-0{day}", "10", "11", low, "10", volume])
    path.write_text(text.getvalue())
    layout = layout_of(str(path), HEAD.strip().split(","))
    fault = first_fault(layout, read_text(path))
    if fault:
        with pytest.raises(CsvError) as refused:
            parse(path)
        assert str(refused.value) == str(fault)
    else:
        values = parse(path).values
        assert values[:, 2].tolist() == [float(low) for low, _ in cells]
        assert values[:, 4].tolist() == [float(volume) for _, volume in cells]


@given(st.floats(1e-9, 1e9), st.integers(0, 10**15))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_are_read_to_the_last_bit(tmp_path, price, volume):
    path = tmp_path / "ACME.csv"
    path.write_text(file_of(f"2024-01-02,{price!r},{price!r},{price!r},{price!r},{volume}"))
    assert CsvBars(path).bars("ACME").to_numpy().tolist() == [[price] * 4 + [float(volume)]]


@given(st.dates(pd.Timestamp("1971-01-01").date(), pd.Timestamp("2100-01-01").date()), st.sampled_from(["-", "/", ""]))
def test_days_count_from_1970(day, between):
    assert day_of(day.strftime(f"%Y{between}%m{between}%d")) == (int(np.datetime64(day, "D").astype(int)), "")
