"""Panels of hours and minutes straight from a store: what the normalizer makes of the same bars, and no more read than asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trading_core.data import BarStore, HybridDataNormalizer, SimulatedBars, load_panel
from trading_core.data.sources import BadBarsError, NoBarsError
from trading_core.data.store_files import GROUP_ROWS, BarFile

SOURCE = SimulatedBars(today="2025-09-20 15:20")
SYMBOLS = ["AXOR", "BTC/USD", "DOGE/USD", "MERL", "RIVQ"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> BarStore:
    "Two weeks with a half-day before them, a halt in them, and an unfinished last day."
    return BarStore(tmp_path_factory.mktemp("bars"), SOURCE)


@pytest.mark.parametrize("interval", ["1m", "5m", "15m", "30m", "1h"])
@pytest.mark.parametrize("symbols", [SYMBOLS, ["AXOR", "RIVQ"], ["BTC/USD"], ["MERL", "BTC/USD"]])
def test_it_is_the_normalizers_panel(store: BarStore, interval: str, symbols: list[str]) -> None:
    for start, end in (("2025-09-15", "2025-09-18"), ("2025-09-18", None), ("2025-09-10", "2025-09-10")):
        asked = [s for s in symbols if s != "RIVQ" or start != end]
        panel = store.panel(asked, start, end, interval=interval)
        expected = load_panel(SOURCE, sorted(asked), start, end, interval=interval)
        assert panel.interval == expected.interval == interval
        assert panel.days.equals(expected.days)
        assert (panel.real == expected.real).all()
        assert panel.sha256 == expected.sha256


@pytest.mark.parametrize("seed", range(8))
def test_with_holes_corrections_and_bars_taken_back_it_is_still_the_same(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    interval = str(rng.choice(["1m", "5m", "30m", "1h"]))
    store = BarStore(tmp_path / "bars")
    days = [f"2025-07-{day:02}" for day in (1, 2, 3, 7, 8)]
    for _ in range(3):
        first, last = sorted(rng.choice(days, 2))
        given = {}
        for symbol in ("AXOR", "ETH/USD", "MERL"):
            bars = SOURCE.bars(symbol, first, last, interval)
            bars = bars[rng.random(len(bars)) > 0.3]
            given[symbol] = bars * (1.0 if rng.random() < 0.5 else 1.01)
        store.add(given, first, last, interval) if rng.random() < 0.7 else store.add(given, interval=interval)
    if rng.random() < 0.5:
        store.compact()
    bars = store.bars_many(["AXOR", "ETH/USD", "MERL"], "2025-07-02", "2025-07-07", interval)
    expected = HybridDataNormalizer().normalize(bars, interval=interval) if bars else None
    if expected is not None:
        panel = store.panel(["AXOR", "ETH/USD", "MERL"], "2025-07-02", "2025-07-07", interval=interval, skip_empty=True)
        assert panel.symbols == expected.symbols
        assert panel.sha256 == expected.sha256


def test_prices_over_a_split_are_divided_in_hours_too(tmp_path: Path) -> None:
    bars = SOURCE.bars("MERL", "2025-07-01", "2025-07-09", "1h").assign(split=1.0, dividend=0.0)
    bars.loc["2025-07-07 14:30", "split"] = 4.0
    BarStore(tmp_path / "bars").add({"MERL": bars}, "2025-07-01", "2025-07-09", "1h")
    for comparable in (False, True):
        store = BarStore(tmp_path / "bars", comparable=comparable)
        one = store.bars_many(["MERL"], "2025-07-01", "2025-07-08", "1h")
        panel = store.panel(["MERL"], "2025-07-01", "2025-07-08", interval="1h")
        np.testing.assert_allclose(
            panel.close["MERL"], HybridDataNormalizer().normalize(one, interval="1h").close["MERL"], rtol=1e-12
        )
    assert panel.close["MERL"].iloc[0] == pytest.approx(bars["close"].iloc[0] / 4)


def test_only_what_is_asked_for_is_read(store: BarStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.panel(["BTC/USD", "MERL"], "2025-07-01", "2025-09-18", interval="1m")
    store.compact()
    rows: list[int] = []
    read = BarFile.read

    def counted(self: BarFile, group: int, names: Any) -> Any:
        found = read(self, group, names)
        rows.append(max(map(len, found.values())))
        return found

    monkeypatch.setattr(BarFile, "read", counted)
    panel = store.panel(["MERL"], "2025-09-16", "2025-09-16", interval="1m")
    assert len(panel.days) == 390
    assert len(rows) == 2  # labels and values of one group of rows
    assert max(rows) <= GROUP_ROWS < len(store.bars("MERL", "2025-07-01", "2025-09-18", "1m"))


def test_what_is_not_there_is_refused_or_left_out(store: BarStore) -> None:
    with pytest.raises(NoBarsError, match="no bars of RIVQ from 2025-09-10 to 2025-09-10"):
        store.panel(["MERL", "RIVQ"], "2025-09-10", "2025-09-10", interval="1h")
    left = store.panel(["MERL", "RIVQ"], "2025-09-10", "2025-09-10", interval="1h", skip_empty=True)
    assert left.symbols == ("MERL",)


def test_starts_for_ends_are_found_out_here_as_well(tmp_path: Path) -> None:
    store = BarStore(tmp_path / "bars")
    bars = SOURCE.bars("MERL", "2025-07-07", "2025-07-08", "1h").iloc[:-1]
    store.add({"MERL": bars.set_axis(bars.index - pd.Timedelta(hours=1))}, interval="1h")
    with pytest.raises(BadBarsError, match="the session begins with the start of a bar"):
        store.panel(["MERL"], interval="1h")
