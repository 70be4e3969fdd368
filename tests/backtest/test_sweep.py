"Rows of a sweep are those of as many backtests, whatever the strategy, the panel, the terms and the threads."

import pickle
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trading_core.backtest import backtest, sweep
from trading_core.backtest.cores import Bar, ThreadsError, free_cores, running_now, work_off
from trading_core.backtest.grid import Grid, GridError, LargeGridError
from trading_core.backtest.holdout import SealError  # noqa: F401  (the module must exist: sweeps respect it)
from trading_core.backtest.shared_work import Shared, watched
from trading_core.backtest.sweep_table import NoCombinationError, NothingRankedError, SweepTable
from trading_core.backtest.terms import NotAStrategyError, PeriodError, SharesError
from trading_core.data import Panel
from trading_core.errors import UnknownNameError
from trading_core.model import Asset, ExitRules
from trading_core.portfolio import Costs, RiskLimits
from trading_core.strategies import (
    EqualWeight,
    InverseVolatility,
    RiskPerTrade,
    SmaCross,
    Strategy,
    check_causal,
    with_sizer,
)
from trading_core.strategies.indicators import on_own_bars


def market(
    seed: int, n_days: int = 260, symbols: tuple[str, ...] = ("AAA", "BBB", "CCC/USD"), gaps: float = 0.05
) -> Panel:
    "Random bars with gaps, a late listing and an early end."
    rng = np.random.default_rng(seed)
    days = pd.date_range("2021-01-04", periods=n_days, freq="D", tz="UTC", unit="ns")
    shape = n_days, len(symbols)
    close = 50 * np.exp(np.cumsum(rng.normal(0.0005, 0.03, shape), axis=0))
    opened = close * np.exp(rng.normal(0, 0.01, shape))
    crypto = np.array(["/" in symbol for symbol in symbols])
    real = (rng.random(shape) > gaps) & (crypto | (np.asarray(days.day_of_week) < 5)[:, None])
    if len(symbols) > 1:
        real[:40, 0], real[200:, 1] = False, False
    real[0, -1] = True
    held = pd.DataFrame(np.where(real, close, np.nan)).ffill().to_numpy()
    opened = np.where(real, opened, held)
    arrays = {"open": opened, "high": np.maximum(opened, held), "low": np.minimum(opened, held), "close": held}
    arrays["volume"] = np.where(real, 1e6, 0.0)
    arrays = {name: np.asfortranarray(array) for name, array in arrays.items()}
    return Panel(days, symbols, {s: Asset.of(s) for s in symbols}, arrays, np.asfortranarray(real))


def single(seed: int, n_days: int = 400, symbol: str = "AAA/USD") -> Panel:
    "One asset with a bar on every day."
    return market(seed, n_days, (symbol,), gaps=-1.0)


@dataclass(frozen=True)
class Wobble(Strategy):
    "Strengths that are random, but the same for the same parameters; some parameters matter for exits only."

    seed: int = 0
    often: float = 0.3
    stop: float | None = None
    take: float | None = None
    trail: float | None = None
    clock: int | None = None

    @property
    def exits(self) -> ExitRules:
        return ExitRules(stop_loss=self.stop, take_profit=self.take, trailing_stop=self.trail, time_stop=self.clock)

    def signals(self, panel: Panel) -> pd.DataFrame:
        if self.seed == 13:
            raise ZeroDivisionError("an unlucky number")
        rng = np.random.default_rng(self.seed)
        values = np.where(rng.random(panel.shape) < self.often, rng.uniform(-1, 1, panel.shape), np.nan)
        if self.seed == 14:
            values[0, -1] = 1.5
        return pd.DataFrame(np.where(panel.real, values, np.nan), panel.days, list(panel.symbols))


def agree(table: SweepTable, kind: type[Strategy], panel: Panel, sizer=None, **terms) -> None:
    "Each row is that of a backtest of its own."
    assert len(table)
    for row in table.index:
        strategy = kind(**table.parameters_of(row))
        expected = backtest(strategy if sizer is None else with_sizer(strategy, sizer), panel, **terms).metrics
        assert table.metrics == list(expected.index)
        for name, value in expected.items():
            found = table.at[row, name]
            if isinstance(value, pd.Timestamp) or pd.isna(value):
                assert found == value or (pd.isna(found) and pd.isna(value)), (row, name, found, value)
            else:
                assert found == pytest.approx(value, rel=1e-9, abs=1e-12), (row, name)


