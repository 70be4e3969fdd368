import pickle
import sys

import numpy as np
import pandas as pd
import pytest

from trading_core.backtest import backtest
from trading_core.backtest.forward import NoWindowError, SpanError
from trading_core.backtest.grid import GridError
from trading_core.backtest.holdout import SealError
from trading_core.backtest.searching import (
    Between,
    Choices,
    NothingFoundError,
    OptunaMissingError,
    SpaceError,
    search,
    silent_optuna,
    space_of,
)
from trading_core.backtest.sweep_table import SweepTable
from trading_core.backtest.sweeping import sweep
from trading_core.backtest.terms import CashError
from trading_core.backtest.trials import table
from trading_core.data import SimulatedBars, load_panel
from trading_core.errors import UnknownNameError
from trading_core.portfolio import Costs, RiskLimits
from trading_core.strategies import EquityReversal, SmaCross

optuna = pytest.importorskip("optuna")
SPACE = {"fast": Between(2, 30), "slow": Between(10, 120, log=True)}


@pytest.fixture(scope="module")
def panel():
    market = SimulatedBars(seed=11)
    return load_panel(market, market.symbols()[:4], "2019-01-01", "2021-12-31")


@pytest.fixture(scope="module")
def found(panel):
    return search(SmaCross, SPACE, panel, trials=25)


def test_the_same_seed_tries_the_same_combinations_in_the_same_order(panel, found):
    again = search(SmaCross, SPACE, panel, trials=25)
    pd.testing.assert_frame_equal(pd.DataFrame(found.table), pd.DataFrame(again.table))
    pd.testing.assert_frame_equal(found.table.failures, again.table.failures)
    pd.testing.assert_frame_equal(found.table.equity, again.table.equity)
    other = search(SmaCross, SPACE, panel, trials=25, seed=1)
    assert other.table["fast"].tolist() != found.table["fast"].tolist()


def test_the_table_is_a_sweep_s_with_a_row_for_each_combination_that_was_run(panel, found):
    assert isinstance(found.table, SweepTable)
    assert len(found.table) == 25
    assert not found.table.duplicated(["fast", "slow"]).any()
    swept = sweep(SmaCross, {"fast": [5], "slow": [20]}, panel, progress=False)
    assert list(found.table.columns) == list(swept.columns)
    assert found.table.dtypes.equals(swept.dtypes)
    assert found.table.equity.shape == (len(panel.days), 25)


def test_each_row_is_what_a_backtest_says(panel):
    terms = {"costs": Costs(rate=0.002), "limits": RiskLimits(max_weight=0.4), "resize": 0.1, "cash": 5e4}
    few = search(SmaCross, SPACE, panel, trials=5, start="2019-06-03", end="2021-06-30", **terms)
    for row in few.table.index:
        one = backtest(SmaCross(**few.table.parameters_of(row)), panel, start="2019-06-03", end="2021-06-30", **terms)
        for name, value in one.metrics.items():
            if isinstance(value, pd.Timestamp) or value is pd.NaT:
                assert few.table.at[row, name] is value or few.table.at[row, name] == value
            else:
                assert few.table.at[row, name] == pytest.approx(value, rel=1e-9, nan_ok=True), name
        np.testing.assert_allclose(few.table.equity[row], one.equity, rtol=1e-12)


def test_what_makes_no_sense_is_listed_with_its_sentence_and_not_counted(found):
    assert len(found.table.failures) > 0
    assert (found.table.failures["fast"] >= found.table.failures["slow"]).all()
    assert found.table.failures["problem"].str.startswith("SmaCross.fast needs fewer bars than slow").all()
    assert not set(found.table.failures.index) & set(found.table.index)


def test_the_best_is_the_best_of_the_table(panel, found):
    assert found.best_result.metrics["sharpe"] == pytest.approx(found.table["sharpe"].max(), rel=1e-12)
    assert found.best == SmaCross(**found.best_parameters)
    assert found.best_so_far.is_monotonic_increasing
    cheap = search(SmaCross, SPACE, panel, trials=10, metric="fees")
    assert cheap.best_result.metrics["fees"] == pytest.approx(cheap.table["fees"].min())
    assert cheap.best_so_far.is_monotonic_decreasing


