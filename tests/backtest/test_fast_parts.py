"The short ways of the fast engine end where the long ones do."

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_panels import random_panel
from sizes import size

import trading_core
from trading_core.backtest import backtest
from trading_core.backtest.summary import TOGETHER, cash_part, idle_part
from trading_core.backtest.trials import LONG, RECORDER
from trading_core.backtest.words import words_at
from trading_core.data import Panel
from trading_core.model import Asset
from trading_core.portfolio import Costs, RiskLimits
from trading_core.strategies import SmaCross, Strategy
from trading_core.strategies.strategy import SignalError


def walk(symbols: tuple[str, ...], bars: int = 400, interval: str = "1d", seed: int = 1) -> Panel:
    "Random walks; an equity has no bar at weekends."
    days = pd.date_range("2020-01-01", periods=bars, freq="D" if interval == "1d" else "min", tz="UTC", unit="ns")
    rng = np.random.default_rng(seed)
    real = np.ones((bars, len(symbols)), dtype=bool)
    if interval == "1d":
        real[np.ix_(days.day_of_week >= 5, ["/" not in symbol for symbol in symbols])] = False
    close = 100 * np.exp(np.cumsum(np.where(real, rng.normal(0, 0.02, real.shape), 0.0), axis=0))
    arrays = {field: np.asfortranarray(close) for field in ("open", "high", "low", "close")}
    arrays["volume"] = np.asfortranarray(np.where(real, 1e6, 0.0))
    assets = {symbol: Asset.of(symbol) for symbol in symbols}
    return Panel(days, symbols, assets, arrays, np.asfortranarray(real), interval=interval)


@settings(deadline=None)
@given(st.lists(st.text(max_size=6), min_size=1, max_size=5), st.lists(st.integers(0, 4), max_size=30))
def test_words_written_at_once_are_the_words_looked_up(words: list[str], codes: list[int]) -> None:
    places = np.array([code % len(words) for code in codes], dtype=np.int8)
    assert words_at(words, places).tolist() == [words[place] for place in places]


def test_a_word_that_is_longer_than_sixteen_bytes_is_written_whole() -> None:
    words = ("fifteen letters", "sixteen letters!", "seventeen letters", "ключи" * 4)
    assert words_at(words, np.array([3, 1, 2, 0])).tolist() == [words[place] for place in (3, 1, 2, 0)]


@pytest.mark.parametrize("start", [None, "2020-06-01"])
@pytest.mark.parametrize("symbols", [("AAA", "BBB"), ("AAA/USD", "BBB/USD"), ("AAA", "BBB/USD"), ("AAA/USD",)])
def test_what_each_class_has_of_the_account_is_its_positions_at_their_closes(
    symbols: tuple[str, ...], start: str | None
) -> None:
    panel = walk(symbols)
    result = backtest(SmaCross(5, 20), panel, start=start)
    worth = result.positions * panel.close.loc[result.positions.index, result.positions.columns]
    crypto = [symbol for symbol in worth if "/" in symbol]
    parts = {"crypto": worth[crypto].sum(axis=1), "equity": worth.drop(columns=crypto).sum(axis=1)}
    assert len(result.fills) > 10
    for name, value in parts.items():
        np.testing.assert_allclose(result.exposure[name], value / result.equity, atol=1e-9)
    np.testing.assert_allclose(result.exposure.sum(axis=1), 1.0, atol=1e-12)
    assert result.metrics["exposure"] == pytest.approx(1 - result.exposure["cash"].mean(), abs=1e-12)


def test_the_mean_part_of_cash_is_the_same_from_classes_and_from_the_days_on_which_cash_changes() -> None:
    equity, cash = np.array([100.0, 110.0, 120.0, 90.0]), np.array([100.0, 40.0, 40.0, 0.0])
    assert idle_part(np.array([0, 1, 3]), cash[[0, 1, 3]], equity) == pytest.approx(
        cash_part(np.array([equity - cash, equity * 0]), equity)
    )
    assert np.isnan(idle_part(np.zeros(0, np.int64), np.zeros(0), np.zeros(0)))


@pytest.mark.parametrize("row", [0, 199, 399])
def test_a_strength_beyond_one_of_an_asset_that_is_alone_is_refused_wherever_it_stands(row: int) -> None:
    panel = walk(("AAA/USD",))
    strengths = pd.DataFrame(0.5, panel.days, ["AAA/USD"])
    strengths.iloc[row] = -1.5

    @dataclass(frozen=True)
    class Loud(Strategy):
        def signals(self, panel: Panel) -> pd.DataFrame:
            return strengths

    with pytest.raises(SignalError, match=f"AAA/USD on {panel.days[row]:%Y-%m-%d} is -1.5"):
        backtest(Loud(), panel, start=panel.days[100])


def test_a_long_account_is_counted_as_a_try_without_being_kept_in_memory() -> None:
    panel = walk(("AAA/USD",), bars=LONG + 10, interval="1m")
    RECORDER.flush()
    result = backtest(SmaCross(20, 50), panel)
    outcome = RECORDER.waiting[-1].outcome
    assert np.asarray(outcome).shape == (1,)
    returns = result.equity.pct_change().iloc[1:]
    assert float(outcome[0]) == pytest.approx(returns.mean() / returns.std(), rel=1e-9)


@settings(deadline=None, max_examples=size(60, 2_000))
@given(
    seed=st.integers(0, 10**6),
    coin=st.booleans(),
    cash=st.sampled_from([100_000.0, 310.0, 12.0]),
    paid=st.sampled_from([Costs(), Costs(rate=0.01, minimum=1.0), Costs(rate=0.003, slippage_bps=100.0)]),
    late=st.booleans(),
)
def test_one_asset_without_exits_is_traded_as_if_limits_that_never_bind_were_looked_at(
    seed: int, coin: bool, cash: float, paid: Costs, late: bool
) -> None:
    panel = random_panel(seed, equities=1 - coin, coins=int(coin))
    rng = np.random.default_rng(seed)
    drawn = rng.choice([np.nan, -1.0, 0.0, 0.4, 1.0], len(panel.days), p=rng.dirichlet(np.ones(5)))
    strengths = pd.DataFrame({panel.symbols[0]: drawn}, panel.days)

    @dataclass(frozen=True)
    class Drawn(Strategy):
        def signals(self, panel: Panel) -> pd.DataFrame:
            return strengths.loc[panel.days]

    terms = {"cash": cash, "costs": paid, "start": panel.days[len(panel.days) // 3] if late else None}
    freely = backtest(Drawn(), panel, **terms)
    watched = backtest(Drawn(), panel, limits=RiskLimits(max_positions=9, stale_sessions=10_000), **terms)
    for name in ("equity", "fills", "refusals", "pending", "exposure"):
        one, other = (pd.DataFrame(getattr(result, name)) for result in (freely, watched))
        pd.testing.assert_frame_equal(one, other, check_exact=name != "exposure", obj=name)


def test_modules_whose_compiled_functions_contain_one_anothers_are_thrown_away_together() -> None:
    home = Path(trading_core.__file__).parent
    compiling = {path.stem: path.read_text() for path in home.rglob("*.py") if "from numba" in path.read_text()}
    for name, text in compiling.items():
        imported = {
            str(node.module).split(".")[-1] for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)
        }
        for other in imported & compiling.keys():
            assert {name, other} <= set(TOGETHER), f"{name} contains functions of {other}"
    assert set(TOGETHER) <= compiling.keys()
