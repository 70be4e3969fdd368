"""`trading run coverage`: a page about stored bars, which needs no market and fetches nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trading_core.config import load_config
from trading_core.data import BarStore, SimulatedBars
from trading_core.data.coverage import State, coverage_states
from trading_core.report.coverage_page import coverage_section, gap_runs, gaps_section
from trading_core.report.coverage_picture import coverage_figure
from trading_core.run import open_store, run_job
from trading_core.run.pages import package_templates
from trading_core.run.stored import needs_market

MARKET = SimulatedBars(today="2024-02-01")
LOST = pd.to_datetime(["2024-01-10", "2024-01-11", "2024-01-12", "2024-01-16"], utc=True)


@pytest.fixture
def folder(bare: Path) -> Path:
    "A folder with a store of an old month, in days and in hours, with a hole over a long weekend."
    store = BarStore(bare / "bars", MARKET)
    for interval in ("1d", "1h"):
        store.fetch(["AXOR", "BTC/USD", "MERL"], "2024-01-02", "2024-01-31", interval)
        bars = MARKET.bars("AXOR", "2024-01-02", "2024-01-31", interval)
        kept = bars[~bars.index.normalize().isin(LOST)]
        store.add({"AXOR": kept}, "2024-01-02", "2024-01-31", interval)
    return bare


def test_it_shows_an_old_store_as_it_is_and_says_its_gaps_by_name(folder: Path) -> None:
    before = sorted((folder / "bars").rglob("*"))
    result = run_job("coverage", config=load_config(), params={"store": "bars", "interval": "1h"})
    assert (result.status, result.exit_code, result.error) == ("done", 0, "")
    facts = json.loads((result.folder / "run.json").read_text())
    assert facts["headline"] == "1 of 3 symbols has gaps, AXOR the most: 4 sessions"
    assert (facts["as_of"], facts["data"], facts["simulated"]) == (None, None, True)
    page, front = ((result.folder / name).read_text() for name in ("coverage.html", "report.html"))
    assert "Wed 10 Jan 2024" in page
    assert "Tue 16 Jan 2024" in page
    assert "trading data fetch --again" in page
    assert facts["headline"] in front
    assert "no account to show" not in front
    index = (folder / "outputs" / "index.html").read_text()
    assert result.run_id in index
    assert index.count(facts["headline"]) == 2  # the card and the row
    assert sorted((folder / "bars").rglob("*")) == before


def test_a_store_that_is_not_there_is_refused(folder: Path) -> None:
    shutil.rmtree(folder / "bars")
    (folder / "settings.ini").write_text("[market]\nstore = bars\n")
    result = run_job("coverage", config=load_config())
    assert (result.status, result.exit_code) == ("refused", 2)
    assert "There are no stored bars in 'bars'. Fill it: trading data fetch" in result.error


def test_only_pages_that_open_a_run_get_a_market() -> None:
    found = {path.stem: needs_market(path) for path in package_templates().glob("*.ipynb")}
    assert [page for page, needed in found.items() if not needed] == ["coverage"]


def test_by_hand_the_store_is_that_of_the_nearest_settings(folder: Path) -> None:
    (folder / "settings.ini").write_text("[market]\nstore = bars\n")
    assert open_store().folder == folder / "bars"
    assert open_store("bars").kept("1h") == ["AXOR", "BTC/USD", "MERL"]


def test_a_gap_goes_over_weekends_and_ends_with_a_bar(folder: Path) -> None:
    states = coverage_states(BarStore(folder / "bars"))
    runs = gap_runs(states)
    assert runs.to_dict("records") == [{"symbol": "AXOR", "first": LOST[0], "last": LOST[-1], "sessions": 4}]
    assert "1 gap" in gaps_section(states)
    assert "<svg" in coverage_section(states)


def test_days_in_part_are_told_apart_in_hours(folder: Path) -> None:
    store = BarStore(folder / "bars")
    hours = MARKET.bars("MERL", "2024-01-02", "2024-01-31", "1h")
    store.add({"MERL": hours[(hours.index.day != 18) | (hours.index.hour < 17)]}, "2024-01-02", "2024-01-31", "1h")
    states = coverage_states(store, interval="1h")
    assert states.index[states["MERL"] == State.PART].day.tolist() == [18]
    assert not (states["BTC/USD"] == State.PART).any()


def test_the_rows_of_the_picture_are_labelled_at_one_distance():
    days = pd.date_range("2024-01-01", periods=5, tz="UTC")
    for symbols, labels in ((7, 7), (31, 16), (60, 30), (100, 25)):
        states = pd.DataFrame(int(State.BAR), days, [f"S{number}" for number in range(symbols)])
        places = coverage_figure(states).axes[0].get_yticks()
        assert len(places) == labels
        assert len(set(np.diff(places))) == 1
