import pickle
import re
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_panels import random_panel

from trading_core.backtest import backtest
from trading_core.backtest.forward import (
    METRICS,
    NoWindowError,
    Span,
    SpanError,
    choose,
    part_of,
    walk_forward,
    windows_of,
)
from trading_core.backtest.grid import GridError
from trading_core.backtest.parity import compare_results
from trading_core.backtest.sweep_table import NoCombinationError
from trading_core.backtest.switching import ChangingExitsError, Idle, Switching, SwitchingSizer, run_switching
from trading_core.backtest.terms import CashError
from trading_core.backtest.trials import table
from trading_core.data import HybridDataNormalizer, SimulatedBars, load_panel
from trading_core.errors import UnknownNameError
from trading_core.model import ExitRules
from trading_core.portfolio import Costs, RiskLimits
from trading_core.sessions import sessions
from trading_core.strategies import (
    CryptoReversal,
    EqualWeight,
    EquityReversal,
    InverseVolatility,
    RiskPerTrade,
    SmaCross,
    Strategy,
    with_sizer,
)

GRID = {"fast": [3, 8], "slow": [10, 20, 30]}
SHORT = {"train": "1y", "test": "4m"}


@pytest.fixture(scope="module")
def panel():
    market = SimulatedBars(seed=11)
    return load_panel(market, [*market.symbols()[:8], "BTC/USD"], "2019-01-01", "2021-12-31")


def scrambled(panel, first_row, seed=0, last_row=None):
    "The same panel with other prices from a row on."
    rng, rows = np.random.default_rng(seed), slice(first_row, last_row)
    arrays = {name: array.copy() for name, array in panel.arrays.items()}
    factors = np.exp(rng.normal(0, 0.4, panel.shape))
    for name in ("open", "high", "low", "close"):
        arrays[name][rows] *= factors[rows]
    return type(panel)(panel.days, panel.symbols, panel.assets, arrays, panel.real)


@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize("number", [0, 2, 5])
def test_a_choice_stays_what_it_was_when_all_prices_after_its_training_change(panel, number, anchored):
    walk = walk_forward(SmaCross, GRID, panel, **SHORT, embargo=10, anchored=anchored)
    row = int(panel.days.searchsorted(walk.windows["train_end"][number])) + 1
    other = walk_forward(SmaCross, GRID, scrambled(panel, row), **SHORT, embargo=10, anchored=anchored)
    kept = ["fast", "slow", "in_sample"]
    pd.testing.assert_frame_equal(walk.windows.loc[:number, kept], other.windows.loc[:number, kept])
    assert not walk.equity.equals(other.equity)


def test_days_of_an_embargo_are_seen_by_no_choice_of_their_window(panel):
    windows = windows_of(panel.days, Span(1, "y"), Span(4, "m"), Span(30, "d"))
    for window in windows:
        hidden = panel.days[(panel.days > window.train_end) & (panel.days < window.test_start)]
        assert len(hidden) == 30
        first, last = (int(panel.days.searchsorted(day)) for day in (hidden[0], hidden[-1]))
        other = scrambled(panel, first, last_row=last + 1)
        assert choose(SmaCross, GRID, panel, window, "sharpe") == choose(SmaCross, GRID, other, window, "sharpe")


def test_the_account_knows_nothing_of_later_prices(panel):
    walk = walk_forward(SmaCross, GRID, panel, **SHORT)
    row = int(panel.days.searchsorted(walk.windows["test_start"].iloc[-2])) + 40
    other = walk_forward(SmaCross, GRID, scrambled(panel, row), **SHORT)
    day = panel.days[row - 1]
    pd.testing.assert_series_equal(walk.equity[:day], other.equity[:day])
    assert not walk.equity.equals(other.equity)


def test_the_choice_is_the_best_of_a_plain_loop_over_backtests(panel):
    walk = walk_forward(SmaCross, GRID, panel, **SHORT)
    for window in walk.windows.itertuples():
        past = panel.until(window.train_end)
        found = {
            (fast, slow): backtest(SmaCross(fast, slow), past, start=window.train_start).metrics["sharpe"]
            for fast in GRID["fast"]
            for slow in GRID["slow"]
        }
        assert (window.fast, window.slow) == max(found, key=lambda pair: found[pair])
        assert window.in_sample == pytest.approx(max(found.values()), rel=1e-12)


