"""Sharpe ratios: against the paper, two libraries, a second way of computing, and by Monte Carlo."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from collections.abc import Iterator
from time import perf_counter, process_time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sharpe_peers import CASES, RECORDED, returns_of_case, trials_of_case
from sizes import LONG, size

from trading_core.backtest.sharpe import (
    Interval,
    Moments,
    Trials,
    deflated_sharpe,
    expected_maximum_sharpe,
    independent_trials,
    luck,
    minimum_track_record,
    moments,
    probabilistic_sharpe,
    sharpe,
    sharpe_error,
    sharpe_interval,
)  # fmt: skip

EIGHT_YEARS = 2016
SOME = np.random.default_rng(11).standard_t(5, EIGHT_YEARS) * 0.01 + 0.0004


@pytest.fixture(autouse=True)
def no_warning_is_hidden() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# The paper: Bailey and López de Prado, "The Deflated Sharpe Ratio", Journal of Portfolio Management 40 (5), 2014,
# section "A numerical example". 2.5 a year over 1,250 days, 250 a year; variance of the trials' yearly ratios 1/2.
SEEN = Moments(days=1250, sharpe=2.5 / math.sqrt(250), skew=-3, kurtosis=10)


def test_the_published_example_comes_out_as_printed():
    trials = Trials(100, 0.5 / 250)
    assert round(luck(SEEN, trials), 4) == 0.1132
    assert round(deflated_sharpe(SEEN, trials), 4) == 0.9004
    assert round(deflated_sharpe(SEEN, Trials(46, 0.5 / 250)), 4) == 0.9505
    assert round(deflated_sharpe(Moments(1250, SEEN.sharpe), Trials(88, 0.5 / 250)), 4) == 0.9505


def by_scipy(seen: Moments, count: int, variance: float) -> float:
    "The formulas once more, with scipy's distributions, in the paper's order."
    gamma = 0.5772156649015329
    top = (1 - gamma) * stats.norm.isf(1 / count) + gamma * stats.norm.isf(1 / (count * math.e))
    above = (seen.sharpe - math.sqrt(variance) * top) * math.sqrt(seen.days - 1)
    return float(
        stats.norm.cdf(above / math.sqrt(1 - seen.skew * seen.sharpe + (seen.kurtosis - 1) / 4 * seen.sharpe**2))
    )


@pytest.mark.parametrize("count", [2, 3, 46, 100, 1000, 1_000_000])
def test_the_example_agrees_with_scipy_for_any_number_of_trials(count: int):
    assert deflated_sharpe(SEEN, Trials(count, 0.002)) == pytest.approx(by_scipy(SEEN, count, 0.002), abs=1e-9)


@pytest.mark.parametrize("library", ["skfolio", "jsharpe"])
@pytest.mark.parametrize("case", CASES)
def test_two_other_libraries_say_the_same_to_nine_digits(library: str, case: str):
    "`sharpe_peers.py` asked them, in an environment of their own, and recorded what they said."
    answers = json.loads(RECORDED.read_text())[library][case]
    returns, trials = returns_of_case(case), Trials.of(trials_of_case(case))
    assert probabilistic_sharpe(returns, 0.01) == pytest.approx(answers["probabilistic"], abs=1e-9)
    assert luck(returns, trials) == pytest.approx(answers["luck"], abs=1e-9)
    assert deflated_sharpe(returns, trials) == pytest.approx(answers["deflated"], abs=1e-9)
    assert deflated_sharpe(returns, trials_of_case(case)) == deflated_sharpe(returns, trials)


def test_moments_are_scipys_and_the_ratio_is_empyricals():
    import empyrical

    seen = moments(SOME)
    assert seen.skew == pytest.approx(stats.skew(SOME), abs=1e-12)
    assert seen.kurtosis == pytest.approx(stats.kurtosis(SOME, fisher=False), abs=1e-11)
    assert sharpe(SOME, 252) == pytest.approx(empyrical.sharpe_ratio(SOME, annualization=252), abs=1e-12)
    assert sharpe(SOME, 365) / sharpe(SOME) == pytest.approx(math.sqrt(365))
    assert sharpe_error(SOME, 252) / sharpe_error(SOME) == pytest.approx(math.sqrt(252))


def test_yearly_ratios_of_trials_become_those_of_a_row():
    yearly = np.array([0.3, 1.2, -0.4, 0.9])
    assert Trials.of(yearly, 252).variance == pytest.approx(Trials.of(yearly / math.sqrt(252)).variance, rel=1e-12)
    assert Trials.of([*yearly, math.nan], 252) == Trials.of(yearly, 252)
    assert Trials.of([0.1]) == Trials(1, None)


def test_one_trial_is_no_search_and_an_unknown_variance_is_that_of_chance():
    assert deflated_sharpe(SOME, Trials(1)) == probabilistic_sharpe(SOME)
    assert luck(SOME, Trials(1000)) == expected_maximum_sharpe(1000, 1 / (EIGHT_YEARS - 1))
    assert expected_maximum_sharpe(1, 0.1) == expected_maximum_sharpe(50, 0.0) == 0.0
    assert all(math.isnan(expected_maximum_sharpe(*bad)) for bad in [(0, 0.1), (5, -0.1), (math.nan, 1), (5, math.nan)])


def test_the_track_record_is_as_long_as_its_confidence_needs():
    for benchmark, confidence in [(0.0, 0.95), (0.01, 0.9), (-0.02, 0.99)]:
        rows = minimum_track_record(SEEN, benchmark, confidence)
        at = Moments(round(rows * 1e6), SEEN.sharpe, SEEN.skew, SEEN.kurtosis)  # a millionth of a row at a time
        z = (SEEN.sharpe - benchmark) / (at.error * math.sqrt((at.days - 1) / (rows - 1)))
        assert stats.norm.cdf(z) == pytest.approx(confidence, abs=1e-9)
    assert minimum_track_record(SEEN, SEEN.sharpe) == math.inf


@pytest.mark.parametrize(
    "returns",
    [
        [],
        [0.01],
        [0.01, -0.02],
        [0.0] * 300,
        [0.003] * 300,
        [math.nan] * 300,
        [math.inf] * 300,
        1.0003 ** np.arange(3) * 0,
    ],
    ids=["none", "one", "two", "zeros", "constant", "nan", "infinite", "three zeros"],
)
def test_where_nothing_can_be_said_there_is_nan_and_neither_error_nor_warning(returns: list[float]):
    for series in (returns, np.array(returns), pd.Series(returns, dtype=float)):
        numbers = [
            sharpe(series, 252), sharpe_error(series), probabilistic_sharpe(series), deflated_sharpe(series, Trials(9, 0.01)),
            minimum_track_record(series), *sharpe_interval(series, 252),
        ]  # fmt: skip
        assert all(math.isnan(number) for number in numbers)


def test_all_losses_and_lonely_moves_are_numbers():
    losses = -np.abs(SOME)
    assert sharpe(losses, 252) < -5
    assert probabilistic_sharpe(losses) < 1e-9
    assert minimum_track_record(losses) == math.inf
    lonely = np.zeros(300)
    lonely[150] = 0.05
    low, high = sharpe_interval(lonely, 252)
    assert low <= sharpe(lonely, 252) <= high


@given(st.lists(st.floats(-0.5, 0.5), min_size=0, max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_returns_give_a_number_or_nan(returns: list[float]):
    seen = moments(returns)
    assert 0 <= probabilistic_sharpe(seen) <= 1 or math.isnan(probabilistic_sharpe(seen))
    assert math.isnan(seen.sharpe) or seen.kurtosis >= seen.skew**2 + 1 - 1e-9


@given(st.integers(1, 5000), st.integers(1, 5000), st.floats(1e-6, 0.1))
@settings(max_examples=100, deadline=None)
def test_more_trials_never_deflate_less(a: int, b: int, variance: float):
    fewer, more = sorted((a, b))
    assert deflated_sharpe(SEEN, Trials(more, variance)) <= deflated_sharpe(SEEN, Trials(fewer, variance)) + 1e-12


def test_the_interval_is_the_same_for_a_seed_and_about_the_same_for_another():
    first = sharpe_interval(SOME, 252, seed=1)
    assert first == sharpe_interval(pd.Series(SOME), 252, seed=1) == sharpe_interval(list(SOME), 252, seed=1)
    other = sharpe_interval(SOME, 252, seed=2)
    assert first != other
    assert np.allclose(first, other, atol=0.12)
    inner = sharpe_interval(SOME, 252, level=0.5, seed=1)
    assert first.low < inner.low < inner.high < first.high
    assert isinstance(first, Interval)


def test_the_interval_is_what_archs_own_apply_gives():
    from arch.bootstrap import StationaryBootstrap, optimal_block_length

    run = max(1.0, float(optimal_block_length(SOME)["stationary"].iloc[0]))
    ratios = StationaryBootstrap(run, SOME, seed=5).apply(lambda x: np.array([x.mean() / x.std(ddof=1)]), 300)
    assert np.allclose(sharpe_interval(SOME, seed=5, resamples=300), np.quantile(ratios, [0.025, 0.975]), atol=1e-12)


def test_a_thousand_histories_of_eight_years_take_less_than_sixty_milliseconds():
    sharpe_interval(SOME, 252, resamples=2)  # imports
    took = []
    for _ in range(5):
        started = process_time()
        sharpe_interval(SOME, 252)
        took.append(process_time() - started)
    assert min(took) < 0.06


def test_the_module_itself_needs_neither_scipy_nor_arch():
    program = "import sys, trading_core.backtest.sharpe as s; s.deflated_sharpe([.01, .02, -.01], [.1, .2]); sys.exit('arch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


# Monte Carlo. `make test-long` draws as many as the names say; otherwise a part of them has to be as good as chance allows.


def noise(seed: int, tries: int, days: int = EIGHT_YEARS, yearly: float = 0.0) -> np.ndarray:
    "Returns (tries, days) with fat tails; each with its own true Sharpe ratio a year."
    drawn = np.random.default_rng(seed).standard_t(5, (tries, days)) * math.sqrt(3 / 5)
    return 0.01 * (drawn + yearly / math.sqrt(252))


def test_a_nominal_five_per_cent_test_flags_at_most_seven_of_a_hundred_noise_strategies():
    flagged = np.mean([probabilistic_sharpe(returns) > 0.95 for returns in noise(1, 1000)])
    assert 0.03 <= flagged <= 0.07


def test_a_true_sharpe_ratio_of_one_and_a_half_is_found_in_eight_years():
    skilled = noise(2, 300, yearly=1.5)
    assert np.mean([probabilistic_sharpe(returns) > 0.95 for returns in skilled]) >= 0.80
    assert np.mean([deflated_sharpe(returns, Trials(10)) > 0.95 for returns in skilled]) >= 0.80


def best_of_searches(seed: int, searches: int, tries: int, correlation: float = 0.0) -> float:
    "Share of noise searches, of two years each, whose best one passes the deflated test."
    rng, flagged = np.random.default_rng(seed), 0
    for _ in range(searches):
        own, shared = rng.standard_normal((tries, 504)), rng.standard_normal(504)
        columns = math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * own
        ratios = columns.mean(axis=1) / columns.std(axis=1, ddof=1)
        flagged += deflated_sharpe(columns[ratios.argmax()], ratios) > 0.95
    return flagged / searches


def test_the_best_of_a_noise_search_is_not_flagged():
    assert best_of_searches(20, searches=100, tries=100) <= 0.02


def test_an_interval_of_95_per_cent_misses_the_truth_about_once_in_twenty_times():
    outside = [not low <= 0 <= high for low, high in (sharpe_interval(x, resamples=200) for x in noise(3, 150))]
    assert np.mean(outside) <= 0.10


def at_most(share: float, rate: float, drawn: int) -> float:
    "The share allowed of all; of a part of them, what a true `rate` exceeds once in a hundred times."
    return share if LONG else max(share, float(stats.binom.ppf(0.99, drawn, rate)) / drawn)


@pytest.mark.slow
def test_intervals_of_a_thousand_noise_strategies_miss_zero_at_most_seven_times_in_a_hundred():
    drawn = noise(4, size(150, 1000))
    outside = [
        not low <= 0 <= high for low, high in (sharpe_interval(x, resamples=400, seed=n) for n, x in enumerate(drawn))
    ]
    assert np.mean(outside) <= at_most(0.07, 0.05, len(drawn))


@pytest.mark.slow
def test_intervals_hold_for_days_that_resemble_the_day_before():
    outside, drawn = [], noise(5, size(100, 250))
    for n, shocks in enumerate(drawn):
        runs = pd.Series(shocks).ewm(alpha=0.7).mean().to_numpy()
        low, high = sharpe_interval(runs, resamples=400, seed=n)
        outside.append(not low <= 0 <= high)
    assert np.mean(outside) <= at_most(0.09, 0.07, len(drawn))


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_the_best_of_a_thousand_noise_strategies_is_flagged_at_most_seven_times_in_a_hundred(correlation: float):
    assert best_of_searches(100, searches=size(100, 400), tries=1000, correlation=correlation) <= 0.07


def test_correlated_tries_count_for_fewer_and_equal_ones_for_one():
    assert independent_trials(noise(6, 300, days=500).T) == pytest.approx(300, abs=3)
    one = noise(7, 1, days=500)
    assert independent_trials(np.repeat(one, 40, axis=0).T) == pytest.approx(1)
    assert independent_trials(np.zeros((100, 5))) == 0
    assert independent_trials(one.T) == 1


def test_the_moments_of_a_thousand_strategies_take_less_than_a_second():
    columns = noise(8, 1000)
    started = perf_counter()
    for returns in columns:
        deflated_sharpe(returns, Trials(1000))
    assert perf_counter() - started < 3
