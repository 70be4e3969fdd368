"""The parts agree: day by day through `run_cycle` comes to what one backtest, and an independent program, came to."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from worked_examples import NAMES, Given, assert_same_fills, load_example

from trading_core.backtest import backtest
from trading_core.data import CsvBars, SimulatedBars, load_panel
from trading_core.data.panel import Panel
from trading_core.ledger import Ledger, fifo_pnl, open_lots
from trading_core.model import AssetClass, ExitRules, cash_of, money
from trading_core.portfolio import Costs, EqualWeight, RiskLimits
from trading_core.run.account_day import CycleReport
from trading_core.run.cycle import run_cycle
from trading_core.strategies import CryptoReversal, EquityReversal, SmaCross, Strategy, checked_signals

Strategies = Mapping[str, tuple[Strategy, float]]


def live(
    panel: Panel,
    strategies: Strategies,
    days: pd.DatetimeIndex,
    url: str | Path,
    *,
    cash: float = 100_000.0,
    costs: Costs | None = None,
    ahead: bool = False,
    **options: object,
) -> tuple[Ledger, list[CycleReport]]:
    """One cycle a day; `ahead` makes the signals once, on the whole panel, instead of every day anew."""
    ledger = Ledger(url, account="proof", write=True)
    signals = {name: checked_signals(strategy, panel) for name, (strategy, _) in strategies.items()} if ahead else None
    reports = [
        run_cycle(
            panel,
            strategies,
            ledger=ledger,
            account="proof",
            as_of=day,
            cash=cash,
            costs=costs or Costs(),
            source_kind="test",
            signals=signals,
            **options,  # type: ignore[arg-type]
        )
        for day in days
    ]
    return ledger, reports


def assert_same_book(ledger: Ledger, result: object) -> None:
    """The same fills, positions and equity: quantities to a lot, prices to 1e-9, equity to the cent."""
    columns = ["day", "symbol", "side", "quantity", "price", "fee", "reason", "strategy"]
    ours = ledger.fills_frame()[columns].sort_values(["day", "symbol", "side"]).reset_index(drop=True)
    theirs = result.fills[columns].sort_values(["day", "symbol", "side"]).reset_index(drop=True)  # type: ignore[attr-defined]
    assert ours[["day", "symbol", "side", "reason", "strategy"]].to_dict("records") == (
        theirs[["day", "symbol", "side", "reason", "strategy"]].to_dict("records")
    )
    for name, slack in (("quantity", 1.000001e-6), ("price", 0.0), ("fee", 1e-6)):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-9, atol=slack)
    equity = result.equity  # type: ignore[attr-defined]
    assert list(ledger.equity().index) == list(equity.index)
    np.testing.assert_allclose(ledger.equity(), equity, rtol=0, atol=0.005)
    last = result.positions.iloc[-1]  # type: ignore[attr-defined]
    held = {symbol: float(position.quantity) for symbol, position in ledger.positions().items()}
    assert held == pytest.approx(
        {symbol: quantity for symbol, quantity in last.items() if quantity > 1e-6}, rel=1e-9, abs=1.000001e-6
    )


@pytest.mark.realdata
@pytest.mark.parametrize("name", NAMES)
def test_a_worked_example_comes_out_when_it_is_lived_day_by_day(real_data: Path, name: str) -> None:
    example = load_example(real_data, name)
    ledger, _ = live(
        example.panel, {"given": (example.strategy, 1.0)}, example.panel.days, "sqlite://",
        cash=example.cash, costs=example.costs, ahead=True, resize=example.resize,
    )  # fmt: skip
    assert_same_fills(ledger.fills_frame(), example.fills, example.panel)
    equity = ledger.equity()
    assert len(equity) == len(example.panel.days)
    assert (equity - example.equity.loc[equity.index]).abs().max() < 0.005


# Sixty cycles against one backtest ------------------------------------------------------------------------------------


def assert_profit_adds_up(ledger: Ledger, panel: Panel, day: pd.Timestamp, cash: float) -> None:
    """Realised lots and open ones together are the change of the account, to the last digit."""
    fills = ledger.fills()
    lots = open_lots(fills)
    worth = sum((p.quantity * money(float(panel.close.loc[day, s])) for s, p in ledger.positions().items()), Decimal(0))
    gained = sum(fifo_pnl(fills)["pnl"], Decimal(0)) + cash_of(worth) - sum(lots["paid"], Decimal(0))
    assert abs(gained - (ledger.equity_frame()["equity"].iloc[-1] - money(cash))) <= Decimal("1e-7")


def test_sixty_cycles_are_one_backtest_on_simulated_data(tmp_path: Path) -> None:
    source = SimulatedBars(seed=7)
    symbols = source.symbols()
    panel = load_panel(source, [*symbols[:30], *(s for s in symbols if "/" in s)], "2018-09-01", "2019-04-30")
    strategies = {"equity": (EquityReversal(), 0.5), "crypto": (CryptoReversal(), 0.5)}
    days = panel.days[(panel.days >= "2019-01-15")][:60]
    limits = RiskLimits(max_weight=0.2, max_positions=12, cash_buffer=0.02)
    ledger, reports = live(panel, strategies, days, tmp_path / "ledger.db", limits=limits)
    result = backtest(strategies, panel, costs=Costs(), limits=limits, start=days[0], end=days[-1])
    assert len(result.fills) > 20
    assert_same_book(ledger, result)
    assert_profit_adds_up(ledger, panel, days[-1], 100_000)
    assert not any(report.missed_days for report in reports)
    assert sum(len(report.fills) for report in reports) == len(result.fills)


@pytest.fixture(scope="session")
def real_panel(real_data: Path) -> Panel:
    source = CsvBars([real_data / "equities_daily.csv.gz", real_data / "crypto_daily.csv.gz"])
    shares = [symbol for symbol in source.symbols() if "/" not in symbol][::4]
    coins = ["ADA/USD", "BTC/USD", "DOGE/USD", "ETH/USD", "XRP/USD"]
    return load_panel(source, [*shares, *coins], "2018-01-01", "2019-12-31")


@pytest.mark.realdata
def test_sixty_cycles_are_one_backtest_on_real_data(real_panel: Panel, tmp_path: Path) -> None:
    strategies = {"equity": (EquityReversal(), 0.4), "crypto": (CryptoReversal(), 0.4)}
    days = real_panel.days[real_panel.days >= "2019-03-20"][:60]
    ledger, _ = live(real_panel, strategies, days, tmp_path / "ledger.db", costs=Costs(slippage_bps=3, minimum=0.5))
    result = backtest(strategies, real_panel, costs=Costs(slippage_bps=3, minimum=0.5), start=days[0], end=days[-1])
    assert {"equity", "crypto"} <= set(result.fills["strategy"])
    assert_same_book(ledger, result)


@pytest.mark.realdata
def test_a_year_of_crossings_with_resizing_is_one_backtest_on_real_data(real_panel: Panel) -> None:
    coins = ["DOGE/USD", "ETH/USD", "XRP/USD"]
    panel = real_panel.select([*[s for s in real_panel.symbols if "/" not in s][:6], *coins])
    strategies = {"cross": (SmaCross(fast=5, slow=20), 0.9)}
    days = panel.days[panel.days >= "2019-06-01"][:120]
    ledger, _ = live(panel, strategies, days, "sqlite://", ahead=True, resize=0.1)
    result = backtest(strategies, panel, costs=Costs(), start=days[0], end=days[-1], resize=0.1)
    assert "resize" in set(result.fills["reason"])
    assert "DOGE/USD" in set(result.fills["symbol"])
    assert_same_book(ledger, result)


def test_catching_up_after_a_fortnight_books_the_days_between_as_they_were(tmp_path: Path) -> None:
    source = SimulatedBars(seed=3)
    panel = load_panel(source, [*source.symbols()[:12], "BTC/USD"], "2019-01-01", "2019-06-30")
    strategies = {"cross": (SmaCross(fast=3, slow=8), 1.0)}
    first, last = panel.days[60], panel.days[80]
    ledger, reports = live(panel, strategies, pd.DatetimeIndex([first, last]), tmp_path / "ledger.db")
    assert list(reports[1].missed_days) == list(panel.days[61:80])
    assert list(ledger.equity().index) == list(panel.days[60:81])
    assert {fill.day for fill in reports[1].fills} <= set(panel.days[61:64])  # what was decided on the first day
    assert "19 days" in str(reports[1])


def test_a_friday_decision_fills_at_the_next_sessions_open_and_closed_markets_keep_equity_flat() -> None:
    source = SimulatedBars(seed=7)
    panel = load_panel(source, [*source.symbols()[:15], "BTC/USD"], "2019-01-01", "2019-05-31")
    shares = {s: a for s, a in panel.assets.items() if a.asset_class is AssetClass.EQUITY}
    strategies = {"equity": (EquityReversal(), 1.0)}
    days = panel.days[panel.days >= "2019-04-01"]
    ledger, _ = live(panel, strategies, days, "sqlite://", ahead=True)
    place = {symbol: panel.symbols.index(symbol) for symbol in shares}
    decided = ledger.orders().set_index("client_id")["as_of"]
    fills = ledger.fills()
    assert any(decided[f.client_id].day_name() == "Friday" for f in fills)
    for fill in fills:
        column = place[fill.symbol]
        after = panel.days[(panel.days > decided[fill.client_id]) & panel.real[:, column]]
        assert fill.day == after[0]
        assert fill.price == money(float(panel.open.loc[fill.day, fill.symbol])).quantize(Decimal("1e-9"))
    closed = [d for d in days[1:] if not panel.observed.loc[d, list(shares)].any()]
    equity = ledger.equity()
    assert len(closed) > 15
    assert all(equity[d] == equity[d - pd.Timedelta(days=1)] for d in closed)


def test_a_coin_moves_the_account_while_shares_are_closed() -> None:
    source = SimulatedBars(seed=7)
    share = next(symbol for symbol in source.symbols() if "/" not in symbol)
    panel = load_panel(source, [share, "BTC/USD"], "2019-01-01", "2019-03-31")
    hold = pd.DataFrame(np.where(panel.real, 1.0, np.nan), panel.days, list(panel.symbols))
    given = Given(hold, ExitRules(), EqualWeight())
    ledger, _ = live(panel, {"hold": (given, 1.0)}, panel.days[:40], "sqlite://", ahead=True)
    weekend = [d for d in panel.days[10:40] if d.day_of_week == 5]
    moves, quantity = ledger.equity().diff(), float(ledger.positions()["BTC/USD"].quantity)
    for day in weekend:
        assert moves[day] == pytest.approx(quantity * panel.close["BTC/USD"].diff()[day], abs=1e-6)
