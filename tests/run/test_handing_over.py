"What a run gives to its pages: the same bars, in memory once."

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pandas as pd

from trading_core.config import TradingConfig
from trading_core.data import Panel, SimulatedBars, load_panel
from trading_core.run.context import Market, RunContext, hand_over, taken_over


def lies_in_a_file(array: np.ndarray) -> bool:
    "Whether the memory of an array is a mapped file's."
    base = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, memoryview) and isinstance(base.obj, mmap.mmap)


def given(panel: Panel, scratch: Path) -> Panel:
    benchmark = pd.Series(1.0, panel.days)
    hand_over(RunContext(TradingConfig(), Market("simulated", True, panel, benchmark)), scratch)
    return taken_over(scratch)["market"].panel  # type: ignore[no-any-return]


def test_pages_look_at_the_runs_bars_where_they_lie(tmp_path: Path) -> None:
    panel = load_panel(SimulatedBars(today="2024-03-08"), ["AXOR", "BTC/USD", "ETH/USD"], "2021-01-04", interval="1h")
    for told in (panel, panel.until("2023-12-31")):
        pages = given(told, tmp_path)
        assert pages.sha256 == told.sha256
        for name, array in pages.arrays.items():
            assert lies_in_a_file(array), name
            assert array.flags.f_contiguous
            assert not array.flags.writeable
            assert array.ctypes.data % 64 == 0
        assert lies_in_a_file(pages.real)
        assert pages.by_day is not None
        assert np.array_equal(pages.by_day["close"], told.arrays["close"], equal_nan=True)
        assert pages.close.equals(told.close)


def test_what_is_handed_over_is_for_this_user_only(tmp_path: Path) -> None:
    few = load_panel(SimulatedBars(today="2024-03-08"), ["AXOR"], "2024-03-04", "2024-03-07")
    assert given(few, tmp_path).sha256 == few.sha256
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}


def test_a_cut_of_a_panel_reads_the_days_of_the_whole_one() -> None:
    panel = load_panel(SimulatedBars(today="2024-03-08"), ["AXOR", "BTC/USD"], "2023-01-04")
    cut, again = panel.until("2023-06-30"), panel.until("2023-06-30").until("2023-03-31")
    assert panel.by_day is not None
    assert cut.by_day is not None
    assert again.by_day is not None
    assert np.shares_memory(cut.by_day["close"], panel.by_day["close"])
    assert np.shares_memory(again.by_day["real"], panel.by_day["real"])
    assert len(again.by_day["real"]) == len(again.days)
    assert list(again.by_day) == ["open", "close", "real"]
    assert not again.by_day["open"].flags.writeable
