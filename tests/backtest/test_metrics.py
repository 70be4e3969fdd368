"""Metrics against formulas written down a second time, and the edges where there is nothing to measure."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_core.backtest.metrics import (
    TRADE_COLUMNS,
    OversoldError,
    benchmark_of,
    days_under_water,
    drawdown,
    metrics_of,
    monthly_returns,
    return_metrics,
    returns_of,
    trade_metrics,
    trades_from_fills,
    worst_fall,
)
from trading_core.data import HybridDataNormalizer, SimulatedBars, load_panel
from trading_core.errors import DataError

NAMES = [
    "total_return",
    "cagr",
    "volatility",
    "sharpe",
    "sortino",
    "calmar",
    "max_drawdown",
    "max_drawdown_day",
    "recovered_day",
    "time_under_water",
    "trades",
    "win_rate",
    "profit_factor",
    "avg_trade",
    "turnover",
    "fees",
    "exposure",
    "best_day",
    "worst_day",
]
FILL_COLUMNS = ["day", "symbol", "side", "quantity", "price", "fee", "reason", "strategy"]


def account(values, start="2023-01-02"):
    return pd.Series(list(values), pd.date_range(start, periods=len(values), tz="UTC"), dtype=float)


accounts = st.lists(st.floats(10, 1000), min_size=2, max_size=60).map(account)


@settings(max_examples=30, deadline=None)
@given(accounts, st.sampled_from([252, 365]))
def test_growth_and_risk_agree_with_their_formulas(equity, year):
    found = return_metrics(equity, year)
    moves = equity.to_numpy()[1:] / equity.to_numpy()[:-1] - 1
    assert found["total_return"] == pytest.approx(equity.iloc[-1] / equity.iloc[0] - 1, rel=1e-6, abs=1e-9)
    growth = (equity.iloc[-1] / equity.iloc[0]) ** (year / len(moves)) - 1
    if np.isfinite(growth):
        assert found["cagr"] == pytest.approx(growth, rel=1e-6, abs=1e-9)
    if len(moves) > 1 and moves.std(ddof=1) > 1e-9:
        assert found["volatility"] == pytest.approx(moves.std(ddof=1) * year**0.5, rel=1e-9)
        assert found["sharpe"] == pytest.approx(moves.mean() / moves.std(ddof=1) * year**0.5, rel=1e-6, abs=1e-9)
    downside = np.sqrt((np.minimum(moves, 0) ** 2).mean())
    if len(moves) > 1 and downside > 1e-9:
        assert found["sortino"] == pytest.approx(moves.mean() / downside * year**0.5, rel=1e-6, abs=1e-9)
    assert (found["best_day"], found["worst_day"]) == pytest.approx((moves.max(), moves.min()))


@settings(max_examples=30, deadline=None)
@given(accounts)
def test_the_worst_fall_spans_a_high_a_low_and_its_recovery(equity):
    fall, below = worst_fall(equity), drawdown(equity)
    assert below.between(-1, 0).all()
    assert fall["depth"] == below.min()
    if fall["depth"] == 0:
        assert fall[["high", "low", "back"]].isna().all()
        return
    assert fall["high"] < fall["low"]
    assert equity[fall["high"]] == equity[: fall["low"]].max()
    assert equity[fall["low"]] / equity[fall["high"]] - 1 == pytest.approx(fall["depth"])
    if fall["back"] is pd.NaT:
        assert (equity[fall["low"] :] < equity[fall["high"]]).all()
    else:
        assert equity[fall["back"]] >= equity[fall["high"]]
        assert (equity[fall["low"] : fall["back"]].iloc[:-1] < equity[fall["high"]]).all()


@settings(max_examples=30, deadline=None)
@given(accounts)
def test_days_under_water_agree_with_counting(equity):
    longest, since, high, fell = 0, equity.index[0], equity.iloc[0], False
    for day, value in equity.items():
        if value < high:
            fell = True
            longest = max(longest, (day - since).days)
        else:
            longest = max(longest, (day - since).days) if fell else longest
            since, high, fell = day, value, False
    assert days_under_water(equity) == longest


def test_a_weekend_between_two_highs_is_not_under_water():
    friday = pd.DatetimeIndex(["2024-01-04", "2024-01-05", "2024-01-08"], tz="UTC")
    assert days_under_water(pd.Series([1.0, 2.0, 3.0], friday)) == 0
    assert days_under_water(pd.Series([1.0, 3.0, 2.0], friday)) == 3


def test_months_multiply_to_years_and_years_to_the_whole():
    equity = account(np.exp(np.random.default_rng(0).normal(0, 0.01, 800).cumsum()), "2021-11-20")
    table = monthly_returns(equity)
    assert list(table.columns) == [*range(1, 13), "Year"]
    assert list(table.index) == [2021, 2022, 2023, 2024]
    np.testing.assert_allclose((1 + table.drop(columns="Year")).prod(axis=1) - 1, table["Year"])
    assert (1 + table["Year"]).prod() == pytest.approx(equity.iloc[-1] / equity.iloc[0])
    assert table.loc[2021].notna().tolist() == [False] * 10 + [True, True, True]
    assert table.loc[2022, 3] == pytest.approx(equity["2022-03-31"] / equity["2022-02-28"] - 1)


# Round trips


def fills_of(*rows):
    days = pd.date_range("2024-01-01", periods=30, tz="UTC")
    return pd.DataFrame([(days[day], *rest) for day, *rest in rows], columns=FILL_COLUMNS)


def test_two_symbols_do_not_mix_and_rows_come_in_order_of_the_sales():
    fills = fills_of(
        (0, "A", "buy", 1, 10, 0, "signal", "x"),
        (0, "B", "buy", 2, 20, 0, "signal", "y"),
        (1, "B", "sell", 2, 22, 0, "time_stop", "y"),
        (2, "A", "sell", 1, 9, 0, "stop_loss", "x"),
    )
    trades = trades_from_fills(fills)
    assert list(trades.columns) == TRADE_COLUMNS
    assert trades[["symbol", "pnl", "reason", "strategy"]].to_numpy().tolist() == [
        ["B", 4.0, "time_stop", "y"],
        ["A", -1.0, "stop_loss", "x"],
    ]


def test_a_new_entry_after_a_full_sale_starts_anew():
    fills = fills_of(
        (0, "A", "buy", 0.1, 10, 0.01, "signal", "x"),
        (1, "A", "buy", 0.2, 10, 0.02, "signal", "x"),
        (2, "A", "sell", 0.3, 11, 0, "signal", "x"),  # 0.1 + 0.2 is not 0.3 in floats
        (5, "A", "buy", 1, 50, 0, "signal", "x"),
        (6, "A", "sell", 1, 55, 0, "signal", "x"),
    )
    trades = trades_from_fills(fills)
    assert trades["entry_price"].tolist() == pytest.approx([10, 50])
    assert trades["entry_day"].dt.day.tolist() == [1, 6]
    assert trades["pnl"].tolist() == pytest.approx([0.3 - 0.03, 5])


def test_fees_are_shared_in_proportion_and_counted_once():
    fills = fills_of(
        (0, "A", "buy", 4, 100, 8, "signal", "x"),
        (1, "A", "sell", 1, 100, 0, "resize", "x"),
        (2, "A", "sell", 3, 100, 1, "signal", "x"),
    )
    trades = trades_from_fills(fills)
    assert trades["pnl"].tolist() == pytest.approx([-2, -7])
    assert trades["return"].tolist() == pytest.approx([-0.02, -7 / 300])


moves = st.lists(
    st.tuples(st.sampled_from("AB"), st.floats(0.1, 10), st.floats(1, 100), st.floats(0, 1), st.floats(0.05, 1)),
    max_size=30,
)


@settings(max_examples=30, deadline=None)
@given(moves)
def test_what_closed_positions_earned_is_what_happened_to_the_cash(actions):
    rows, held, day = [], {"A": 0.0, "B": 0.0}, 0
    for number, (symbol, quantity, price, fee, part) in enumerate(actions):
        day = number // 2
        if held[symbol] > 1e-9 and number % 3 == 0:  # less is the dust of a float, no position
            quantity = held[symbol] * part
            rows.append((day, symbol, "sell", quantity, price, fee, "signal", "x"))
            held[symbol] -= quantity
        else:
            rows.append((day, symbol, "buy", quantity, price, fee, "signal", "x"))
            held[symbol] += quantity
    for symbol, quantity in held.items():
        if quantity > 1e-9:
            rows.append((day, symbol, "sell", quantity, 50.0, 0.5, "signal", "x"))
    fills = fills_of(*rows)
    value = fills["quantity"].astype(float) * fills["price"].astype(float)
    cash = (value.where(fills["side"] == "sell", -value) - fills["fee"].astype(float)).sum()
    trades = trades_from_fills(fills)
    assert trades["pnl"].astype(float).sum() == pytest.approx(cash, rel=1e-6, abs=1e-6)
    assert len(trades) == (fills["side"] == "sell").sum()


def test_selling_more_than_was_bought_is_refused_by_symbol_and_day():
    fills = fills_of((0, "A", "buy", 1, 10, 0, "signal", "x"), (3, "A", "sell", 2, 10, 0, "signal", "x"))
    with pytest.raises(OversoldError, match=r"^A: 2 were sold on 2024-01-04, but .* only 1 ") as refused:
        trades_from_fills(fills)
    assert isinstance(refused.value, DataError)
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def test_no_fills_make_an_empty_table_with_all_columns():
    trades = trades_from_fills(pd.DataFrame(columns=FILL_COLUMNS))
    assert list(trades.columns) == TRADE_COLUMNS
    assert trades.empty
    assert trade_metrics(trades)["trades"] == 0


# All together


def exposure_of(equity, cash=0.4):
    return pd.DataFrame({"equity": 1 - cash, "crypto": 0.0, "cash": cash}, equity.index)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_short_accounts_give_nan_and_never_an_error(rows, recwarn):
    equity = account([100.0, 101.0][:rows])
    fills = pd.DataFrame(columns=FILL_COLUMNS)
    found = metrics_of(equity, trades_from_fills(fills), fills, exposure_of(equity), 365)
    assert list(found.index) == NAMES
    assert np.isnan(found["sharpe"])
    assert np.isnan(found["win_rate"])
    assert found["trades"] == 0
    assert not [warning for warning in recwarn if "trading_core" in str(warning.filename)]


def test_metrics_count_fees_turnover_and_exposure():
    equity = account([100.0] * 11)
    fills = fills_of((0, "A", "buy", 1, 50, 0.25, "signal", "x"), (5, "A", "sell", 1, 60, 0.25, "signal", "x"))
    found = metrics_of(equity, trades_from_fills(fills), fills, exposure_of(equity), 365)
    assert found["fees"] == 0.5
    assert found["exposure"] == pytest.approx(0.6)
    assert found["turnover"] == pytest.approx(110 / 100 / (10 / 365))
    assert found["avg_trade"] == pytest.approx(9.5 / 50)


def test_sharpe_does_not_care_whether_weekends_are_rows_if_the_year_is_told():
    sessions = account(np.exp(np.random.default_rng(1).normal(0.001, 0.01, 1000).cumsum()), "2020-01-01")
    sessions = sessions[sessions.index.day_of_week < 5]
    every_day = sessions.reindex(pd.date_range(sessions.index[0], sessions.index[-1], tz="UTC")).ffill()
    ratio = return_metrics(every_day, 365)["sharpe"] / return_metrics(sessions, 261)["sharpe"]
    assert ratio == pytest.approx(1, abs=0.02)


def test_returns_are_not_filled_over_a_gap():
    assert returns_of(account([1.0, np.nan, 2.0])).isna().tolist() == [True, True]


def test_a_benchmark_of_a_series_starts_with_the_cash_on_the_first_day():
    closes = account([10, 11, 12, 9])
    lazy = benchmark_of(closes, closes.index[1], 1000)
    assert lazy.tolist() == pytest.approx([1000, 1000 * 12 / 11, 1000 * 9 / 11])


def test_a_benchmark_that_starts_between_sessions_carries_its_last_close():
    closes = account([10, 11, 12, 9]).iloc[[0, 3]]
    lazy = benchmark_of(closes, closes.index[0] + pd.Timedelta(days=1), 1000)
    assert lazy.tolist() == pytest.approx([1000])


def test_equal_parts_are_bought_once_and_held():
    days = pd.date_range("2024-01-02", periods=3, tz="UTC")
    bars = {
        symbol: pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), closes) | {"volume": 1.0}, index=days)
        for symbol, closes in {"AAA": [10.0, 20.0, 10.0], "BBB": [10.0, 5.0, 10.0]}.items()
    }
    held = benchmark_of(HybridDataNormalizer().normalize(bars), days[0], 1000)
    assert held.tolist() == pytest.approx([1000, 1250, 1000])  # made equal again each day, it would end with 1562.50
    assert held.name == "equal parts, held"


def test_equal_parts_begin_when_shares_and_coins_can_be_bought():
    market = SimulatedBars(seed=7)
    symbols = ["CUPO", "EVOQ", "BTC/USD"]
    panel = load_panel(market, symbols, "2015-01-01", "2015-03-31")
    assert panel.close.iloc[0].notna().sum() == 1  # on New Year's Day the coin alone
    held = benchmark_of(panel, "2015-01-01", 1000)
    assert held.index[0] == pd.Timestamp("2015-01-02", tz="UTC")
    grown = panel.adjusted.close.iloc[-1] / panel.adjusted.close.iloc[1]
    assert held.iloc[-1] == pytest.approx(1000 * grown.mean())
    assert held.name == "equal parts, held"
