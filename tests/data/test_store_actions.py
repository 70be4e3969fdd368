"""Panels of a store carry splits and dividends, the same as bars that are put together by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from random_actions import acted_bars

from trading_core.data import BarStore, HybridDataNormalizer, Panel
from trading_core.data.sources import BadBarsError
from trading_core.data.store_revisions import revised_since
from trading_core.strategies import SmaCross, checked_signals


@pytest.mark.parametrize("seed", range(3))
def test_a_panel_of_the_store_is_the_one_made_of_its_bars(tmp_path: Path, seed: int):
    bars = acted_bars(seed)
    store = BarStore(tmp_path)
    store.add(bars)
    made = store.panel(list(bars))
    assert made.actions is not None
    assert made.sha256 == HybridDataNormalizer().normalize(bars).sha256
    acted = made.days[np.flatnonzero((made.actions["split"] != 1).any(axis=1))]
    for first, last in ((acted[1], acted[-1]), (made.days[40], made.days[80])):  # one begins on the day of a split
        inside = {symbol: own[first:last] for symbol, own in bars.items() if len(own[first:last])}
        window = store.panel(list(inside), first, last)
        assert window.sha256 == HybridDataNormalizer().normalize(inside).sha256
    one = next(iter(bars))
    revised = bars[one].iloc[:30].assign(close=bars[one]["high"].iloc[:30])
    store.add({one: revised})
    bars[one].loc[revised.index] = revised
    assert store.panel(list(bars)).sha256 == HybridDataNormalizer().normalize(bars).sha256
    store.compact()
    assert store.panel(list(bars)).sha256 == HybridDataNormalizer().normalize(bars).sha256
    smooth = BarStore(tmp_path, comparable=True).panel(list(bars))
    assert smooth.actions is None


def test_without_actions_a_store_hands_out_none(tmp_path: Path):
    plain = {s: own[["open", "high", "low", "close", "volume"]] for s, own in acted_bars(1).items()}
    quiet = {s: own.assign(split=1.0, dividend=0.0) for s, own in plain.items()}
    for name, bars in (("plain", plain), ("quiet", quiet)):
        store = BarStore(tmp_path / name)
        store.add(bars)
        assert store.panel(list(bars)).actions is None


def test_a_split_that_comes_later_changes_no_earlier_signal(tmp_path: Path):
    days = pd.bdate_range("2024-01-02", periods=60, tz="UTC")
    close = 100 + 10 * np.sin(np.arange(60) / 5)
    bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), close), days).assign(volume=1e6)
    bars = bars.assign(split=1.0, dividend=0.0)
    bars.loc[days[40] :, ["open", "high", "low", "close"]] /= 4
    bars.loc[days[40], "split"] = 4.0
    store = BarStore(tmp_path)
    store.add({"ACME": bars[: days[39]]})
    before = checked_signals(SmaCross(3, 9), store.panel(["ACME"]))
    store.add({"ACME": bars[days[40] :]})
    after = checked_signals(SmaCross(3, 9), store.panel(["ACME"]))
    pd.testing.assert_frame_equal(after[: days[39]], before, check_freq=False)
    assert after["ACME"].loc[days[40] : days[44]].tolist() == pytest.approx(
        checked_signals(SmaCross(3, 9), _whole(bars, days))["ACME"].loc[days[40] : days[44]].tolist(), nan_ok=True
    )


def _whole(bars: pd.DataFrame, days: pd.DatetimeIndex):
    plain = bars.drop(columns=["split", "dividend"]).copy()
    plain.loc[days[40] :, ["open", "high", "low", "close"]] *= 4
    return HybridDataNormalizer().normalize({"ACME": plain})


def test_a_dividend_larger_than_the_price_is_refused_by_the_store_too(tmp_path: Path):
    bars = acted_bars(2)
    bars["E1"].iloc[5, bars["E1"].columns.get_loc("dividend")] = 1e6
    store = BarStore(tmp_path)
    store.add(bars)
    with pytest.raises(BadBarsError, match=r"E1, .*: a dividend of .* arrived"):
        store.panel(list(bars))


@pytest.mark.parametrize("what", ["split", "dividend"])
def test_a_split_or_a_dividend_that_is_learnt_late_changes_decisions(tmp_path: Path, what: str):
    days = pd.bdate_range("2024-01-02", periods=60, tz="UTC")
    close = np.arange(60) * 0.5 + np.where(np.arange(60) < 30, 200.0, 100.0 if what == "split" else 170.0)
    bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), close), days)
    bars = bars.assign(volume=1e6, split=1.0, dividend=0.0)
    store = BarStore(tmp_path)
    store.add({"ACME": bars})
    before, since = store.panel(["ACME"]), store.known
    store.add(
        {"ACME": bars.assign(**{what: np.where(np.arange(60) == 30, 2.0 if what == "split" else 44.0, bars[what])})}
    )
    revised = revised_since(store, before, since, lambda panel: checked_signals(SmaCross(3, 8), panel))
    assert str(revised) == "1 bar was revised since the last run; 1 would have changed a decision."
    assert revised.matter["first_decision"].tolist() == [days[30]]


@pytest.mark.parametrize("comparable", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_with_all_that_was_revised_the_panel_of_then_is_that_of_now(tmp_path: Path, seed: int, comparable: bool):
    rng, raw = np.random.default_rng(seed), BarStore(tmp_path)
    truth = {
        symbol: own.assign(**{"split": 1.0, "dividend": 0.0} | dict(own.items()))
        for symbol, own in acted_bars(seed).items()
    }
    spoilt = {}
    for symbol, own in truth.items():
        some = rng.random(len(own)) < 0.2
        changed = own.copy()
        changed["dividend"] = 0.0
        changed.loc[some, "split"] = 1.0
        changed.loc[some, "volume"] += 5.0
        there = rng.random(len(own)) > 0.1  # others come late
        there[[0, -1]] = True
        spoilt[symbol] = changed[there]
    raw.add(spoilt)
    odd = {symbol: own.index[1:-1][own["split"].iloc[1:-1] == 1][0] for symbol, own in truth.items() if len(own) > 9}
    raw.add({symbol: truth[symbol].loc[[day]] for symbol, day in odd.items()})
    since, store = raw.known, BarStore(tmp_path, comparable=comparable)
    before = store.panel(list(truth))
    raw.add({symbol: own.drop(odd.get(symbol, [])) for symbol, own in truth.items()})  # and one is taken back
    now, seen = store.panel(list(truth), before.first, before.last), list[Panel]()

    def decide(panel: Panel) -> pd.DataFrame:
        seen.append(panel)
        return panel.close * 0

    revised = revised_since(store, before, since, decide)
    assert {"late", "corrected", "withdrawn"} == set(revised.bars["kind"])
    assert seen[1].days.equals(now.days)
    assert (seen[1].real == now.real).all()
    for name, values in (dict(now.arrays) | dict(now.actions or {})).items():
        made = (dict(seen[1].arrays) | dict(seen[1].actions or {}))[name]
        np.testing.assert_allclose(made, values, rtol=1e-12 if comparable else 0.0, err_msg=name)
