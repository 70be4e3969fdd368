"""A file of names is right or refused by its line, whatever is in it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from trading_core.data import BarStore
from trading_core.data.sources import Source
from trading_core.data.tickers import RenamedBars, TickerFileError, Tickers, Use
from trading_core.sessions import sessions

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


def test_a_company_whose_old_name_knew_no_splits_has_none_then(tmp_path: Path) -> None:
    days = sessions("XNYS", "2024-01-02", "2024-01-12")
    flat = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 10.0), days).assign(volume=1.0)

    class Files(Source):
        name, simulated = "files", False

        def read(self, symbol: str, start: Any, end: Any, interval: str) -> pd.DataFrame:
            own = flat if symbol == "FB" else flat.assign(split=2.0, dividend=0.5)
            return own.loc[start:end]

    uses = (
        Use("META", "FB", dt.date(2024, 1, 1), dt.date(2024, 1, 5)),
        Use("META", "META", dt.date(2024, 1, 6), dt.date(2024, 2, 1)),
    )
    for source in (RenamedBars(Files(), Tickers(uses)), BarStore(tmp_path, RenamedBars(Files(), Tickers(uses)))):
        bars = source.bars("META", "2024-01-02", "2024-01-12")
        assert bars["split"].tolist() == [1.0] * 4 + [2.0] * 5
        assert bars["dividend"].tolist() == [0.0] * 4 + [0.5] * 5
    plain = RenamedBars(Files(), Tickers(uses)).bars("META", "2024-01-02", "2024-01-05")
    assert list(plain.columns) == list(flat.columns)