def test_what_costs_is_best_where_it_is_least(panel):
    walk = walk_forward(SmaCross, GRID, panel, **SHORT, metric="fees")
    for window in walk.windows.itertuples():
        fees = [
            backtest(SmaCross(fast, slow), panel.until(window.train_end), start=window.train_start).metrics["fees"]
            for fast in GRID["fast"]
            for slow in GRID["slow"]
        ]
        assert window.in_sample == pytest.approx(min(fees), rel=1e-12)


def test_one_combination_walked_forward_is_one_backtest(panel):
    terms = {
        "costs": Costs(rate=0.002, slippage_bps=5),
        "limits": RiskLimits(max_weight=0.3),
        "resize": 0.1,
        "cash": 5e4,
    }
    walk = walk_forward(SmaCross, {"fast": [5], "slow": [20]}, panel, **SHORT, **terms)
    plain = backtest(SmaCross(5, 20), panel, start=walk.windows["test_start"][0], **terms)
    assert compare_results(walk.result, plain, panel).ok
    assert walk.equity.equals(plain.equity)


def test_on_each_day_the_choice_of_its_own_window_decides(panel):
    walk = walk_forward(SmaCross, GRID, panel, train="120d", test="25d")
    stitched = pd.DataFrame(np.nan, panel.days, list(panel.symbols))
    for window in walk.windows.itertuples():
        own = SmaCross(window.fast, window.slow).signals(panel)
        stitched.loc[window.test_start : window.test_end] = own.loc[window.test_start : window.test_end]

    class Stitched(Strategy):
        def signals(self, seen):
            return stitched

    plain = backtest(Stitched(), panel, start=walk.windows["test_start"][0])
    assert walk.equity.equals(plain.equity)
    assert walk.windows[["fast", "slow"]].drop_duplicates().shape[0] > 1


def test_the_parts_of_the_account_make_the_whole(panel):
    walk = walk_forward(SmaCross, GRID, panel, **SHORT)
    parts = [part_of(walk.result, window.test_start, window.test_end) for window in walk.windows.itertuples()]
    assert np.prod([1 + part["total_return"] for part in parts]) == pytest.approx(1 + walk.metrics["total_return"])
    assert sum(part["fees"] for part in parts) == pytest.approx(walk.metrics["fees"])
    assert sum(part["trades"] for part in parts) == walk.metrics["trades"]
    assert [part["sharpe"] for part in parts] == pytest.approx(walk.windows["out_of_sample"].tolist())
    assert walk.degradation["difference"] == pytest.approx(
        walk.windows["out_of_sample"].mean() - walk.windows["in_sample"].mean()
    )


spans = st.sampled_from([("d", 1, 200), ("w", 1, 40), ("m", 1, 12), ("y", 1, 1)]).flatmap(
    lambda unit: st.integers(unit[1], unit[2]).map(lambda number: Span(number, unit[0]))
)


@settings(deadline=None, max_examples=60)
@given(
    train=spans,
    test=spans,
    embargo=st.integers(0, 60),
    anchored=st.booleans(),
    equities=st.booleans(),
    start=st.dates(pd.Timestamp("2015-01-01").date(), pd.Timestamp("2016-12-31").date()),
)
def test_windows_cover_all_days_after_the_first_training_once_and_never_train_on_later_ones(
    train, test, embargo, anchored, equities, start
):
    days = sessions("XNYS" if equities else "24/7", start, "2018-06-30")
    try:
        windows = windows_of(days, train, test, Span(embargo, "d"), anchored)
    except NoWindowError:  # the panel is too short for them
        return
    tested = pd.DatetimeIndex([day for w in windows for day in days[(days >= w.test_start) & (days <= w.test_end)]])
    assert tested.equals(days[days >= windows[0].test_start])
    for window in windows:
        assert window.train_start <= window.train_end < window.test_start <= window.test_end
        assert (window.test_start - window.train_end).days > embargo
        assert not anchored or window.train_start == days[0]
    assert all(one.train_end <= other.train_end for one, other in pairwise(windows))


