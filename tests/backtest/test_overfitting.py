"""Probability of backtest overfitting: against the direct way, by its symmetries, and for speed and memory."""

from __future__ import annotations

import pickle
import tracemalloc
import warnings
from collections.abc import Iterator
from itertools import combinations
from time import process_time

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from trading_core.backtest.overfitting import BlocksError, Overfitting, overfitting, overfitting_figure


@pytest.fixture(autouse=True)
def no_warning_is_hidden() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def noise(seed: int, days: int, tries: int) -> np.ndarray:
    return 0.01 * np.random.default_rng(seed).standard_normal((days, tries))


def the_direct_way(returns: np.ndarray, blocks: int) -> dict[str, float]:
    "CSCV as the paper writes it: gather the days of each half, measure, rank."
    parts = np.array_split(returns, blocks)
    logits, inside, outside = [], [], []
    for chosen in combinations(range(blocks), blocks // 2):
        first = np.vstack([parts[block] for block in chosen])
        second = np.vstack([parts[block] for block in range(blocks) if block not in chosen])
        ratios = first.mean(axis=0) / first.std(axis=0, ddof=1), second.mean(axis=0) / second.std(axis=0, ddof=1)
        best = int(ratios[0].argmax())
        share = stats.rankdata(ratios[1])[best] / (returns.shape[1] + 1)
        logits.append(np.log(share / (1 - share)))
        inside.append(ratios[0][best])
        outside.append(ratios[1][best])
    return {
        "pbo": float(np.mean(np.array(logits) <= 0)), "loss": float(np.mean(np.array(outside) < 0)),
        "slope": float(stats.linregress(inside, outside).slope), "logits": float(np.sum(np.sort(logits))),
    }  # fmt: skip


@pytest.mark.parametrize(("days", "tries", "blocks"), [(400, 20, 8), (403, 7, 6), (90, 2, 2), (640, 31, 10)])
def test_sums_of_blocks_give_what_the_direct_way_gives(days: int, tries: int, blocks: int):
    returns = noise(days, days, tries) + 0.0004
    edges = np.linspace(0, days, blocks + 1).astype(int)
    even = np.array_split(returns, blocks)
    if [len(part) for part in even] != list(np.diff(edges)):  # cut where the module cuts
        returns = returns[: days // blocks * blocks]
    found, direct = overfitting(returns, blocks), the_direct_way(returns, blocks)
    assert found.pbo == direct["pbo"]
    assert found.loss == direct["loss"]
    assert found.slope == pytest.approx(direct["slope"], rel=1e-7)
    assert found.logits.sum() == pytest.approx(direct["logits"], abs=1e-8)


def test_days_that_do_not_divide_by_the_blocks_are_all_used():
    returns = noise(1, 403, 5)
    changed = returns.copy()
    changed[[0, -1]] += 0.3
    assert not np.array_equal(overfitting(returns, 8).chosen_later, overfitting(changed, 8).chosen_later)


def test_noise_gives_one_half_on_average_and_a_skilled_one_almost_nothing():
    of_noise = [overfitting(noise(seed, 480, 40), blocks=8).pbo for seed in range(80)]
    assert np.mean(of_noise) == pytest.approx(0.5, abs=0.1)
    skilled = noise(1, 2016, 100)
    skilled[:, 3] += 0.01 * 3 / 252**0.5
    found = overfitting(skilled)
    assert found.pbo < 0.05
    assert found.loss < 0.05
    assert "holds beyond the days" in found.sentence


def test_neither_scale_nor_the_order_of_columns_matters_and_a_frame_is_as_good_as_an_array():
    returns = noise(3, 320, 12)
    found = overfitting(returns, 8)
    for same in (returns * 1000, pd.DataFrame(returns)):
        other = overfitting(same, 8)
        assert (other.pbo, other.loss) == (found.pbo, found.loss)
    turned = overfitting(returns[:, ::-1], 8)
    assert np.allclose(np.sort(turned.logits), np.sort(found.logits))


def test_a_tiny_edge_on_a_large_mean_keeps_its_digits():
    returns = noise(4, 320, 12) * 1e-4 + 0.01
    assert overfitting(returns, 8).pbo == the_direct_way(returns, 8)["pbo"]


def test_combinations_that_never_traded_rank_as_zero():
    returns = noise(5, 320, 6) - 0.02  # all lose
    returns[:, 2] = 0
    found = overfitting(returns, 8)
    assert found.sharpe_chosen == found.sharpe_later == 0
    assert found.pbo == found.loss == 0


@pytest.mark.parametrize("blocks", [0, 1, 7, 22, -4])
def test_blocks_that_make_no_two_halves_are_refused(blocks: int):
    with pytest.raises(BlocksError, match=f"{blocks} blocks were asked for") as refused:
        overfitting(noise(1, 500, 3), blocks)
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


@pytest.mark.parametrize(
    "returns",
    [
        np.empty((0, 0)),
        np.empty((0, 5)),
        noise(1, 300, 1),
        noise(1, 30, 9),
        np.zeros((300, 4)),
        np.full((300, 4), np.nan),
    ],
    ids=["nothing", "no days", "one combination", "few days", "never moved", "nan"],
)
def test_where_there_is_nothing_to_choose_a_sentence_says_so(returns: np.ndarray):
    found = overfitting(returns)
    assert np.isnan([found.pbo, found.slope, found.loss]).all()
    assert found.splits == 0
    assert found.sentence.startswith("Whether the choice is overfitted cannot be said")
    assert "cannot be said" in found._repr_html_()
    assert overfitting_figure(found) is not None


def test_a_day_without_a_value_counts_as_a_day_without_a_move():
    returns = noise(6, 320, 5)
    holes = returns.copy()
    holes[10:20, 2] = np.nan
    filled = np.nan_to_num(holes)
    assert overfitting(holes, 8) == overfitting(filled, 8)


def test_twelve_thousand_splits_of_a_thousand_combinations_take_two_seconds_and_little_memory():
    returns = noise(7, 2016, 1000)
    overfitting(returns[:, :10])
    started = process_time()  # of this process alone, as other tests share the machine
    found = overfitting(returns)
    seconds = process_time() - started
    assert isinstance(found, Overfitting)
    assert found.splits == 12_870
    assert seconds < 2
    tracemalloc.start()
    overfitting(returns)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * returns.nbytes  # a table of all splits would be 103 MB, six times the returns