@pytest.mark.parametrize("seed", range(4))
def test_every_row_is_that_of_a_backtest_with_gaps_exits_and_several_symbols(seed):
    panel = market(seed)
    grid = {
        "seed": [seed, seed + 20],
        "stop": [None, 0.04],
        "take": [None, 0.1],
        "trail": [0.05, None],
        "clock": [None, 4],
    }
    terms = {"costs": Costs(rate=0.001, per_share=0.005, minimum=1, slippage_bps=5), "start": panel.days[30]}
    agree(sweep(Wobble, grid, panel, **terms), Wobble, panel, **terms)


@pytest.mark.parametrize(
    "sizer", [EqualWeight(0.9, 0.3), InverseVolatility(), RiskPerTrade(0.01)], ids=["equal", "volatility", "risk"]
)
def test_limits_resizing_and_sizers_are_as_in_a_backtest(sizer):
    panel = market(7)
    terms = {
        "limits": RiskLimits(max_weight=0.25, max_positions=2, cash_buffer=0.1),
        "resize": 0.1,
        "end": panel.days[240],
    }
    grid = {"seed": [1, 2], "stop": [0.03, 0.08], "often": [0.2, 0.8]}
    agree(sweep(Wobble, grid, panel, sizer=sizer, **terms), Wobble, panel, sizer, **terms)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("symbol", ["AAA/USD", "AAA"])
def test_lines_on_one_asset_give_the_rows_of_backtests(seed, symbol):
    panel = single(seed, symbol=symbol) if "/" in symbol else weekdays(seed, symbol)
    terms = {"costs": Costs(rate=0.002, minimum=0.5, slippage_bps=10), "cash": 1_000.0, "start": panel.days[11]}
    agree(sweep(SmaCross, {"fast": [2, 5, 9], "slow": [10, 40]}, panel, **terms), SmaCross, panel, **terms)


def weekdays(seed: int, symbol: str) -> Panel:
    "One share without its weekends."
    whole = market(seed, 500, (symbol,), gaps=-1.0)
    open_days = np.flatnonzero(whole.real[:, 0])
    arrays = {name: np.asfortranarray(array[open_days]) for name, array in whole.arrays.items()}
    return Panel(whole.days[open_days], whole.symbols, whole.assets, arrays, np.asfortranarray(whole.real[open_days]))


@pytest.mark.parametrize("seed", range(3))
def test_lines_on_many_assets_with_gaps_give_the_rows_of_backtests(seed):
    panel = market(seed, symbols=("AAA", "BBB", "CCC", "DDD/USD", "EEE/USD"))
    for terms in ({}, {"resize": 0.05}, {"limits": RiskLimits(max_weight=0.3, max_daily_loss=0.05)}):
        agree(sweep(SmaCross, {"fast": [2, 5], "slow": [9, 30]}, panel, **terms), SmaCross, panel, **terms)


def test_an_account_too_small_for_a_lot_and_one_that_never_trades():
    panel = weekdays(3, "AAA")
    agree(sweep(SmaCross, {"fast": [2], "slow": [10, 390]}, panel, cash=60.0), SmaCross, panel, cash=60.0)
    agree(sweep(SmaCross, {"fast": [2], "slow": [10]}, panel, cash=5.0), SmaCross, panel, cash=5.0)


@pytest.mark.parametrize("days", [1, 2, 3, 17])
def test_panels_of_a_few_days(days):
    panel = single(2, days)
    agree(sweep(SmaCross, {"fast": [1], "slow": [2, 3]}, panel), SmaCross, panel)
    agree(sweep(Wobble, {"seed": [1, 2]}, panel), Wobble, panel)


@pytest.mark.parametrize(("kind", "grid"), [
    (SmaCross, {"fast": range(2, 30), "slow": range(20, 60, 3)}),
    (Wobble, {"seed": range(6), "stop": [None, 0.02, 0.05], "clock": [None, 3]}),
], ids=["lines", "signals"])  # fmt: skip
def test_rows_are_identical_whatever_the_threads(kind, grid):
    panel = single(1, 2_000) if kind is SmaCross else market(1)
    one, three = (sweep(kind, grid, panel, threads=threads, equity=True) for threads in (1, 3))
    pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(three), check_exact=True)
    pd.testing.assert_frame_equal(one.equity, three.equity, check_exact=True)
    pd.testing.assert_frame_equal(one.failures, three.failures)