def test_a_month_is_a_month_of_the_calendar_and_borders_do_not_drift():
    days = pd.date_range("2020-01-31", "2021-12-31", tz="UTC")
    windows = windows_of(days, Span(1, "m"), Span(1, "m"))
    assert [f"{window.test_start:%m-%d}" for window in windows[:5]] == ["02-29", "03-29", "04-29", "05-29", "06-29"]


@dataclass(frozen=True)
class Late(Strategy):
    "Holds everything from a day on."

    day: str = "2020-03-02"

    def signals(self, panel):
        late = (panel.days >= pd.Timestamp(self.day, tz="UTC"))[:, None]
        return pd.DataFrame(np.where(panel.real, late * 1.0, np.nan), panel.days, list(panel.symbols))


def test_where_nothing_can_be_chosen_nothing_is_held(panel):
    walk = walk_forward(Late, {"day": ["2020-03-02"]}, panel, train="1y", test="4m")
    assert walk.windows["day"].isna().tolist()[:2] == [True, False]
    before = walk.equity[: walk.windows["test_end"][0]]
    assert before.nunique() == 1
    assert len(walk.fills)
    assert walk.fills["day"].min() > walk.windows["test_end"][0]
    assert np.isnan(walk.windows["in_sample"][0])
    assert "windows" in walk.sentence


def test_an_idle_stage_sells_what_is_held(panel):
    row = 400
    run = run_switching(Switching((200, row), (SmaCross(3, 10), Idle())), panel, panel.days[200])
    assert run.positions.iloc[: row - 200].to_numpy().sum() > 0
    assert run.positions.iloc[-1].sum() == 0
    assert run.setup["strategies"].keys() == {"SmaCross"}


def test_combinations_that_make_no_sense_are_left_out_and_the_others_go_on(panel):
    walk = walk_forward(SmaCross, {"fast": [5, 50], "slow": [20]}, panel, **SHORT)
    assert walk.windows["fast"].tolist() == [5] * len(walk.windows)


def hand_panel(closes, symbol="AAA"):
    days = sessions("XNYS", "2024-01-02", "2024-03-28")[: len(closes)]
    close = np.array(closes, dtype=float)
    bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), close) | {"volume": 1e6}, days)
    return HybridDataNormalizer().normalize({symbol: bars})


@dataclass(frozen=True)
class Always(Strategy):
    "Wants everything, once: on its first day."

    stop: float = 0.5

    @property
    def exits(self):
        return ExitRules(stop_loss=self.stop)

    def signals(self, panel):
        rows = (np.arange(len(panel.days)) == 0)[:, None]
        return pd.DataFrame(np.where(panel.real & rows, 1.0, np.nan), panel.days, list(panel.symbols))


def test_a_position_gets_the_new_stop_on_the_day_on_which_the_parameters_change():
    panel = hand_panel([100, 100, 100, 94, 94, 94, 94, 94])
    kept = run_switching(Switching((0, 5), (Always(0.10), Always(0.20))), panel, panel.first)
    assert kept.fills["reason"].tolist() == ["signal"]
    sold = run_switching(Switching((0, 5), (Always(0.10), Always(0.05))), panel, panel.first)
    assert sold.fills[["day", "reason"]].to_numpy().tolist() == [
        [panel.days[1], "signal"],
        [panel.days[6], "stop_loss"],  # decided at the close of row 5, the first of the new stage
    ]


@pytest.mark.parametrize("seed", range(12))
def test_switching_parameters_and_sizers_come_to_the_same_in_both_engines(seed):
    panel = random_panel(seed)
    rng = np.random.default_rng(seed)
    sizers = [EqualWeight(0.8), InverseVolatility(gross=0.9), EqualWeight(max_weight=0.1)]
    stages = tuple(with_sizer(SmaCross(int(rng.integers(2, 6)), int(rng.integers(7, 15))), sizers[k]) for k in range(3))
    rows = (20, int(rng.integers(40, 60)), int(rng.integers(70, 100)))
    switching = Switching(rows, stages)
    assert isinstance(switching.sizing, SwitchingSizer)
    terms = {"costs": Costs(rate=0.001, slippage_bps=3), "limits": RiskLimits(max_weight=0.3), "resize": 0.2}
    fast = run_switching(switching, panel, panel.days[20], **terms)
    exact = backtest(switching, panel, start=panel.days[20], engine="backtrader", **terms)
    assert compare_results(fast, exact, panel).ok, compare_results(fast, exact, panel)


