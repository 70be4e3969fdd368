"""Sizers that look at prices or at the stop: what they share out, what they refuse, and that they cannot see the future."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_panels import panels, random_panel

from trading_core.backtest import backtest
from trading_core.data.panel import Panel
from trading_core.errors import RefusedError
from trading_core.model import ExitRules
from trading_core.portfolio import Costs
from trading_core.strategies import (
    EqualWeight,
    EquityReversal,
    History,
    InverseVolatility,
    ParameterError,
    RiskPerTrade,
    Sizer,
    SmaCross,
    check_sizer,
    load_sizer,
    with_sizer,
)
from trading_core.strategies.sizing import LookbackError, PricesNeededError, StopNeededError, WeightError

strengths = st.lists(st.one_of(st.just(float("nan")), st.floats(-1, 1)), min_size=10, max_size=10).map(np.array)
caps = st.none() | st.floats(0.01, 1)
sizers = st.one_of(
    st.builds(InverseVolatility, gross=st.floats(0.01, 1), lookback=st.integers(2, 40), max_weight=caps),
    st.builds(
        lambda risk, cap, stop: RiskPerTrade(risk, cap).fitted(ExitRules(stop_loss=stop)),
        st.floats(0.001, 0.2), caps, st.floats(0.01, 0.5),
    ),
)  # fmt: skip
PANEL = random_panel(1)


def with_another_future(panel: Panel, row: int, seed: int) -> Panel:
    """The panel with every later row replaced by invented ones."""
    rng, shape = np.random.default_rng(seed), panel.shape
    arrays = {name: array.copy(order="F") for name, array in panel.arrays.items()}
    for name in arrays:
        arrays[name][row + 1 :] = rng.uniform(1, 100, shape)[row + 1 :]
    real = panel.real.copy(order="F")
    real[row + 1 :] = rng.random(shape)[row + 1 :] < 0.5
    return Panel(panel.days, panel.symbols, panel.assets, arrays, real)


@settings(deadline=None)
@given(strengths, sizers, st.integers(0, len(PANEL.days) - 1))
def test_weights_are_a_division_of_one_account_and_only_wishes_weigh(
    wishes: np.ndarray, sizer: Sizer, row: int
) -> None:
    weights = sizer.weights(wishes, History.of(PANEL, row))
    assert weights.shape == wishes.shape
    assert np.isfinite(weights).all()
    assert ((weights > 0) == (wishes > 1e-300)).all() or (wishes[(weights > 0) != (wishes > 0)] < 1e-15).all()
    assert weights.sum() <= getattr(sizer, "gross", 1.0) * (1 + 1e-9)
    if sizer.max_weight is not None:  # type: ignore[attr-defined]
        assert (weights <= sizer.max_weight).all()  # type: ignore[attr-defined]


@settings(deadline=None, max_examples=30)
@given(panels, strengths, sizers, st.integers(0, 10_000), st.integers(0, 99))
def test_no_sizer_sees_what_comes_after_the_day(
    panel: Panel, wishes: np.ndarray, sizer: Sizer, seed: int, part: int
) -> None:
    row = part * (len(panel.days) - 1) // 100
    other = with_another_future(panel, row, seed)
    now, then, cut = (
        sizer.weights(wishes, History.of(*seen))
        for seen in ((panel, row), (other, row), (panel.until(panel.days[row]), row))
    )
    np.testing.assert_array_equal(now, then)
    np.testing.assert_array_equal(now, cut)


@given(strengths, st.floats(0.01, 1))
def test_with_the_same_volatility_everywhere_inverse_volatility_is_equal_weight(
    wishes: np.ndarray, gross: float
) -> None:
    close = np.tile((100 * 1.01 ** (np.arange(30) % 3))[:, None], 10)
    seen = History(close, np.ones_like(close, dtype=bool))
    np.testing.assert_allclose(
        InverseVolatility(gross).weights(wishes, seen), EqualWeight(gross).weights(wishes), rtol=1e-9, atol=1e-300
    )


def test_a_carried_price_is_no_calm_day() -> None:
    traded = np.array([100.0, 104.0, 99.0, 103.0, 98.0])
    close = np.column_stack([np.repeat(traded, 2), np.append(np.full(5, traded[0]), traded)])
    real = np.column_stack([np.arange(10) % 2 == 0, np.arange(10) >= 5])
    seen = History(close, real)
    assert seen.own(0, 5).tolist() == seen.own(1, 5).tolist() == traded.tolist()
    assert seen.volatility(0, 4) == seen.volatility(1, 4)
    assert seen.volatility(0, 4) == pytest.approx(np.std(traded[1:] / traded[:-1], ddof=1), rel=1e-12)
    assert np.isnan(seen.volatility(0, 5))


def test_an_asset_without_a_history_is_taken_for_the_wildest_of_the_day() -> None:
    rng = np.random.default_rng(1)
    close = 100 * np.exp((rng.standard_normal((60, 3)) * [0.005, 0.03, 0.01]).cumsum(axis=0))
    real = np.ones_like(close, dtype=bool)
    real[:-3, 2] = False
    weights = InverseVolatility(lookback=20).weights(np.ones(3), History(close, real))
    assert weights[2] == weights[1] < weights[0]
    flat = np.full((60, 3), 5.0)
    np.testing.assert_allclose(InverseVolatility().weights(np.ones(3), History(flat, real)), [1 / 3] * 3)


def test_two_per_cent_of_the_account_are_lost_when_a_lone_trade_hits_its_stop() -> None:
    panel = random_panel(3, equities=1, coins=0, start="2024-01-02", end="2024-03-28")
    strategy = with_sizer(SmaCross(fast=2, slow=4), EqualWeight())

    @dataclass(frozen=True)
    class Stopped(SmaCross):
        exits = ExitRules(stop_loss=0.04)

    strategy = with_sizer(Stopped(fast=2, slow=4), RiskPerTrade(risk=0.02))
    result = backtest(strategy, panel, costs=Costs(rate=0.0))
    first = result.fills.iloc[0]
    close = panel.close.iloc[:, 0]
    decided = close.index[close.index.searchsorted(first["day"]) - 1]
    weight = first["quantity"] * close[decided] / result.equity[decided]
    assert weight == pytest.approx(0.02 / 0.04, abs=1e-4)


def test_a_backtest_sizes_by_the_sizer_that_was_given() -> None:
    panel = random_panel(5)
    own = backtest(EquityReversal(lowest=0.5), panel)
    calm = backtest(with_sizer(EquityReversal(lowest=0.5), InverseVolatility(lookback=5)), panel)
    one = backtest(with_sizer(EquityReversal(lowest=0.5), EqualWeight()), panel)
    assert own.fills.equals(one.fills)
    assert list(own.fills["symbol"][:3]) == list(calm.fills["symbol"][:3])
    assert not np.allclose(own.fills["quantity"][:3], calm.fills["quantity"][:3])


def test_a_given_sizer_survives_pickling_and_leaves_the_strategy_as_it_was() -> None:
    idea = EquityReversal()
    given_one = pickle.loads(pickle.dumps(with_sizer(idea, RiskPerTrade(risk=0.01))))
    assert given_one.sizing == RiskPerTrade(risk=0.01).fitted(idea.exits)
    assert given_one.sizing.weights(np.array([1.0]))[0] == pytest.approx(0.2)
    assert (given_one, given_one.parameters) == (idea, idea.parameters)
    assert idea.sizing == EqualWeight()


def test_the_sizers_of_this_package_do_not_look_ahead() -> None:
    panel = random_panel(11)
    for sizer in (EqualWeight(), InverseVolatility(), RiskPerTrade()):
        report = check_sizer(with_sizer(EquityReversal(lowest=0.5), sizer), panel)
        assert report.ok
        assert report.compared > 10


def test_a_sizer_that_is_none_is_refused_before_anything_runs() -> None:
    class Careless(EquityReversal):
        sizer = EqualWeight  # the class, not one of it

    with pytest.raises(ParameterError, match=r"Careless\.sizer needs a sizer such as EqualWeight\(max_weight=0\.1\)"):
        backtest(Careless(), random_panel(5))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: InverseVolatility(gross=20), WeightError, r"InverseVolatility\.gross needs a fraction"),
        (lambda: InverseVolatility(lookback=1), LookbackError, "needs a whole number of bars, 2 or more, but got 1"),
        (lambda: InverseVolatility(lookback=2.5), LookbackError, "got 2.5"),
        (lambda: RiskPerTrade(risk=2), WeightError, r"RiskPerTrade\.risk needs a fraction"),
        (lambda: RiskPerTrade(max_weight=0), WeightError, r"RiskPerTrade\.max_weight needs a fraction"),
        (lambda: with_sizer(SmaCross(), RiskPerTrade()), StopNeededError, "but SmaCross has none. Give it one"),
        (lambda: RiskPerTrade().weights(np.ones(1)), StopNeededError, "the strategy has none"),
        (lambda: InverseVolatility().weights(np.ones(1)), PricesNeededError, "needs the closes up to the day"),
        (lambda: load_sizer("Equalweight"), RefusedError, "Did you mean 'EqualWeight'"),
        (lambda: load_sizer("Sizer"), RefusedError, "'Sizer' is not known"),
        (lambda: load_sizer("InverseVolatility", lokback=3), RefusedError, "Did you mean 'lookback'"),
        (lambda: load_sizer("RiskPerTrade", stop_loss=0.1), RefusedError, "'stop_loss' is not known"),
    ],
)  # fmt: skip
def test_a_sizer_that_cannot_be_meant_is_refused_with_a_sentence(make, error, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=words) as refused:
        make()
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)