def test_equity_on_request_is_that_of_backtests():
    for kind, grid, panel in (
        (SmaCross, {"fast": [3, 50], "slow": [10, 40]}, single(4)),
        (Wobble, {"seed": [3, 13]}, market(4)),
    ):
        table = sweep(kind, grid, panel, equity=True)
        assert list(table.equity.columns) == list(table.index)
        for row in table.index:
            alone = backtest(kind(**table.parameters_of(row)), panel).equity
            assert table.equity[row].to_numpy() == pytest.approx(alone.to_numpy(), rel=1e-11)
    assert sweep(Wobble, {"seed": [1]}, market(4)).equity is None


def test_combinations_that_fail_are_listed_and_the_others_go_on():
    table = sweep(Wobble, {"seed": [12, 13, 14], "clock": [3, 0]}, market(0))
    assert table[["seed", "clock"]].to_numpy().tolist() == [[12, 3]]
    problems = table.failures.set_index(["seed", "clock"])["problem"]
    assert problems[13, 3] == "ZeroDivisionError: an unlucky number"
    assert "1.5" in problems[14, 3]
    assert "a strength is a number from -1 to 1" in problems[14, 3]
    assert len(problems) == 5


def interrupted() -> SystemError:
    "What compiled code makes of Ctrl-C."
    error = SystemError("CPUDispatcher(<function>) returned a result with an exception set")
    error.__cause__ = KeyboardInterrupt()
    return error


@dataclass(frozen=True)
class StoppedInSignals(Strategy):
    "Somebody presses Ctrl-C while it is asked."

    fast: int = 1

    def signals(self, panel: Panel) -> pd.DataFrame:
        raise interrupted()


@dataclass(frozen=True)
class StoppedWhenMade(StoppedInSignals):
    def __post_init__(self) -> None:
        if self.fast > 1:
            raise interrupted()


class StoppedInLines(SmaCross):
    @classmethod
    def lines(cls, strategies, panel):
        raise interrupted()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", [StoppedInSignals, StoppedWhenMade, StoppedInLines])
def test_ctrl_c_ends_a_sweep_also_where_compiled_code_makes_another_error_of_it(kind: type[Strategy], threads: int):
    grid = {"fast": [2, 3]} | ({"slow": [5, 9]} if kind is StoppedInLines else {})
    with pytest.raises(KeyboardInterrupt):
        sweep(kind, grid, market(1, 60), threads=threads, progress=False)
    with pytest.raises(KeyboardInterrupt):
        check_causal(StoppedInSignals(), market(1, 60))
    with pytest.raises(KeyboardInterrupt):
        backtest(StoppedInSignals(), market(1, 60))


def test_a_grid_of_which_nothing_can_be_run_is_an_error_with_the_first_reason():
    with pytest.raises(NoCombinationError) as refused:
        sweep(SmaCross, {"fast": [60], "slow": [50, 20]}, single(0))
    assert str(refused.value) == (
        "None of the 2 combinations of SmaCross can be run. "
        "The first one says: SmaCross.fast needs fewer bars than slow, which is 50, but got 60."
    )
    assert refused.value.exit_code == 2
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def test_a_table_in_which_no_row_has_the_figure_has_no_best_one():
    table = sweep(SmaCross, {"fast": [5, 8], "slow": [20]}, single(0))
    table["sharpe"] = np.nan
    with pytest.raises(NothingRankedError, match="None of the 2 combinations has a sharpe"):
        table.best()


def test_a_strategy_that_always_raises_is_an_error_too():
    with pytest.raises(NoCombinationError, match=r"None of the 3 combinations of Wobble.*an unlucky number"):
        sweep(Wobble, {"seed": [13], "clock": [3, 4, 5]}, market(0))


def test_signals_are_computed_once_for_what_they_read(monkeypatch):
    asked = []
    monkeypatch.setattr(Wobble, "signals", _counted(Wobble.signals, asked))
    sweep(Wobble, {"stop": np.linspace(0.01, 0.3, 40), "seed": [1, 2]}, market(1), threads=1)
    assert asked[1:].count(1) == 1
    assert asked[1:].count(2) == 1