def test_a_small_space_is_run_through_once(panel):
    small = search(SmaCross, {"fast": [5, 10, 40], "slow": [20, 30]}, panel, trials=100)
    assert sorted(zip(small.table["fast"], small.table["slow"], strict=True)) == [(5, 20), (5, 30), (10, 20), (10, 30)]
    assert len(small.table.failures) == 2


def test_choices_of_any_kind_can_be_searched(panel):
    stops = search(EquityReversal, {"stop_loss": [None, 0.02, 0.1], "time_stop": [3, 5, 10]}, panel, trials=9)
    assert len(stops.table) == 9
    assert stops.table["stop_loss"].isna().sum() == 3
    assert stops.best_result.setup["strategies"]["EquityReversal"]["params"]["time_stop"] in (3, 5, 10)


def test_floats_stay_in_their_range_and_whole_numbers_whole():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    ranges = {"n": Between(3, 30, step=3), "log": Between(1, 1000, log=True), "x": Between(0.1, 0.2), "s": Between(0.0, 1.0, step=0.25)}  # fmt: skip
    for _ in range(200):
        trial = study.ask()
        drawn = {name: each.suggested(trial, name) for name, each in ranges.items()}
        assert type(drawn["n"]) is int
        assert drawn["n"] in range(3, 31, 3)
        assert type(drawn["log"]) is int
        assert 1 <= drawn["log"] <= 1000
        assert 0.1 <= drawn["x"] <= 0.2
        assert drawn["s"] in (0, 0.25, 0.5, 0.75, 1)


def test_prices_of_unseen_days_change_nothing_but_what_comes_of_them(panel):
    one = search(SmaCross, SPACE, panel, trials=15, unseen="6m")
    border = one.later.equity.index[0]
    row = int(panel.days.searchsorted(border))
    arrays = {name: array.copy() for name, array in panel.arrays.items()}
    for name in ("open", "high", "low", "close"):
        arrays[name][row:] *= np.exp(np.random.default_rng(0).normal(0, 0.3, panel.shape))[row:]
    changed = type(panel)(panel.days, panel.symbols, panel.assets, arrays, panel.real)
    other = search(SmaCross, SPACE, changed, trials=15, unseen="6m")
    pd.testing.assert_frame_equal(pd.DataFrame(one.table), pd.DataFrame(other.table))
    assert not one.later.equity.equals(other.later.equity)
    assert one.best_result.equity.index[-1] == panel.days[row - 1]
    assert one.later.equity.index[-1] == panel.last
    assert "on the days held out" in one.sentence


def test_sealed_days_are_not_searched(panel, monkeypatch):
    monkeypatch.setenv("TRADING_RESEARCH__HOLDOUT", "2021-07-01..")
    few = search(SmaCross, SPACE, panel, trials=3)
    assert few.best_result.equity.index[-1] < pd.Timestamp("2021-07-01", tz="UTC")
    with pytest.raises(SealError, match="sealed"):
        search(SmaCross, SPACE, panel, trials=3, end="2021-08-02")


def test_every_combination_counts_as_a_try_of_its_class(panel):
    class Own(SmaCross):
        pass

    first = search(Own, SPACE, panel, trials=12)
    assert table(Own)["count"].sum() == 12
    assert first.honesty.trials == 12
    assert "With 12 tries" in first.sentence
    search(Own, SPACE, panel, trials=12, seed=5)
    assert first.honesty.trials == 12  # it was true when it was said
    assert table(Own)["count"].sum() > 18


def test_a_search_says_what_it_means_and_shows_itself(found):
    assert found.sentence.startswith("Of 25 combinations tried, fast ")
    assert "deflated Sharpe ratio" in found.sentence
    assert "Chosen on half of the days" in found.sentence
    shown = found._repr_html_()
    assert shown.count("<svg") == 1
    assert "25 combinations tried" in shown
    assert repr(found).startswith("Search(SmaCross, 25 tried, ")


