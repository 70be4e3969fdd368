"""A store around Yahoo, over a real socket: a split rewrites what Yahoo says of the past, and nothing in the store."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

os.environ.setdefault("YF_DISABLE_CURL_CFFI", "1")  # before yfinance is imported: plain connections can be rerouted

import numpy as np
import pandas as pd
import pytest

from trading_core.data import BarStore, Panel
from trading_core.data.store_revisions import revised_since
from trading_core.data.yahoo import YahooBars, fetch
from trading_core.data.yahoo_loopback import YahooLoopback
from trading_core.sessions import as_day, sessions

pytestmark = pytest.mark.filterwarnings("ignore::Warning")


def traded(end: str) -> pd.DataFrame:
    "Four shares of one from the first of February on, and a dividend a week before."
    days = sessions("XNYS", "2024-01-02", end)
    close = 400.0 + np.arange(len(days), dtype=float)
    bars = pd.DataFrame({"open": close - 1, "high": close + 1, "low": close - 2, "close": close}, days)
    bars = bars.assign(volume=1000.0, split=1.0, dividend=0.0)
    later = bars.index >= as_day("2024-02-01")
    bars.loc[later, ["open", "high", "low", "close"]] /= 4
    bars.loc[bars.index == as_day("2024-02-01"), "split"] = 4.0
    bars.loc[as_day("2024-01-25"), "dividend"] = 2.0
    return bars


def yahoo(server: YahooLoopback, now: str, raw: bool) -> YahooBars:
    return YahooBars(today=now, fetch=partial(fetch, session=server.session(5.0)), pause=0.0, raw=raw)


def test_a_split_changes_what_is_handed_out_and_revises_nothing(tmp_path: Path) -> None:
    pytest.importorskip("yfinance").set_tz_cache_location(str(tmp_path / "yahoo"))
    folder = tmp_path / "bars"
    with YahooLoopback({"ACME": traded("2024-01-31")}, now="2024-02-01 03:00") as before:
        store = BarStore(folder, yahoo(before, "2024-02-01 03:00", raw=True), recheck=7, comparable=True)
        assert store.bars("ACME", "2024-01-02")["close"].iloc[-1] == 420.0
        moment = store.known
    with YahooLoopback({"ACME": traded("2024-02-09")}, now="2024-02-10 03:00") as after:
        store = BarStore(folder, yahoo(after, "2024-02-10 03:00", raw=True), recheck=7, comparable=True)
        found = store.bars("ACME", "2024-01-02")
        said = yahoo(after, "2024-02-10 03:00", raw=False).bars("ACME", "2024-01-02")
        pd.testing.assert_frame_equal(found, said[found.columns], check_freq=False, rtol=1e-6, check_names=False)
        window = store.bars("ACME", "2024-01-02", "2024-01-05")
        assert window.equals(found.loc[window.index])  # a bar does not depend on the window
        panel = store.panel(["ACME"], "2024-01-02")
        assert panel.close["ACME"].tolist() == found["close"].tolist()
    assert store.revisions(moment).empty
    raw = BarStore(folder).bars("ACME")
    assert raw.loc["2024-01-31":"2024-02-01", "close"].tolist() == [420.0, 421.0 / 4]
    assert raw["split"].max() == 4.0
    assert raw["dividend"].max() == 2.0
    then = BarStore(folder, comparable=True).bars("ACME", as_of_known=moment)
    assert then["close"].iloc[-1] == 420.0  # nobody knew of the split


def test_a_correction_before_a_split_is_tried_at_the_prices_of_then(tmp_path: Path) -> None:
    raw = BarStore(tmp_path / "bars")
    raw.add({"ACME": traded("2024-01-31")})
    since = raw.known
    before = BarStore(raw.folder, comparable=True).panel(["ACME"], as_of_known=since)
    raw.add({"ACME": traded("2024-02-09").loc["2024-02-01":]})
    wrong = traded("2024-01-31").loc["2024-01-12":"2024-01-12"]
    raw.add({"ACME": wrong.assign(close=wrong["close"] + 1)})
    store = BarStore(raw.folder, comparable=True)
    seen: list[float] = []

    def decide(panel: Panel) -> pd.DataFrame:
        seen.append(float(panel.close["ACME"].max()))
        return panel.close.ge(410.0).astype(float)

    revised = revised_since(store, before, since, decide)
    assert str(revised) == "1 bar was revised since the last run; none would have changed a decision."
    assert seen == [420.0, 420.0]
