"""Universes, renamed companies and the coverage of real files; and what a line that cannot be used says."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_core.data import BarStore, CsvBars
from trading_core.data.coverage import State, coverage_states, coverage_table
from trading_core.data.normalizer import HybridDataNormalizer
from trading_core.data.tickers import RenamedBars, TickerError, Tickers, Use
from trading_core.data.universe import Stay, Universe, UniverseError

EARLY, LATE = dt.date(1990, 1, 1), dt.date(2199, 12, 31)


def test_the_index_has_about_five_hundred_members_on_every_day(real_data: Path) -> None:
    universe = Universe.read(real_data / "sp500_membership_start_end.csv")
    counts = [len(universe.members(day)) for day in pd.date_range("2000-01-03", "2025-07-01", freq="MS", tz="UTC")]
    assert 485 <= min(counts) <= max(counts) <= 507
    assert "LEHMQ" in universe.members("2008-09-12")
    assert "LEHMQ" not in universe.members("2009-01-02")
    assert {"AMD", "AABA"} <= set(universe.symbols("2013-01-01", "2017-06-01"))
    assert "AMD" not in universe.members("2015-01-02")  # it left and came back
    assert len(universe.symbols("2015-01-01", "2020-12-31")) > 590  # more than were ever in it on one day


DAYS = pd.date_range("2024-01-01", periods=30, tz="UTC")
STAYS = st.lists(st.tuples(st.sampled_from("ABC"), st.integers(-5, 35), st.integers(1, 20) | st.none()), max_size=6)


@settings(max_examples=40, deadline=None)
@given(STAYS)
def test_the_mask_says_what_the_members_of_each_day_say(found: list[tuple[str, int, int | None]]) -> None:
    begin = DAYS[0].date()
    stays = [
        Stay(s, begin + dt.timedelta(days=a), None if n is None else begin + dt.timedelta(days=a + n))
        for s, a, n in found
    ]
    universe = Universe(tuple(stays))
    flat = pd.DataFrame(dict.fromkeys(["open", "high", "low", "close", "volume"], 1.0), DAYS)
    panel = HybridDataNormalizer().normalize(dict.fromkeys("ABC", flat))
    mask = universe.mask(panel)
    for day in DAYS:
        assert [symbol for symbol in "ABC" if mask.loc[day, symbol]] == universe.members(day)
    assert set(universe.symbols(DAYS[0], DAYS[-1])) == {s for s in "ABC" if mask[s].any()}
    assert Universe.of("AB").mask(panel).sum().tolist() == [30, 30, 0]


def test_a_stay_from_the_first_day_of_all_to_the_last_one_is_always_and_one_elsewhere_never() -> None:
    bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 10.0), DAYS).assign(volume=1.0)
    panel = HybridDataNormalizer().normalize({"A/USD": bars, "B/USD": bars, "C/USD": bars})
    never = Stay("B/USD", dt.date.min, dt.date(1600, 1, 1)), Stay("C/USD", dt.date(9999, 1, 1), dt.date.max)
    mask = Universe((Stay("A/USD", dt.date.min, dt.date.max), *never)).mask(panel)
    assert mask.all().tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name,start,end\n", "line 1: the header is name, start, end"),
        ("", "line 1"),
        ("symbol,start,end\nA,2020-01-01\n", "line 2: 2 values arrived, but 3 are needed"),
        ("symbol,start,end\nA,01/02/2020,\n", "line 2: '01/02/2020' is no day"),
        ("symbol,start,end\n\nA,2020-01-01,2020-01-01\n", "line 3: A,2020-01-01,2020-01-01"),
        ("symbol,start,end\n,2020-01-01,\n", "line 2"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(UniverseError) as refused:
        Universe.read(tmp_path / "list.csv")
    assert sentence in str(refused.value)


def test_google_is_one_company_through_its_names(real_data: Path, tmp_path: Path) -> None:
    names = Tickers.read(real_data / "equities_long_ticker_map.csv")
    files = CsvBars(real_data / "equities_daily_long_raw.csv.gz", allow_gaps=True)
    store = BarStore(tmp_path / "bars", RenamedBars(files, names))
    google = store.bars("GOOGL", "2004-01-01", "2021-03-31")
    assert (google.index[0].date(), len(google)) == (dt.date(2004, 8, 19), 4183)
    assert google.index.is_unique
    assert len(store.bars("GOOG", "2004-01-01", "2021-03-31")) == 1761 + 5
    assert len(store.bars("AAPL")) == 5849
    around = google.loc["2014-04-01":"2014-04-04", "close"]
    assert float(np.abs(around.pct_change()).max()) > 0.4  # the split of that day: raw prices stay raw


def test_a_ticker_of_two_issuers_is_two_companies(real_data: Path) -> None:
    files = CsvBars(real_data / "equities_daily_raw.csv.gz", allow_gaps=True)
    names = Tickers(
        (
            Use("DIRECTV", "DTV", EARLY, dt.date(2015, 7, 24)),
            Use("DTV", "DTV", dt.date(2016, 10, 21), LATE),
            Use("OLD CHUBB", "CB", EARLY, dt.date(2016, 1, 13)),
            Use("CHUBB", "CB", dt.date(2016, 1, 14), LATE),
            Use("AGN", "ACT", EARLY, dt.date(2015, 6, 12)),
            Use("AGN", "AGN", dt.date(2015, 6, 15), LATE),
            Use("SPGI", "MHFI", EARLY, dt.date(2016, 4, 26)),
            Use("SPGI", "SPGI", dt.date(2016, 4, 27), LATE),
        )
    )
    source = RenamedBars(files, names)
    joined = files.bars("CB")["close"]
    assert float(joined.pct_change().loc["2016-01-14"]) < -0.13
    for company in ("DIRECTV", "DTV", "OLD CHUBB", "CHUBB", "AGN", "SPGI"):
        own = source.bars(company)
        assert own.index.is_monotonic_increasing
        assert own.index.is_unique
    for company, change in (("AGN", "2015-06-15"), ("SPGI", "2016-04-27")):  # no cliff where a name changed
        assert abs(float(source.bars(company)["close"].pct_change().loc[change])) < 0.02
    assert len(source.bars("SPGI")) == 512
    assert (len(source.bars("DIRECTV")), len(source.bars("DTV"))) == (88, 111)
    assert names.company("DTV", "2015-07-01") == "DIRECTV"
    with pytest.raises(TickerError, match="nobody had this name on 2016-01-04"):
        names.company("DTV", "2016-01-04")


def test_the_hole_of_qqq_is_seen(real_data: Path, tmp_path: Path) -> None:
    files = CsvBars(real_data / "equities_daily_long_raw.csv.gz", allow_gaps=True)
    store = BarStore(tmp_path / "bars", files)
    store.fetch(["AAPL", "QQQ"], "1998-01-01", "2021-03-31")
    states = coverage_states(store)
    table = coverage_table(states).set_index("symbol")
    assert table["gaps"].to_dict() == {"AAPL": 0, "QQQ": 1588}
    gap = states.index[states["QQQ"] == State.GAP]
    assert (gap[0].date(), gap[-1].date()) == (dt.date(2004, 12, 1), dt.date(2011, 3, 22))
