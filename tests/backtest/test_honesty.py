"""Turnover, break-even cost, the sentence, and the further metrics."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_core.backtest.edge import (
    Honesty,
    break_even_cost,
    cost_curve,
    honesty,
    paid_cost,
    traded_shares,
    turnover,
    verdict,
)  # fmt: skip
from trading_core.backtest.metrics import returns_of
from trading_core.backtest.more_metrics import by_period, by_symbol, compared, rolling_sharpe, streaks, tail_metrics
from trading_core.backtest.overfitting import overfitting
from trading_core.backtest.sharpe import Trials, deflated_sharpe, sharpe

COLUMNS = ["day", "symbol", "side", "quantity", "price", "fee"]
DAYS = pd.date_range("2016-01-04", periods=2016, freq="B", tz="UTC")
NO_FILLS = pd.DataFrame(columns=COLUMNS)


@pytest.fixture(autouse=True)
def no_warning_is_hidden() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def account(seed: int = 1, drift: float = 0.0006, days: int = 2016) -> pd.Series:
    moves = np.random.default_rng(seed).normal(drift, 0.01, days)
    return pd.Series(100_000 * np.cumprod(1 + moves), DAYS[:days])


def fills_of(equity: pd.Series, every: int = 5, fee: float = 0.0) -> pd.DataFrame:
    "Half of the account traded each `every` days."
    days = equity.index[every::every]
    rows = [
        (day, "ACME", "buy" if n % 2 else "sell", equity[day] / 200, 100.0, equity[day] / 2 * fee)
        for n, day in enumerate(days)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_six_days_by_hand():
    equity = pd.Series([100.0, 110, 99, 120, 120, 132], DAYS[:6])
    fills = pd.DataFrame([(DAYS[1], "A", "buy", 5, 10, 0.5), (DAYS[3], "A", "sell", 5, 12, 0.6)], columns=COLUMNS)
    assert traded_shares(equity, fills).tolist() == [0, 50 / 100, 0, 60 / 99, 0, 0]
    assert paid_cost(fills) == pytest.approx(1.1 / 110)
    limit = break_even_cost(equity, fills)
    assert (1.1 - limit / 2) * 0.9 * (120 / 99 - limit * 60 / 99) * 1.1 == pytest.approx(1)
    assert turnover(equity, fills, 252) == pytest.approx(110 / equity.mean() / (5 / 252))


def test_at_the_break_even_cost_the_total_return_is_zero():
    equity = account()
    fills = fills_of(equity)
    limit = break_even_cost(equity, fills)
    days = 1 + returns_of(equity) - limit * traded_shares(equity, fills).iloc[1:]
    assert days.prod() == pytest.approx(1)
    curve = cost_curve(equity, fills, 252, [0.0, limit, 2 * limit])
    assert curve.iloc[0] == pytest.approx(sharpe(returns_of(equity), 252))
    assert curve.iloc[0] > curve.iloc[1] > 0 > curve.iloc[2]


def test_turnover_is_that_of_the_metrics():
    from trading_core.backtest.metrics import metrics_of, trades_from_fills

    equity, fills = account(), fills_of(account())
    exposure = pd.DataFrame({"cash": 1.0}, equity.index)
    more = fills.assign(reason="signal", strategy="S")
    metrics = metrics_of(equity, trades_from_fills(more[:0]), fills, exposure, 252)
    assert turnover(equity, fills, 252) == pytest.approx(metrics["turnover"])


def test_decimals_of_a_ledger_are_as_good_as_floats():
    equity, fills = account(), fills_of(account(), fee=0.001)
    exact = fills.assign(
        **{name: [Decimal(str(value)) for value in fills[name]] for name in ("quantity", "price", "fee")}
    )
    assert honesty(equity, exact, 252) == honesty(equity, fills, 252)


def test_it_composes_what_the_parts_say():
    equity, fills, trials = account(), fills_of(account()), Trials(1000, 0.0005)
    sweep = np.random.default_rng(3).standard_normal((500, 20))
    said = honesty(equity, fills, 252, trials, overfitted=overfitting(sweep, 8))
    assert said.sharpe == sharpe(returns_of(equity), 252)
    assert said.deflated == deflated_sharpe(returns_of(equity), trials)
    assert said.pbo == overfitting(sweep, 8).pbo
    assert said.days == 2015
    assert said == honesty(equity, fills, 252, trials, overfitted=overfitting(sweep, 8))
    assert pickle.loads(pickle.dumps(said)) == said
    assert verdict(said) == said.sentence


@pytest.mark.parametrize(
    ("equity", "trials", "begins"),
    [
        (account(1, 0.0020), Trials(1000), "With 1,000 tries a Sharpe ratio of 1.15 is what luck alone would give; 2.94 is more than luck explains"),
        (account(2, 0.0004), Trials(1000), "With 1,000 tries a Sharpe ratio of 1.15 is what luck alone would give; −0.19 is not even that much"),
        (account(3, 0.0004), Trials(1), "With one try, a Sharpe ratio of 1.08 is more than luck explains"),
        (account(4, -0.0010), Trials(1), "With one try, a Sharpe ratio of −1.52 is a loss"),
        (account(5, 0.0002), None, "How much was tried before is not known; if this was the first try, a Sharpe ratio of 0."),
    ],
    ids=["found", "luck", "alone", "loss", "unknown"],
)  # fmt: skip
def test_the_sentence_says_what_it_means(equity: pd.Series, trials: Trials | None, begins: str):
    said = honesty(equity, fills_of(equity), 252, trials)
    assert said.sentence.startswith(begins), said.sentence
    assert "nan" not in said.sentence
    assert "inf" not in said.sentence


@pytest.mark.parametrize(
    "equity",
    [
        account()[:0],
        account()[:1],
        account()[:2],
        account()[:3],
        account() * 0 + 5,
        account() * math.nan,
        account() * 0,
    ],
    ids=["none", "one", "two", "three", "constant", "nan", "zero"],
)
def test_where_nothing_can_be_said_it_is_said_without_an_error(equity: pd.Series):
    for trials in (None, Trials(1), Trials(1000, 0.1), Trials(5, 0.0)):
        said = honesty(equity, NO_FILLS, 252, trials)
        assert not said.passed
        assert math.isnan(said.break_even)
        assert "nan" not in said.sentence + "".join(said.figures().values())
        assert said._repr_html_().startswith('<details class="honest doubtful" open>')


def test_fills_of_days_after_the_last_or_before_the_first_do_not_break_it():
    equity = account()[10:60]
    fills = pd.DataFrame([(DAYS[0], "A", "buy", 1, 10, 0), (DAYS[80], "A", "sell", 1, 10, 0)], columns=COLUMNS)
    assert traded_shares(equity, fills).sum() == pytest.approx(10 / equity.iloc[0] + 10 / equity.iloc[-2])


def test_more_tries_never_make_a_result_look_better():
    equity, fills = account(), fills_of(account())
    ladder = [honesty(equity, fills, 252, Trials(count)) for count in (1, 10, 100, 1000, 10_000)]
    assert [said.deflated for said in ladder] == sorted((said.deflated for said in ladder), reverse=True)
    assert [said.track_days for said in ladder] == sorted(said.track_days for said in ladder)


def test_a_rows_year_follows_the_calendar():
    equity, fills = account(), fills_of(account())
    stocks, coins = honesty(equity, fills, 252, Trials(9)), honesty(equity, fills, 365, Trials(9))
    assert coins.sharpe / stocks.sharpe == pytest.approx(math.sqrt(365 / 252))
    assert coins.deflated == pytest.approx(stocks.deflated)  # the evidence is the same
    assert coins.track_days == pytest.approx(stocks.track_days)


def test_the_block_is_folded_but_not_gone_and_shows_every_figure():
    said = honesty(account(), fills_of(account()), 252, Trials(7))
    block = said._repr_html_()
    assert block.startswith("<details")
    assert block.count("<tr>") == len(said.figures()) == 10
    assert "<script" not in block
    assert "http" not in block


# Further metrics


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0, math.nan]), max_size=40))
@settings(max_examples=200, deadline=None)
def test_streaks_are_what_counting_gives(results: list[float]):
    longest = {1.0: 0, -1.0: 0}
    last, run = 0.0, 0
    for sign in (x for x in results if not math.isnan(x)):
        run = run + 1 if sign == last else 1
        last = sign
        if sign:
            longest[sign] = max(longest[sign], run)
    assert streaks(np.array(results)).tolist() == [longest[1.0], longest[-1.0], int(run * last)]


def test_a_rolling_ratio_is_the_ratio_of_each_window():
    equity = account()
    found = rolling_sharpe(equity, 252, window=60)
    assert found.index.equals(equity.index)
    assert found.iloc[:60].isna().all()
    returns = returns_of(equity)
    for end in (60, 333, 2015):
        assert found.iloc[end] == pytest.approx(sharpe(returns.iloc[end - 60 : end], 252), abs=1e-9)


def test_years_multiply_to_the_whole_and_their_falls_are_within_it():
    from trading_core.backtest.metrics import drawdown

    equity = account()
    years = by_period(equity, 252)
    assert (1 + years["return"]).prod() == pytest.approx(equity.iloc[-1] / equity.iloc[0])
    assert (years["max_drawdown"] >= drawdown(equity).min() - 1e-12).all()
    months = by_period(equity, 252, "month")
    assert list(months.index) == list(range(1, 13))
    assert by_period(equity[:1], 252).empty


def test_an_account_that_never_moved_has_no_ratio_in_any_table():
    flat = account() * 0 + 7
    assert rolling_sharpe(flat, 252).isna().all()
    assert tail_metrics(flat, 252).isna().all()
    assert by_period(flat, 252)["sharpe"].isna().all()
    assert compared(flat, 252)[["empyrical", "quantstats"]].isna().all().all()
    assert by_symbol(pd.DataFrame(columns=["symbol", "pnl", "return", "entry_day", "exit_day"])).empty


def test_a_symbols_row_is_its_own_round_trips():
    trades = pd.DataFrame({
        "symbol": ["A", "B", "A"], "pnl": [3.0, -3.0, 1.0], "return": [0.3, -0.3, 0.1],
        "entry_day": DAYS[[0, 0, 3]], "exit_day": DAYS[[2, 1, 4]],
    })  # fmt: skip
    table = by_symbol(trades)
    assert table.loc["A", ["pnl", "share", "trades", "win_rate", "longest_win", "days_held"]].tolist() == [
        4,
        4,
        2,
        1,
        2,
        1.5,
    ]
    assert math.isnan(table.loc["A", "profit_factor"])
    assert by_symbol(trades[:2])["share"].isna().all()  # nothing in sum to have a share of


def test_where_definitions_agree_so_do_nine_digits():
    for annual_days in (252, 365):
        table = compared(account(), annual_days)
        same = table[table["why"] == ""]
        assert len(same) >= 12
        for library in ("empyrical", "quantstats"):
            told = same[library].dropna()
            assert len(told) >= 10
            assert np.allclose(told, same.loc[told.index, "ours"], atol=1e-9)
        assert table.loc["probabilistic_sharpe"].iloc[[0, 2]].astype(float).diff().abs().max() < 1e-3


def test_importing_them_brings_no_heavy_library():
    program = (
        "import sys; before = set(sys.modules); import trading_core.backtest.edge, trading_core.backtest.more_metrics, trading_core.backtest.tearsheet;"
        "print(*sorted({'arch', 'quantstats', 'empyrical', 'matplotlib', 'seaborn', 'statsmodels'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stdout + done.stderr


def test_the_figures_are_frozen():
    said = honesty(account(), NO_FILLS, 252)
    assert isinstance(said, Honesty)
    with pytest.raises(AttributeError):
        said.sharpe = 9.0  # type: ignore[misc]


def test_a_loss_with_a_mean_return_above_zero_is_told_as_a_loss():
    equity = pd.Series(100_000 * np.cumprod([1.0, *[1.25, 0.79] * 20]), DAYS[:41])
    worth = honesty(equity, fills_of(equity), 252)
    assert worth.sharpe > 0
    assert worth.break_even < 0
    assert "and lost; trades about" in worth.sentence
    assert "further cost" not in worth.sentence
