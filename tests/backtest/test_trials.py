"""Every backtest counts once, costs nothing to count, and never fails because of it."""

from __future__ import annotations

import importlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trading_core.backtest import backtest, engines, sweep, sweeping
from trading_core.backtest import trials as tr
from trading_core.backtest.holdout import SealError, _seen, holdout_here, holdout_of
from trading_core.backtest.judged import check_engines, judge
from trading_core.data import Panel, SimulatedBars, load_panel
from trading_core.portfolio import Costs
from trading_core.strategies import (
    CryptoReversal,
    EquityReversal,
    InverseVolatility,
    Momentum,
    SmaCross,
    Strategy,
    with_sizer,
)  # fmt: skip

market = SimulatedBars(seed=3)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return load_panel(market, market.symbols()[:4], "2021-01-01", "2022-12-30")


@pytest.fixture(autouse=True)
def recorder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tr.Recorder]:
    "A recorder of our own, in a folder that is no project."
    mine = tr.Recorder(delay=600)
    monkeypatch.setattr(tr, "RECORDER", mine)
    monkeypatch.setattr(engines, "RECORDER", mine)
    monkeypatch.setattr(sweeping, "RECORDER", mine)
    monkeypatch.delenv("TRADING_TRIALS", raising=False)
    monkeypatch.chdir(tmp_path)
    _seen.clear()
    yield mine
    if mine.timer is not None:
        mine.timer.cancel()


def project(tmp_path: Path, text: str = "[market]\nsource = simulated\n") -> Path:
    (tmp_path / "settings.ini").write_text(text)
    _seen.clear()
    return tmp_path / "outputs" / "ledger.db"


def test_the_same_backtest_counts_once_and_another_one_counts_again(panel: Panel) -> None:
    for _ in range(3):
        backtest(SmaCross(fast=3, slow=9), panel)
    backtest(SmaCross(fast=3, slow=9), panel, engine="backtrader")
    backtest(SmaCross(fast=3, slow=9), panel, cash=5_000)
    assert tr.of(SmaCross).count == 1
    backtest(SmaCross(fast=3, slow=8), panel)
    backtest(SmaCross(fast=3, slow=9), panel, costs=Costs(rate=0.01))
    backtest(SmaCross(fast=3, slow=9), panel, end="2022-06-30")
    backtest(SmaCross(fast=3, slow=9), panel.select(panel.symbols[:2]))
    assert tr.of(SmaCross).count == 5
    assert tr.of(Momentum).count == 1  # this one, if nothing is known of it
    assert len(tr.table(Momentum)) == 0


OWN = """
from dataclasses import dataclass
from trading_core.strategies import Strategy

@dataclass(frozen=True)
class Rising(Strategy):
    days: int = 3

    def signals(self, panel):
        return (panel.close > panel.close.shift({shift})).astype(float)
"""