def _counted(signals, asked):
    def counting(self, panel):
        asked.append(self.seed)
        return signals(self, panel)

    return counting


def test_whoever_reads_all_parameters_at_once_has_read_all():
    @dataclass(frozen=True)
    class Nosy(Wobble):
        def signals(self, panel):
            return (
                Wobble(**{**vars(self)}).signals(panel)
                if "_read" not in vars(self)
                else Wobble(self.seed).signals(panel)
            )

    twin, read = watched(Nosy(seed=3))
    twin.signals(market(0))
    assert read == {"seed", "often", "stop", "take", "trail", "clock"}
    shared = Shared(market(0))
    for stop in (0.1, 0.2):
        shared.opinions_of(Wobble(stop=stop))
    assert (shared.made, shared.collected) == (1, 1)


@pytest.mark.parametrize(("grid", "error", "words"), [
    ({"fsat": [1]}, UnknownNameError, "Did you mean 'fast'"),
    ({"fast": 3}, GridError, "fast has no list of values: 3"),
    ({"fast": "12"}, GridError, "fast has no list of values"),
    ({"fast": []}, GridError, "fast has no value at all"),
    ({}, GridError, "A grid maps each parameter"),
    ([("fast", [1])], GridError, "A grid maps each parameter"),
], ids=["misspelt", "number", "text", "nothing", "empty", "list"])  # fmt: skip
def test_what_is_no_grid_is_refused_with_a_cure(grid, error, words):
    with pytest.raises(error, match=words):
        sweep(SmaCross, grid, single(0))


def test_terms_that_cannot_be_are_refused_before_anything_runs():
    panel = single(0)
    for terms, error in (
        ({"threads": 0}, ThreadsError), ({"share": 2}, SharesError), ({"start": "2030-01-01"}, PeriodError),
    ):  # fmt: skip
        with pytest.raises(error):
            sweep(SmaCross, {"fast": [2]}, panel, **terms)
    with pytest.raises(NotAStrategyError, match="a sweep needs the class itself"):
        sweep(SmaCross(), {"fast": [2]}, panel)


def test_more_than_ten_million_combinations_tell_their_number_and_time_first(monkeypatch):
    panel = single(0, 60)
    grid = {"fast": range(1, 4_001), "slow": range(4_001, 8_001)}
    with pytest.raises(
        LargeGridError, match=r"16,000,000 combinations, which will take about .* say that it is meant with yes=True"
    ):
        sweep(SmaCross, grid, panel)
    monkeypatch.setattr("trading_core.backtest.sweeping.MANY", 3)
    assert len(sweep(SmaCross, {"fast": [1, 2], "slow": [3, 4]}, panel, yes=True)) == 4


def test_best_row_and_best_parameters_make_the_same_strategy():
    table = sweep(Wobble, {"seed": [1, 2, 3], "stop": [None, 0.05]}, market(2))
    best = table.best("total_return")
    assert best["total_return"] == table["total_return"].max()
    assert table.best_parameters("total_return") == {"seed": best["seed"], "stop": best["stop"]}
    assert table.best("fees")["fees"] == table["fees"].min()
    assert isinstance(table[table["seed"] == 1], SweepTable)
    assert table[table["seed"] == 1].parameters == [
        "seed",
        "stop",
    ]
    with pytest.raises(UnknownNameError, match="Did you mean 'sharpe'"):
        table.best("sharp")


def test_figures_can_be_drawn_of_any_shape_of_grid():
    panel = market(3)
    for grid in (
        {"seed": [1]},
        {"seed": [1, 2, 3]},
        {"seed": [1, 2], "stop": [None, 0.05]},
        {"seed": [1, 2], "stop": [None, 0.05], "clock": [2, 3]},
    ):
        table = sweep(Wobble, grid, panel)
        assert table.heat_map().axes
        assert table.parallel_coordinates("calmar").axes
        for figure in (table.heat_map, table.parallel_coordinates):
            with pytest.raises(UnknownNameError, match="Did you mean 'sharpe'"):
                figure("sharp")
    assert sweep(SmaCross, {"fast": [2], "slow": [300]}, panel).heat_map().texts[0].get_text() == "No sharpe anywhere"