@pytest.mark.parametrize("seed", range(6))
def test_until_its_border_a_changing_stop_is_the_first_one_and_the_last_word_has_the_second(seed):
    panel = random_panel(seed)
    one, other = EquityReversal(stop_loss=0.08), EquityReversal(stop_loss=0.01)
    row = 60
    mixed = run_switching(Switching((20, row), (one, other)), panel, panel.days[20])
    plain = backtest(one, panel, start=panel.days[20])
    border = panel.days[row]
    columns = ["day", "symbol", "side", "quantity", "reason"]
    pd.testing.assert_frame_equal(
        mixed.fills.loc[mixed.fills["day"] <= border, columns].sort_values(columns, ignore_index=True),
        plain.fills.loc[plain.fills["day"] <= border, columns].sort_values(columns, ignore_index=True),
        check_dtype=False,
    )
    assert mixed.setup["engine"] == "backtrader"


def test_a_stop_that_sizes_changes_with_its_stage():
    panel = random_panel(3)
    stages = tuple(with_sizer(EquityReversal(stop_loss=stop), RiskPerTrade(0.01)) for stop in (0.05, 0.02))
    switching = Switching((20, 60), stages)
    assert isinstance(switching.sizing, SwitchingSizer)
    run = run_switching(switching, panel, panel.days[20])
    assert len(run.fills)
    assert (run.exposure["cash"] > -1e-9).all()


def test_an_engine_with_one_set_of_exits_refuses_stages_that_change_them(panel):
    with pytest.raises(ChangingExitsError, match=r"run_switching\(switching, panel, start\)"):
        backtest(Switching((0, 50), (EquityReversal(), EquityReversal(stop_loss=0.01))), panel)


def test_stops_of_a_grid_are_walked_forward(panel):
    walk = walk_forward(EquityReversal, {"stop_loss": [0.01, 0.05, 0.2]}, panel, train="1y", test="1y")
    assert len(walk.windows) == 2
    assert walk.equity.index[0] == walk.windows["test_start"][0]
    assert walk.equity.index[-1] == panel.last


def test_limits_halt_the_account_across_windows(panel):
    walk = walk_forward(SmaCross, GRID, panel, **SHORT, limits=RiskLimits(max_drawdown=0.01))
    assert walk.result.setup["halted"]
    halted = (walk.result.refusals["reason"] == "breaker").sum()
    assert halted > 0


def test_sealed_days_are_not_walked_into(panel, monkeypatch):
    monkeypatch.setenv("TRADING_RESEARCH__HOLDOUT", "2021-07-01..")
    walk = walk_forward(SmaCross, GRID, panel, **SHORT)
    assert walk.equity.index[-1] < pd.Timestamp("2021-07-01", tz="UTC")
    assert walk.windows["test_end"].iloc[-1] == walk.equity.index[-1]


def test_each_walk_of_a_class_counts_as_one_try(panel, monkeypatch):
    class Own(SmaCross):
        pass

    first = walk_forward(Own, GRID, panel, **SHORT)
    assert first.honesty.trials == 1
    walk_forward(Own, GRID, panel, **SHORT)
    assert (table(Own)["source"] == "walk_forward").sum() == 1  # the same once more is no new try
    second = walk_forward(Own, {"fast": [4], "slow": [12, 25]}, panel, **SHORT)
    assert second.honesty.trials == 2


def test_a_walk_says_what_it_means_and_shows_itself(panel):
    walk = walk_forward(SmaCross, GRID, panel, **SHORT)
    assert f"Over {len(walk.windows)} windows the choices had a mean Sharpe ratio of" in walk.sentence
    assert "on the days after" in walk.sentence
    assert 0 <= walk.overfitting.pbo <= 1
    shown = walk._repr_html_()
    assert shown.count("<svg") == 2
    assert "2020-01-01" in shown
    assert repr(walk).startswith("WalkForward(SmaCross, 6 windows, 2020-01-01 to 2021-12-31, 100,000.00 to ")