def test_optuna_says_nothing_and_keeps_its_own_level_of_talk(panel, capfd):
    before = optuna.logging.get_verbosity()
    search(SmaCross, SPACE, panel, trials=3)
    assert optuna.logging.get_verbosity() == before
    with pytest.raises(RuntimeError), silent_optuna():
        raise RuntimeError
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")


def test_without_optuna_it_says_what_to_install(panel, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(OptunaMissingError, match=r"pip install 'trading-core\[search\]'"):
        search(SmaCross, SPACE, panel, trials=3)


def test_a_search_in_which_nothing_ever_traded_says_so(panel):
    with pytest.raises(
        NothingFoundError, match=r"None of the \d combinations of SmaCross that were tried has a sharpe"
    ):
        search(SmaCross, {"fast": [5, 6], "slow": [2000]}, panel, trials=5)
    with pytest.raises(NothingFoundError, match=r"The first one says: SmaCross\.fast needs"):
        search(SmaCross, {"fast": [100], "slow": [50]}, panel, trials=5)


BAD_SPACES = [
    ({}, SpaceError, "but this is none: {}"),
    (5, SpaceError, "this is none: 5"),
    ({"fast": 5}, GridError, "fast has no list of values: 5"),
    ({"fast": []}, GridError, "fast has no value at all"),
    ({"fats": Between(1, 5)}, UnknownNameError, "'fats' is not known here. Did you mean 'fast'"),
]


@pytest.mark.parametrize(("space", "kind", "words"), BAD_SPACES, ids=[str(n) for n in range(len(BAD_SPACES))])
def test_what_is_no_space_is_refused_in_a_sentence(panel, space, kind, words):
    with pytest.raises(kind, match=words) as refused:
        search(SmaCross, space, panel)
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


@pytest.mark.parametrize(
    ("ends", "options", "words"),
    [
        ((5, 5), {}, "low end must be below its high end"),
        ((50, 5), {}, "low end must be below its high end"),
        (("a", 5), {}, "an end of it is no number"),
        ((1, float("nan")), {}, "an end of it is no number"),
        ((0, 5), {"log": True}, "log needs a low end above 0"),
        ((1, 5), {"log": True, "step": 2}, "and no step"),
        ((1, 5), {"step": 0}, "its step must be above 0"),
        ((1, 5), {"step": 7}, "fit in between"),
    ],
)
def test_a_range_that_is_none_is_refused(ends, options, words):
    with pytest.raises(SpaceError, match=words):
        Between(*ends, **options)


BAD_OPTIONS = [
    ({"trials": 0}, SpaceError, "trials must be a whole number, 1 or more: 0"),
    ({"trials": 2.5}, SpaceError, "trials must be a whole number"),
    ({"metric": "sharp"}, UnknownNameError, r"search\(metric=…\): 'sharp' is not known here. Did you mean 'sharpe'"),
    ({"unseen": "soon"}, SpanError, r"search\(unseen='soon'\): a span of at least one day is needed"),
    ({"unseen": "9y"}, NoWindowError, "unseen='9y' leaves no day to search on"),
    ({"cash": -1}, CashError, "cash above 0"),
]


@pytest.mark.parametrize(("options", "kind", "words"), BAD_OPTIONS, ids=[str(n) for n in range(len(BAD_OPTIONS))])
def test_options_that_cannot_be_used_are_refused_in_a_sentence(panel, options, kind, words):
    with pytest.raises(kind, match=words):
        search(SmaCross, SPACE, panel, **{"trials": 3} | options)


def test_lists_of_rising_numbers_have_neighbours_and_others_do_not():
    space = space_of(SmaCross, {"fast": [2, 5, 9], "slow": [50, 20]})
    assert space["fast"].ordered
    assert not space["slow"].ordered
    assert not Choices((True, False)).ordered
