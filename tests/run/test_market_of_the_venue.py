"""`trading venue` serves the market that runs read: the same source, interval, splits and dividends."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trading_core.cli.venue import venue_market
from trading_core.config import load_config
from trading_core.data import SimulatedBars
from trading_core.execution.venue import ManualClock, PanelMarket, PaperVenue
from trading_core.model import money
from trading_core.run.context import load_market

NAMES = ("KODE", "MERL", "BTC/USD")
SOURCE = SimulatedBars(today="2020-09-30", actions=True)


def settings(folder: Path, text: str) -> Path:
    path = folder / "settings.ini"
    path.write_text(f"[market]\n{text}")
    return path


def exported(folder: Path, interval: str) -> None:
    "Files of a market, labelled by the ends of bars."
    (folder / "bars").mkdir()
    for name in NAMES:
        bars = SOURCE.bars(name, "2020-08-24", "2020-09-04", interval)
        table = bars.set_axis(bars.index.strftime("%Y-%m-%d" if interval == "1d" else "%Y-%m-%dT%H:%M:%SZ"))
        table.to_csv(folder / "bars" / f"{name.replace('/', '-')}.csv", index_label="time")


@pytest.mark.parametrize("interval", ["1d", "1h", "30m", "1m"])
def test_a_market_of_files_is_served_in_whatever_bars_runs_read_it(tmp_path: Path, interval: str):
    exported(tmp_path, interval)
    label = "" if interval == "1d" else "label = end\n"
    config = load_config(settings(tmp_path, f"source = csv\npath = bars\ninterval = {interval}\n{label}"))
    market, begin = venue_market(config)
    days = {name: SOURCE.bars(name, "2020-08-24", "2020-09-04") for name in NAMES}
    for name in NAMES:
        own = market.panel.own(name)
        assert np.allclose(own[["open", "high", "low", "close"]], days[name][["open", "high", "low", "close"]])
        assert market.actions.keys() == {"KODE"}
        assert market.actions["KODE"]["split"].tolist() == [4.0]
    assert begin == pd.Timestamp("2020-09-04T13:00", tz="UTC")
    run = load_market(config).panel
    assert run.interval == interval
    assert run.actions is not None
    if interval == "1m":  # and then the price is the minute's
        moment = pd.Timestamp("2020-09-02T15:00", tz="UTC")
        assert market.price("KODE", moment) == money(
            SOURCE.bars("KODE", "2020-09-02", "2020-09-02", "1m").at[moment, "close"]
        )


def test_the_invented_market_has_its_splits_at_the_venue_when_the_settings_say_so(tmp_path: Path):
    plain = "symbols = KODE, AQVA\nstart = 2020-01-01\n"
    assert venue_market(load_config(settings(tmp_path, plain)), "2020-08-28T20:00")[0].actions == {}
    config = load_config(settings(tmp_path, plain + "actions = true\n"))
    market, _ = venue_market(config, "2020-08-28T20:00")
    assert market.actions["KODE"]["split"].to_dict() == {pd.Timestamp("2020-08-31", tz="UTC"): 4.0}
    assert set(market.actions) == {"KODE", "AQVA"}


def test_shares_bought_before_a_split_are_four_times_as_many_after_it_and_worth_the_same(tmp_path: Path):
    config = load_config(settings(tmp_path, "symbols = KODE\nstart = 2020-01-01\nactions = true\n"))
    market, _ = venue_market(config, "2020-08-28T15:00")
    clock = ManualClock("2020-08-28 15:00")
    venue = PaperVenue(market, cash=Decimal(100_000), clock=clock, key="k", secret="s", rate_limit=None)
    venue.submit({"symbol": "KODE", "side": "buy", "type": "market", "time_in_force": "day", "qty": "10"})
    clock.advance("5min")
    venue.step()
    before = venue.held["KODE"].quantity
    clock.advance("2020-08-31 15:00")
    venue.step()
    assert (before, venue.held["KODE"].quantity) == (Decimal(10), Decimal(40))


def test_a_market_that_is_not_invented_goes_by_the_store_and_is_asked_for_no_day_to_come(tmp_path: Path):
    exported(tmp_path, "1d")
    config = load_config(settings(tmp_path, "source = csv\npath = bars\nstore = kept\n"))
    venue_market(config, "2020-09-02T15:00")
    assert (tmp_path / "kept" / "1d").exists()
    assert isinstance(venue_market(config)[0], PanelMarket)
    invented = load_config(settings(tmp_path, "symbols = MERL\nstore = invented\n"))
    venue_market(invented, "2024-03-01T15:00")
    assert not (tmp_path / "invented").exists()  # days that have not come are not kept