def test_a_single_combination_has_no_overfitting_to_speak_of(panel):
    walk = walk_forward(SmaCross, {"fast": [5], "slow": [20]}, panel, **SHORT)
    assert np.isnan(walk.overfitting.pbo)
    assert "nan" not in walk.sentence


BAD = [
    ({"train": "two years"}, SpanError, r"walk_forward\(train='two years'\): a span of at least one day is needed"),
    ({"train": 0}, SpanError, r"train=0"),
    ({"test": "0d"}, SpanError, r"test='0d'.*at least one day"),
    ({"test": -3}, SpanError, r"test=-3"),
    ({"test": True}, SpanError, r"test=True"),
    ({"test": 2.5}, SpanError, r"test=2\.5"),
    ({"embargo": "x"}, SpanError, r"embargo='x'.*or 0 for none"),
    ({"train": "3y"}, NoWindowError, r"2019-01-01 to 2021-12-31, but train='3y', .* leaves no day to test on\. Load more"),
    ({"train": "10y"}, NoWindowError, r"no day to test on"),
    ({"embargo": "5y"}, NoWindowError, r"no day to test on"),
    ({"train": "1d"}, NoWindowError, r"too few days to train or test on about 2019-01-02"),
    ({"metric": "sharp"}, UnknownNameError, r"walk_forward\(metric=…\): 'sharp' is not known here\. Did you mean 'sharpe'"),
    ({"metric": "max_drawdown_day"}, UnknownNameError, r"Did you mean 'max_drawdown'"),
    ({"cash": 0}, CashError, r"cash above 0"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "kind", "words"), BAD, ids=[str(number) for number in range(len(BAD))])
def test_what_cannot_be_walked_is_refused_in_a_sentence(panel, options, kind, words):
    with pytest.raises(kind, match=words) as refused:
        walk_forward(SmaCross, GRID, panel, **SHORT | options)
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def test_a_test_of_one_day_is_refused_where_the_market_is_closed():
    market = SimulatedBars(seed=11)
    shares = load_panel(market, market.symbols()[:2], "2020-01-01", "2020-12-31")
    shares = shares.select([symbol for symbol in shares.symbols if "/" not in symbol])
    days = sessions("XNYS", "2020-01-01", "2020-12-31")
    with pytest.raises(NoWindowError, match="too few days to train or test on about 2020-0"):
        windows_of(days, Span(6, "m"), Span(1, "d"))


@pytest.mark.parametrize(
    ("grid", "kind", "words"),
    [
        ({}, GridError, "but this is none"),
        ({"fast": []}, GridError, "fast has no value at all"),
        ({"fast": 5}, GridError, "fast has no list of values: 5"),
        ({"fats": [5]}, UnknownNameError, "SmaCross's parameters: 'fats' is not known here. Did you mean 'fast'"),
        (
            {"fast": [50], "slow": [20]},
            NoCombinationError,
            "None of the 1 combinations of SmaCross can be run. The first",
        ),
    ],
    ids=["empty", "no value", "a number", "misspelt", "senseless"],
)
def test_a_grid_that_cannot_be_tried_is_refused_in_a_sentence(panel, grid, kind, words):
    with pytest.raises(kind, match=words):
        walk_forward(SmaCross, grid, panel, **SHORT)


def test_every_metric_that_can_choose_is_one_that_a_backtest_has(panel):
    assert set(METRICS) <= set(backtest(SmaCross(), panel).metrics.index)
    walk = walk_forward(CryptoReversal, {"drop": [0.01, 0.02]}, panel, train="1y", test="1y", metric="total_return")
    assert re.search(r"mean total return of −?[0-9.]+\u202f% on the days they were chosen on", walk.sentence)


def test_equal_sizers_are_left_to_the_engine_as_they_are():
    half = [with_sizer(SmaCross(fast), EqualWeight(0.5)) for fast in (3, 5)]
    assert Switching((0, 9), tuple(half)).sizing == EqualWeight(0.5)
    assert Switching((0, 9), (Idle(), SmaCross())).exits == ExitRules()