def test_a_rule_that_is_rewritten_under_its_name_is_another_try_and_a_comment_is_none(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for text in ("self.days", "self.days + 1", "self.days + 1", "self.days + 1,  # a comment\n", "2 * self.days"):
        (tmp_path / "own_rising.py").write_text(OWN.format(shift=text))
        sys.modules.pop("own_rising", None)
        importlib.invalidate_caches()
        with suppress(FileNotFoundError):
            shutil.rmtree(tmp_path / "__pycache__")
        kind = importlib.import_module("own_rising").Rising
        for _ in range(2):
            backtest(kind(), panel)
        tr.RECORDER.flush()
    assert tr.of(kind).count == 3
    sweep(kind, {"days": [3]}, panel, progress=False)
    assert tr.of(kind).count == 3
    sys.modules.pop("own_rising")


def test_data_that_grow_by_a_day_make_no_other_try_of_a_run_and_one_of_a_backtest(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_reading.py").write_text(OWN.format(shift="self.days") + "\nDATA = open('grown.csv').read()\n")
    for source, tries in (("run", 1), ("backtest", 4)):
        for night in range(3):
            (tmp_path / "grown.csv").write_text(f"{source}\n" * night)
            kind = importlib.import_module("own_reading").Rising
            with tr.recorded_as(source):
                backtest(kind(), panel)
            tr.RECORDER.flush()
        assert tr.of(kind).count == tries
    sys.modules.pop("own_reading")


def test_a_combination_of_a_sweep_and_the_same_backtest_alone_are_one_try(panel: Panel) -> None:
    sweep(Momentum, {"lookback": [60, 120], "skip": [0, 5]}, panel, progress=False)
    backtest(Momentum(lookback=60, skip=5), panel)
    assert tr.of(Momentum).count == 4
    sweep(Momentum, {"lookback": [60, 120]}, panel, progress=False, sizer=InverseVolatility())
    backtest(with_sizer(Momentum(lookback=120), InverseVolatility()), panel)
    assert tr.of(Momentum).count == 6


class Plain(Strategy):
    def __init__(self, days: int = 3, name: str = "") -> None:
        self.days, self.window = days, 2 * days

    def signals(self, panel: Panel) -> pd.DataFrame:
        return (panel.close > panel.close.shift(self.window)).astype(float)


def test_parameters_of_a_class_that_is_no_dataclass_tell_its_tries_apart(panel: Panel) -> None:
    for days in (3, 4, 4, 5):
        backtest(Plain(days), panel)
    assert Plain(4).parameters == {"days": 4}
    assert tr.of(Plain).count == 3


def test_in_a_folder_that_is_no_project_no_file_is_made(panel: Panel, tmp_path: Path) -> None:
    backtest(SmaCross(fast=3, slow=9), panel)
    assert tr.of(SmaCross).count == 1
    assert list(tmp_path.iterdir()) == []


def test_in_a_project_tries_are_in_the_ledger_and_other_processes_see_them(panel: Panel, tmp_path: Path) -> None:
    book = project(tmp_path)
    (tmp_path / "nbs").mkdir()
    code = (
        "import os; os.chdir('nbs')\n"
        "from trading_core.backtest import backtest\nfrom trading_core.data import SimulatedBars, load_panel\n"
        "from trading_core.strategies import SmaCross\nm = SimulatedBars(seed=3)\n"
        "p = load_panel(m, m.symbols()[:4], '2021-01-01', '2022-12-30')\n"
        "for fast in (3, 4, 5): backtest(SmaCross(fast=fast, slow=20), p)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TRADING_TRIALS"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=tmp_path, env=environment)
    with sqlite3.connect(book) as raw:
        assert raw.execute("SELECT count(*), min(source) FROM trials").fetchone() == (3, "backtest")
        assert raw.execute("SELECT count(*) FROM accounts").fetchone() == (0,)
    backtest(SmaCross(fast=4, slow=20), panel)
    backtest(SmaCross(fast=6, slow=20), panel)
    assert tr.of(SmaCross).count == 4


def test_ratios_are_of_one_row_and_their_variance_is_that_of_all_tries(panel: Panel) -> None:
    results = [backtest(SmaCross(fast=3, slow=slow), panel) for slow in range(10, 32)]
    ratios = np.array([result.metrics["sharpe"] for result in results])
    found = tr.of(SmaCross, annual_days=results[0].annual_days)
    assert found.count == 22
    assert found.variance == pytest.approx(ratios.var(ddof=1) / results[0].annual_days)
    assert np.sort(tr.yearly(tr.table(SmaCross))) == pytest.approx(np.sort(ratios))


def test_with_few_tries_chance_s_variance_is_taken(panel: Panel) -> None:
    for slow in range(10, 15):
        backtest(SmaCross(fast=3, slow=slow), panel)
    assert tr.of(SmaCross) == tr.trials_of(tr.table(SmaCross))
    assert tr.of(SmaCross).variance is None


def test_a_sweep_hands_over_all_its_tries_at_once_and_shares_them_with_single_ones(panel: Panel) -> None:
    backtest(SmaCross(fast=3, slow=20), panel)
    began = time.perf_counter()
    rows = [(SmaCross(fast=3, slow=slow), 0.01) for slow in range(10, 1010)]
    made = time.perf_counter()
    tr.record_trials(SmaCross, rows, panel=panel, first=panel.first, last=panel.last, annual_days=252)
    assert time.perf_counter() - made < max(0.05, made - began)
    assert tr.of(SmaCross).count == 1000
    tr.record_trials(SmaCross, rows, panel=panel, first=panel.first, last=panel.last, annual_days=252)
    assert tr.of(SmaCross).count == 1000


def test_a_try_without_a_move_counts_and_has_no_ratio(panel: Panel) -> None:
    tr.record_trials(SmaCross, [({"a": 1}, np.nan)], panel=panel, first=panel.first, last=panel.last, annual_days=252)
    table = tr.table(SmaCross)
    assert (len(table), int(table["sharpe"].isna().sum()), tr.of(SmaCross).count) == (1, 1, 1)


def test_very_many_tries_share_rows_and_keep_their_count_and_variance(panel: Panel) -> None:
    ratios = np.random.default_rng(1).normal(0, 0.05, 30_000)
    rows = [({"n": n}, ratio) for n, ratio in enumerate(ratios)]
    tr.record_trials(SmaCross, rows, panel=panel, first=panel.first, last=panel.last, annual_days=252)
    assert len(tr.table(SmaCross)) <= 1001
    found = tr.of(SmaCross)
    assert found.count == 30_000
    assert found.variance == pytest.approx(ratios.var(), rel=0.01)


def test_two_strategies_together_are_a_try_of_each(panel: Panel) -> None:
    both = {"a": (EquityReversal(), 0.5), "b": (CryptoReversal(), 0.5)}
    backtest(both, panel)
    backtest(EquityReversal(), panel)
    assert (tr.of(EquityReversal).count, tr.of(CryptoReversal).count, tr.of(both).count) == (2, 1, 2)


def test_a_book_that_cannot_be_written_stops_nobody_and_is_tried_again(
    panel: Panel, tmp_path: Path, recorder: tr.Recorder
) -> None:
    book = project(tmp_path)
    book.parent.mkdir()
    book.write_text("this is no database, " * 100)
    backtest(SmaCross(fast=3, slow=9), panel)
    assert tr.of(SmaCross).count == 1  # known to this process all the same
    assert "cannot be read as a ledger" in recorder.trouble
    assert book.read_text().startswith("this is no database")
    book.unlink()
    backtest(SmaCross(fast=3, slow=10), panel)
    recorder.flush()
    assert recorder.trouble == ""
    with sqlite3.connect(book) as raw:
        assert raw.execute("SELECT count(*) FROM trials").fetchone() == (2,)


def test_settings_with_a_slip_stop_no_backtest(panel: Panel, tmp_path: Path, recorder: tr.Recorder) -> None:
    project(tmp_path, "[markt]\nsource = csv\n")
    assert len(backtest(SmaCross(fast=3, slow=9), panel).equity) > 400
    recorder.flush()
    assert recorder.trouble


def test_a_run_repeats_itself_every_night_and_counts_once(panel: Panel) -> None:
    with tr.recorded_as("run"):
        for last in ("2022-10-03", "2022-10-04", "2022-10-05"):
            backtest(SmaCross(fast=3, slow=9), panel.until(last))
    assert tr.of(SmaCross).count == 1


def test_tries_on_postgresql_are_in_the_server_s_ledger(
    panel: Panel, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    with psycopg.connect(server, autocommit=True) as line:
        line.execute("CREATE SCHEMA IF NOT EXISTS tries")
    monkeypatch.setenv("TRADING_TRIALS", f"{server}?options=-csearch_path%3Dtries")
    backtest(SmaCross(fast=3, slow=9), panel)
    backtest(SmaCross(fast=3, slow=10), panel)
    assert tr.of(SmaCross).count == 2
    tr.RECORDER.kept.clear()
    assert tr.of(SmaCross).count == 2


def test_handing_over_costs_less_than_a_tenth_of_a_millisecond(panel: Panel, recorder: tr.Recorder) -> None:
    result = backtest(SmaCross(fast=3, slow=9), panel)
    where = tr.Market(panel, panel.first, panel.last, Costs())
    best = min(_taken(recorder, result, where) for _ in range(5))
    assert best < 1e-4


def _taken(recorder: tr.Recorder, result: Any, where: tr.Market) -> float:
    began = time.thread_time()
    for _ in range(200):
        recorder.add(SmaCross, (SmaCross,), result.equity, where, 252, "fast")
    taken = (time.thread_time() - began) / 200
    recorder.waiting.clear()
    return taken


def test_importing_the_backtest_loads_no_database() -> None:
    code = "import sys; from trading_core.backtest import backtest; assert not {'sqlalchemy', 'numba', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# Sealed days ----------------------------------------------------------------------------------------------------------


def test_a_backtest_in_a_project_ends_before_its_sealed_days_and_says_so(panel: Panel, tmp_path: Path) -> None:
    project(tmp_path, "[research]\nholdout = 2022-07-01..\n")
    result = backtest(SmaCross(fast=3, slow=9), panel)
    assert result.setup["end"] == "2022-06-30"
    sealed = holdout_here()
    assert sealed is not None
    assert tr.looks(sealed) == 0
    whole = backtest(SmaCross(fast=3, slow=9), panel, holdout=True)
    assert whole.setup["end"] == "2022-12-30"
    assert tr.looks(sealed) == 1
    pd.testing.assert_series_equal(whole.equity[: result.equity.index[-1]], result.equity)


@pytest.mark.parametrize(
    "asked", [{"end": "2022-09-30"}, {"start": "2022-08-01"}, {"start": "2022-08-01", "end": "2022-09-30"}]
)
def test_days_that_are_asked_for_by_name_are_refused_and_not_moved(
    panel: Panel, tmp_path: Path, asked: dict[str, str]
) -> None:
    project(tmp_path, "[research]\nholdout = 2022-07-01..\n")
    with pytest.raises(SealError, match=r"The days 2022-07-01\.\. are sealed"):
        backtest(SmaCross(fast=3, slow=9), panel, **asked)  # type: ignore[arg-type]


def test_days_after_the_seal_are_open_again(panel: Panel, tmp_path: Path) -> None:
    project(tmp_path, "[research]\nholdout = 2021-03-01..2021-06-30\n")
    assert backtest(SmaCross(fast=3, slow=9), panel, start="2021-07-01").setup["end"] == "2022-12-30"
    assert backtest(SmaCross(fast=3, slow=9), panel).setup["end"] == "2021-02-28"


@pytest.mark.parametrize("text", ["2022", "2022-13-01..", "2022-02-01..2022-01-01", "12 months", "..2022-01-01"])
def test_sealed_days_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(SealError, match="needs days such as"):
        holdout_of(text)


# Second opinions ------------------------------------------------------------------------------------------------------


def test_both_engines_are_asked_on_the_same_run_and_that_is_no_further_try(panel: Panel) -> None:
    given: dict[str, Any] = {"costs": Costs(rate=0.002), "start": "2021-06-01"}
    result = backtest(SmaCross(fast=3, slow=9), panel, **given)
    agreed = check_engines(SmaCross(fast=3, slow=9), panel, result, costs=Costs(rate=0.002))
    assert agreed is not None
    assert (agreed.ok, agreed.whole) == (True, True)
    assert f"{len(result.fills):,} fills" in str(agreed)
    assert tr.of(SmaCross).count == 1


def test_a_difference_is_told_in_words(panel: Panel) -> None:
    result = backtest(SmaCross(fast=3, slow=9), panel)
    agreed = check_engines(SmaCross(fast=3, slow=9), panel, result, costs=Costs(rate=0.002))
    assert agreed is not None
    assert not agreed.ok
    assert "differ: on 2021-" in str(agreed)


def test_the_best_of_many_is_judged_by_all_of_them(panel: Panel) -> None:
    results = [backtest(SmaCross(fast=3, slow=slow), panel) for slow in range(10, 32)]
    best = max(results, key=lambda result: result.metrics["sharpe"])
    alone, judged = judge(best, Momentum), judge(best, SmaCross)
    assert (alone.honesty.trials, judged.honesty.trials, judged.better) == (1, 22, 1)
    assert judged.honesty.deflated < alone.honesty.deflated
