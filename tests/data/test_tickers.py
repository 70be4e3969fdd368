"""A file of names is right or refused by its line, whatever is in it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from trading_core.data.tickers import TickerFileError, Tickers, Use

HEAD = "current_symbol,last_date,ticker\n"


@pytest.mark.parametrize("day", ["", "now", "today", "NaT", "2015", "2015-02-30", "20/03/2015", "2015-03-20T00:00"])
def test_a_last_day_that_is_none_is_refused_by_its_line(tmp_path: Path, day: str) -> None:
    path = tmp_path / "names.csv"
    path.write_text(f"{HEAD}META,2012-05-18,FB\nMETA,{day},FB\n")
    with pytest.raises(TickerFileError, match=f"^names.csv, line 3: '{day}' is no day, but days are written"):
        Tickers.read(path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "it cannot be read"),
        (b"\xff\xfe\0", "it cannot be read"),
        (b"", "line 1: the header is"),
        (b"a,b\n1,2\n", "line 1: the header is a,b"),
        ((HEAD + "META\n").encode(), "line 2: META, but a name has a company"),
        ((HEAD + "META,2015-01-01,\n").encode(), "line 2: META,2015-01-01,, but a name has a company"),
        ((HEAD + "META,2015-01-01,FB\nMETA,2014-01-01,FB\n").encode(), "line 3: META has 2014-01-01 after 2015-01-01"),
    ],
)
def test_a_file_that_is_none_is_refused_with_a_sentence(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "names.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TickerFileError) as refused:
        Tickers.read(path)
    assert why in str(refused.value)


def test_a_name_for_ever_ends_in_a_year_that_can_be_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_text(f"{HEAD}META,2012-05-18,FB\n\nMETA,2022-06-08,FB\nMETA,9999-12-31,META\n")
    names = Tickers.read(path)
    assert names.uses == (
        Use("META", "FB", dt.date(2012, 5, 18), dt.date(2022, 6, 8)),
        Use("META", "META", dt.date(2022, 6, 9), dt.date(2200, 1, 1)),
    )