def test_free_cores_are_what_the_machine_says():
    assert running_now("0.52 0.58 0.59 12/1021 4711") == 12
    assert running_now("nonsense") == 1
    assert free_cores() >= 1


def test_an_error_in_one_thread_ends_the_work_and_is_raised_here():
    done = []
    pieces = [lambda: 1, lambda: 1 // 0, *([lambda: done.append(1) or 1] * 50)]
    with pytest.raises(ZeroDivisionError):
        work_off(pieces, 2)
    assert len(done) <= 50


def test_no_bar_where_nobody_looks(capsys):
    with Bar(10, shown=True) as bar:
        bar.began -= 60
        bar(5)
    assert bar.bar is None
    assert bar.done == 5
    assert capsys.readouterr().err == ""


def test_combinations_are_numbered_like_nested_loops():
    grid = Grid.of(SmaCross, {"fast": [1, 2], "slow": [10, 20, 30]})
    assert [tuple(grid.combination(number).values()) for number in range(6)] == [
        (1, 10), (1, 20), (1, 30), (2, 10), (2, 20), (2, 30),
    ]  # fmt: skip


def _rule(self: Any, panel: Panel) -> pd.DataFrame:
    return (panel.close > panel.close.rolling(self.window).mean()).astype(float)


@dataclass(frozen=True)
class Prepared(Strategy):
    "Makes its window of a parameter when it begins; its signals never ask for the parameter."

    days: int = 5
    signals = _rule

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", 2 * self.days)


@dataclass(frozen=True)
class Remembered(Strategy):
    days: int = 5
    signals = _rule

    def __post_init__(self) -> None:
        if self.window < 2:
            raise ValueError("too short")

    @cached_property
    def window(self) -> int:
        return 2 * self.days


@dataclass(frozen=True)
class Enclosed(Strategy):
    days: int = 5

    def __post_init__(self) -> None:
        days = self.days
        object.__setattr__(self, "rule", lambda close: close > close.rolling(2 * days).mean())

    def signals(self, panel: Panel) -> pd.DataFrame:
        return self.rule(panel.close).astype(float)  # type: ignore[attr-defined, no-any-return]


class Ordinary(Strategy):
    "No dataclass at all."

    signals = _rule

    def __init__(self, days: int = 5) -> None:
        self.window = 2 * days


class Slotted(Strategy):
    __slots__ = ("window",)
    signals = _rule

    def __init__(self, days: int = 5) -> None:
        self.window = 2 * days


@dataclass(frozen=True)
class Nested(Strategy):
    "Holds another strategy, whose parameters are its own."

    days: int = 5

    def __post_init__(self) -> None:
        object.__setattr__(self, "inner", Ordinary(self.days))

    def signals(self, panel: Panel) -> pd.DataFrame:
        return self.inner.signals(panel)  # type: ignore[attr-defined, no-any-return]


@dataclass(frozen=True)
class Everything(Strategy):
    "Asks for all it has at once."

    days: int = 5

    def signals(self, panel: Panel) -> pd.DataFrame:
        mean = panel.close.rolling(2 * sum(vars(self).values())).mean()
        return (panel.close > mean).astype(float)


@dataclass(frozen=True)
class OwnIndicator(Strategy):
    days: int = field(default=5, compare=False)  # so that all of them are equal

    def average(self, close: np.ndarray) -> np.ndarray:
        return pd.Series(close).rolling(2 * self.days).mean().to_numpy()

    def signals(self, panel: Panel) -> pd.DataFrame:
        return (panel.close > on_own_bars(panel, self.average)).astype(float)


@pytest.mark.parametrize("kind", [Prepared, Remembered, Enclosed, Ordinary, Slotted, Nested, Everything, OwnIndicator])
def test_a_sweep_gives_the_rows_of_backtests_wherever_a_strategy_keeps_its_parameters(kind: type[Strategy]) -> None:
    panel = market(3)
    days = [3, 5, 10, 20, 5]
    table = sweep(kind, {"days": days}, panel, progress=False)
    alone = [backtest(kind(days=each), panel).metrics["total_return"] for each in days[:4]]
    assert len(set(alone)) == 4
    assert table["total_return"].astype(float).tolist() == pytest.approx(alone, rel=1e-12)
