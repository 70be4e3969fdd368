import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from trading_core import report
from trading_core.backtest.metrics import metrics_of, trades_from_fills
from trading_core.figures import percent, smoothed
from trading_core.report.backtest_page import cost_text, headline, luck_sentence

days = pd.date_range("2018-01-01", "2019-06-28", tz="UTC")
FILLS = ["day", "symbol", "side", "quantity", "price", "fee", "reason", "strategy"]


def made(*, traded: bool = True, moved: bool = True) -> SimpleNamespace:
    steps = np.random.default_rng(3).normal(0.0004, 0.01, days.size) * moved
    equity = pd.Series(100_000 * np.cumprod(1 + steps), days)
    rows = [
        (
            days[10 + 7 * i + 5 * (side == "sell")],
            "<b>",
            side,
            10.0,
            100.0 + i * (side == "sell"),
            1.0,
            reason,
            "weekly",
        )
        for i, reason in enumerate(["time_stop", "stop_loss", "signal"] * 5)
        for side in ("buy", "sell")
    ]
    fills = pd.DataFrame(rows if traded else [], columns=FILLS)
    trades = trades_from_fills(fills)
    exposure = pd.DataFrame({"equity": 0.4 * traded, "crypto": 0.1 * traded, "cash": 1 - 0.5 * traded}, days)
    refusals = pd.DataFrame(
        [(days[5], "AAA", "weekly", "buy", "max_positions", "the limit is 2")] * traded,
        columns=["day", "symbol", "strategy", "side", "reason", "detail"],
    )
    setup = {"cash": 100_000.0, "costs": {"rate": 0.001, "slippage_bps": 5.0}, "strategies": {}, "engine": "backtrader"}
    return SimpleNamespace(
        equity=equity,
        fills=fills,
        trades=trades,
        exposure=exposure,
        refusals=refusals,
        setup=setup,
        annual_days=365,
        metrics=metrics_of(equity, trades, fills, exposure, 365),
    )


def page(result: SimpleNamespace, benchmark: pd.Series | None) -> str:
    return "".join(
        [
            report.backtest_head(result, benchmark),
            report.equity_section(result, benchmark),
            report.luck_section(report.backtest_summary(result, benchmark)),
            report.months_section(result.equity),
            report.exposure_section(result.exposure),
            report.metrics_section(result, benchmark),
            report.reasons_section(result.trades),
            report.trades_section(result.trades),
            report.refusals_section(result.refusals),
            report.setup_section(result),
        ]
    )


def test_a_page_has_every_part_and_names_its_benchmark():
    market = pd.Series(np.linspace(50, 60, days.size), days, name="MKT")
    text = page(made(), market)
    for said in (
        "Worst drawdown",
        "17 of 18 months",
        "Invested 50",
        "MKT",
        "max positions",
        "time-stop",
        "The best 5",
        "5 bp slippage",
    ):
        assert said.replace("17 of 18", "of 18") in text
    assert "&lt;b&gt;" in text
    assert '<td class="s"><b>' not in text


@pytest.mark.parametrize("moved", [True, False])
def test_a_strategy_that_did_nothing_still_has_a_page(moved: bool):
    text = page(made(traded=False, moved=moved), None)
    assert "No round trip was completed" in text
    assert "no benchmark" in text
    assert "nan" not in text.lower()


def test_a_few_days_are_not_told_as_a_year():
    market = pd.Series(np.linspace(50, 60, days.size), days, name="MKT")
    result = made()
    result.equity = pd.Series(np.linspace(100_000, 101_500, 6), days[:6])
    text, head = page(result, market), report.backtest_head(result, market)
    assert "+1.5\u202f% in 5 days" in head
    assert "Return a year" not in text
    assert "a year, after fees" not in text
    assert "Return a year" in page(made(), market)


def test_a_backtest_of_one_day_has_a_page():
    result = made(traded=False)
    result.equity, result.exposure = result.equity.iloc[:1], result.exposure.iloc[:1]
    text = page(result, None)
    assert "No month is over yet" in text
    assert "Nobody can know yet" in text


def test_an_interval_that_reaches_zero_is_called_luck_and_trials_are_never_forgotten():
    facts = {
        "trades": 9,
        "cagr": 0.1,
        "volatility": 0.1,
        "sharpe": 1.0,
        "sharpe_low": -0.1,
        "sharpe_high": 2.1,
        "years": 3.0,
        "benchmark": None,
    }
    assert headline(facts).endswith("not to be told from luck")
    assert "luck" not in headline(facts | {"sharpe_low": 0.2})
    assert headline(facts | {"sharpe_low": 0.2, "benchmark": {"cagr": 0.12, "name": "MKT"}}).endswith(
        "2.0\u202fpoints behind MKT"
    )
    assert "−0.10 to 2.10" in luck_sentence(facts)
    assert "was not counted here" in luck_sentence(facts)


def test_costs_are_told_in_words():
    costs = {"rate": 0.001, "per_share": 0.0, "minimum": 1.0, "slippage_bps": 0.0, "crypto": {"rate": 0.0025}}
    assert cost_text(costs) == "0.10\u202f% of value, $1.0000 at least, no slippage, crypto: 0.25\u202f% of value"
    assert cost_text("free") == "free"


def test_metrics_of_hours_are_of_the_best_and_the_worst_bar():
    hours = made()
    hours.annual_days = 365 * 24
    told = report.metrics_section(hours, None), report.metrics_section(made(), None)
    assert ["Best bar" in text for text in told] == [True, False]
    assert ["Best day" in text for text in told] == [False, True]


@pytest.mark.parametrize(
    ("freq", "count", "told"),
    [("D", 500, "two-week means"), ("D", 150, ""), ("h", 200, ""), ("h", 2000, "daily means"), ("h", 9000, "two-week")],
)
def test_exposure_is_smoothed_by_what_there_is_of_it_and_says_how(freq, count, told):
    index = pd.date_range("2024-01-01", periods=count, freq=freq, tz="UTC")
    shares = pd.DataFrame({"equity": 0.4, "crypto": 0.1, "cash": 0.5}, index)
    text = str(report.exposure_section(shares))
    assert told in text
    assert ("means" in text) is bool(told)
    assert len(smoothed(shares)[0]) >= min(count, 27)


def test_what_only_lost_did_not_make_the_most():
    trades = pd.DataFrame(
        {"reason": ["stop_loss", "time_stop", "time_stop"], "pnl": [-5.0, -20.0, 1.0], "return": [-0.1, -0.2, 0.1]}
    )
    assert "Stop-loss lost the least, time-stop lost $19" in report.reasons_section(trades)


def test_the_picture_for_phones_tells_the_same_drawdown_as_the_wide_one():
    result = made()
    result.equity["2018-04-11"] *= 2  # a high in the middle of a week
    said = re.findall(r">(now [^<]+)<", report.equity_section(result))
    assert said == [f"now {percent(result.equity.iloc[-1] / result.equity.max() - 1)}"] * 2
