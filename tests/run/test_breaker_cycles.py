"""The circuit breaker in a scheduled account: the same as in a backtest, through restarts, until a person resumes."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from small_market import COSTS, DAYS, PANEL, STRATEGIES, book_of, cycle, day
from test_cycle_on_a_venue import FREE, Desk
from test_cycle_proof import assert_same_book, live

from trading_core import cli
from trading_core.backtest import backtest
from trading_core.data import SimulatedBars, load_panel
from trading_core.data.panel import Panel
from trading_core.execution import PaperExecutor, Quote
from trading_core.execution.halts import Halts, LedgerBreaker
from trading_core.ledger import Ledger, NoReasonError
from trading_core.model import OrderRequest, Side, money
from trading_core.portfolio import Costs, RiskLimits
from trading_core.strategies import CryptoReversal, EquityReversal, InverseVolatility, RiskPerTrade, with_sizer

MIXED = {"equity": (EquityReversal(), 0.5), "crypto": (CryptoReversal(), 0.5)}


@pytest.fixture(scope="module")
def panel() -> Panel:
    source = SimulatedBars(seed=7)
    symbols = source.symbols()
    return load_panel(source, [*symbols[:30], *(s for s in symbols if "/" in s)], "2018-09-01", "2019-04-30")


@pytest.fixture(scope="module")
def days(panel: Panel) -> pd.DatetimeIndex:
    return panel.days[panel.days >= "2019-01-15"][:60]


@pytest.mark.parametrize("name", ["max_drawdown", "max_daily_loss"])
def test_sixty_cycles_with_a_breaker_that_trips_are_one_backtest(
    panel: Panel, days: pd.DatetimeIndex, name: str, tmp_path: Path
) -> None:
    free = backtest(MIXED, panel, costs=Costs(), start=days[0], end=days[-1])
    fell = {
        "max_drawdown": (1 - free.equity / free.equity.cummax()).iloc[:35].max(),
        "max_daily_loss": -free.equity.pct_change().iloc[:35].min(),
    }
    limits = RiskLimits(max_weight=0.2, **{name: 0.9 * float(fell[name])})  # type: ignore[arg-type]
    ledger, reports = live(panel, MIXED, days, tmp_path / "ledger.db", limits=limits)
    result = backtest(MIXED, panel, costs=Costs(), limits=limits, start=days[0], end=days[-1])
    assert_same_book(ledger, result)
    halt = ledger.halted()
    assert halt is not None
    assert (halt.limit, days[5] < halt.day < days[40]) == (name, True)
    assert result.setup["halted"] == f"halted since {halt.day:%Y-%m-%d} by {halt.limit}: {halt.detail}"
    refused = {(r.day, r.symbol) for r in result.refusals.query("reason == 'breaker'").itertuples()}
    assert refused == {(x.as_of, r.symbol) for x in reports for r in x.plan.refusals if r.reason == "breaker"}
    assert len(refused) > 3
    bought = [fill.day for fill in ledger.fills() if fill.side is Side.BUY]
    assert max(bought) <= halt.day
    assert min(bought) < halt.day
    assert any(fill.day > halt.day for fill in ledger.fills())  # what was held could be sold
    assert [report.halt is not None for report in reports] == [report.as_of >= halt.day for report in reports]


def test_sixty_cycles_with_sizers_that_look_at_prices_and_stops_are_one_backtest(
    panel: Panel, days: pd.DatetimeIndex
) -> None:
    sized = {
        "equity": (with_sizer(EquityReversal(), InverseVolatility(lookback=15)), 0.5),
        "crypto": (with_sizer(CryptoReversal(), RiskPerTrade(risk=0.005)), 0.5),
    }
    limits = RiskLimits(max_equity=0.3, max_crypto=0.1, max_orders_per_day=2, max_order_value=12_000)
    ledger, reports = live(panel, sized, days, "sqlite://", limits=limits)
    result = backtest(sized, panel, costs=Costs(), limits=limits, start=days[0], end=days[-1])
    assert_same_book(ledger, result)
    assert {"max_orders_per_day", "max_crypto"} <= set(result.refusals["reason"])
    told = [(r.day, r.symbol, r.reason, r.detail) for r in result.refusals.itertuples() if r.reason.startswith("max")]
    ours = [(x.as_of, r.symbol, r.reason, r.detail) for x in reports for r in x.plan.refusals]
    assert told == [line for line in ours if line[2].startswith("max")]


# A small account, through restarts ------------------------------------------------------------------------------------

TIGHT = RiskLimits(max_drawdown=0.01)


def opened(path: Path) -> Ledger:
    return Ledger(path, account="small", write=True)


def halted_book(path: Path) -> pd.Timestamp:
    """A book whose account tripped; the day on which it did."""
    for today in DAYS:
        with opened(path) as ledger:
            report = cycle(ledger, today, limits=TIGHT)
        if report.halt is not None:
            return report.as_of
    raise AssertionError("it never tripped")


def after(today: pd.Timestamp, number: int = 1) -> pd.DatetimeIndex:
    return DAYS[today < DAYS][:number]


def test_a_halt_survives_restarts_and_a_limit_taken_out_of_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    tripped = halted_book(path)
    for number, today in enumerate(after(tripped, 6)):
        with opened(path) as ledger:
            report = cycle(ledger, today, limits=TIGHT if number % 2 else None)
        assert report.halt is not None
        assert report.halt.day == tripped
        assert not [order for order in report.plan.orders if order.side is Side.BUY]
    with opened(path) as ledger:
        assert len(ledger.halts()) == 1
        assert ledger.events("halted")["detail"].iloc[0]["limit"] == "max_drawdown"


def test_a_resumed_account_trades_again_and_counts_from_the_last_evening(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    tripped = halted_book(path)
    with opened(path) as ledger:
        last = ledger.evening(tripped)
        assert last is not None
        with pytest.raises(NoReasonError):
            Halts(ledger).resume("")
        assert len(Halts(ledger).resume("looked at it")) == 1
        assert Halts(ledger).resume("twice") == []
        breaker = LedgerBreaker(ledger, TIGHT).breaker(tripped)
        assert breaker is not None
        assert (breaker.trip, breaker.peak, breaker.before) == (None, float(last.equity), None)
        loose = RiskLimits(max_drawdown=0.5)
        reports = [cycle(ledger, today, limits=loose) for today in after(tripped, 8)]
        assert any(order.side is Side.BUY for report in reports for order in report.plan.orders)
        assert all(report.halt is None for report in reports)
        assert ledger.halts()["why"].tolist() == ["looked at it"]


def test_a_resumed_account_can_trip_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    tripped = halted_book(path)
    with opened(path) as ledger:
        Halts(ledger).resume("once more")
        for today in after(tripped, 20):
            if cycle(ledger, today, limits=RiskLimits(max_drawdown=0.003)).halt:
                break
        halts = ledger.halts()
    assert len(halts) == 2
    assert halts["resumed"].notna().tolist() == [True, False]
    assert halts["day"].iloc[1] > tripped


def test_a_limit_that_is_set_later_does_not_trip_for_a_loss_that_was_earned_back(tmp_path: Path) -> None:
    with Ledger("sqlite://", account="small", write=True) as ledger:
        ledger.bind("test", "paper", money(10_000))
        for today, value in zip(DAYS[:4], (10_000, 12_000, 8_000, 11_900), strict=True):
            ledger.set_equity(today, money(value), money(value))
        ledger.store_plan("daily", DAYS[3], orders=[], plan={"cancels": []}, signals={}, equity=money(1), cash=money(1))
        ledger.set_equity(DAYS[4], money(11_800), money(11_800))
        limits = RiskLimits(max_drawdown=0.2, max_daily_loss=0.2)
        breaker = LedgerBreaker(ledger, limits).breaker(DAYS[4])
        assert breaker is not None
        assert (breaker.trip, breaker.peak, breaker.before) == (None, 12_000, 11_900)
        tighter = LedgerBreaker(ledger, RiskLimits(max_drawdown=0.01)).breaker(DAYS[4])
        assert tighter is not None
        assert tighter.trip is not None
        assert tighter.trip.day == DAYS[4]  # but today's state counts


def test_days_without_a_cycle_are_judged_by_the_next_one(tmp_path: Path) -> None:
    each, late = tmp_path / "each.db", tmp_path / "late.db"
    tripped = halted_book(each)
    then = after(tripped, 2)[-1]
    with opened(late) as ledger:
        for today in DAYS[tripped > DAYS]:
            cycle(ledger, today, limits=TIGHT)
        report = cycle(ledger, then, limits=TIGHT)
        assert report.halt is not None
        assert report.halt.day == tripped
        assert not [order for order in report.plan.orders if order.side is Side.BUY]


def test_a_dry_run_neither_halts_nor_resumes_anything(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    tripped = halted_book(path)
    fresh = tmp_path / "fresh.db"
    with opened(fresh) as ledger:
        for today in DAYS[tripped > DAYS]:
            cycle(ledger, today, limits=TIGHT)
        before = book_of(ledger)
        report = cycle(ledger, tripped, limits=TIGHT, dry_run=True)
        assert report.halt is not None
        assert ledger.halted() is None
        assert book_of(ledger) == before


def test_killed_between_halt_and_plan_the_next_start_decides_the_same(tmp_path: Path) -> None:
    path, other = tmp_path / "ledger.db", tmp_path / "other.db"
    tripped = halted_book(path)
    with opened(other) as ledger:
        for today in DAYS[tripped > DAYS]:
            cycle(ledger, today, limits=TIGHT)
        store = ledger.store_plan
        ledger.store_plan = lambda *a, **k: (_ for _ in ()).throw(RuntimeError("killed"))  # type: ignore[method-assign]
        with pytest.raises(RuntimeError):
            cycle(ledger, tripped, limits=TIGHT)
        assert ledger.halted() is not None
        ledger.store_plan = store  # type: ignore[method-assign]
        cycle(ledger, tripped, limits=TIGHT)
        with Ledger(path, account="small") as undisturbed:
            assert book_of(ledger) == book_of(undisturbed)
            assert len(ledger.halts()) == 1


def test_a_waiting_buy_is_withdrawn_on_the_evening_of_the_trip() -> None:
    with Ledger("sqlite://", account="small", write=True) as ledger:
        thursday = day("2024-03-28")  # Good Friday follows: what is decided now waits until Monday
        for today in DAYS[thursday >= DAYS]:
            cycle(ledger, today)
        waiting = [order for order in ledger.pending() if order.side is Side.BUY]
        assert {order.symbol for order in waiting} & {"ACME", "BOLT"}
        ledger.halt(thursday, "max_daily_loss", "by hand")
        report = cycle(ledger, after(thursday)[0])
        shares = [order for order in waiting if order.symbol != "COIN/USD"]
        assert {order.client_id for order in shares} <= set(report.plan.cancels)
        assert not [order for order in ledger.pending() if order.side is Side.BUY]
        assert "a waiting buy is withdrawn" in report.plan.refusals[0].detail


# What else a scheduled run knows --------------------------------------------------------------------------------------


class Quoting(PaperExecutor):
    """Paper trading at a venue that shows prices, so many times the last close."""

    def __init__(self, ledger: Ledger, panel: Panel, factor: float, moment: pd.Timestamp):
        super().__init__(ledger, panel, COSTS)
        self.factor, self.moment, self.asked = factor, moment, [()]

    def quotes(self, symbols: object) -> dict[str, Quote]:
        self.asked.append(tuple(symbols))  # type: ignore[call-overload]
        closes = {s: float(self.panel.close[s].loc[: self.moment].iloc[-1]) for s in self.asked[-1]}
        return {s: Quote(s, money(self.factor * c), self.moment) for s, c in closes.items()}


def bought_with(factor: float, limits: RiskLimits, hours: float) -> tuple[list[str], list[str], list[tuple[str, ...]]]:
    thursday = day("2024-03-21")
    with Ledger("sqlite://", account="small", write=True) as ledger:
        venue = {}

        def made(book: Ledger, panel: Panel) -> Quoting:
            venue["one"] = Quoting(book, panel, factor, thursday + pd.Timedelta(hours=hours))
            return venue["one"]

        report = cycle(ledger, thursday, limits=limits, executor=made)
    reasons = [f"{r.symbol} {r.reason}" for r in report.plan.refusals]
    return [order.symbol for order in report.plan.orders], reasons, venue["one"].asked


def test_a_quote_far_from_the_last_close_refuses_the_order() -> None:
    limits = RiskLimits(max_price_gap=0.2)
    near, _, asked = bought_with(1.19, limits, hours=23)
    assert {"ACME", "BOLT"} <= set(near)
    assert set(asked[-1]) == set(near)  # only what is wished for is asked about
    for factor in (1.21, 0.79):
        orders, reasons, _ = bought_with(factor, limits, hours=23)
        assert orders == []
        assert {"ACME price_gap", "BOLT price_gap"} <= set(reasons)


def test_a_quote_older_than_the_day_is_none_and_without_the_limit_nobody_asks() -> None:
    assert {"ACME", "BOLT"} <= set(bought_with(2.0, RiskLimits(), hours=-1)[0])
    orders, _, asked = bought_with(2.0, RiskLimits(max_price_gap=None), hours=23)
    assert {"ACME", "BOLT"} <= set(orders)
    assert asked == [()]


def test_orders_of_another_job_count_for_the_day() -> None:
    thursday, limits = day("2024-03-21"), RiskLimits(max_orders_per_day=3)
    with Ledger("sqlite://", account="small", write=True) as ledger:
        ledger.bind("test", "paper", money(10_000))
        earlier = [OrderRequest(f"x{n}", "ACME", Side.SELL, Decimal(1)) for n in range(2)]
        ledger.store_plan(
            "noon", thursday, orders=earlier, plan={"cancels": []}, signals={}, equity=money(1), cash=money(1)
        )
        report = cycle(ledger, thursday, limits=limits)
    assert len(report.plan.orders) == 1
    assert {r.reason for r in report.plan.refusals} == {"max_orders_per_day"}
    assert "it would be order 4 of the day, the limit is 3" in report.plan.refusals[0].detail


def test_what_every_limit_said_is_kept_with_the_plan(tmp_path: Path) -> None:
    thursday = day("2024-03-21")
    with opened(tmp_path / "ledger.db") as ledger:
        limits = RiskLimits(max_weight=0.2, max_positions=3, max_drawdown=0.5)
        first = cycle(ledger, thursday, limits=limits)
        again = cycle(ledger, thursday, limits=limits)
    assert again.resumed
    assert again.plan.checks == first.plan.checks
    said = {check.name: check for check in again.plan.checks["ACME"]}
    assert set(said) == {"stale_price", "max_drawdown", "max_positions", "max_weight"}
    assert said["max_weight"].limit == 0.2
    assert said["max_weight"].room is not None
    assert said["max_drawdown"].sentence == "the account is 0 % below its highest evening, the limit is 50 %"


def test_at_a_venue_the_breaker_trips_on_the_same_evening_and_the_same_book_comes_out() -> None:
    desk = Desk()
    reports = desk.nights(DAYS[-1], limits=TIGHT)
    result = backtest(STRATEGIES, PANEL, cash=10_000, costs=FREE, limits=TIGHT)
    halt = desk.book.halted()
    assert halt is not None
    assert f"halted since {halt.day:%Y-%m-%d} by max_drawdown" in result.setup["halted"]
    told = ["day", "symbol", "side", "reason"]
    ours, theirs = (
        t.sort_values(told[:3]).reset_index(drop=True)[told] for t in (desk.book.fills_frame(), result.fills)
    )
    assert ours.to_dict("records") == theirs.to_dict("records")
    assert (desk.book.equity() - result.equity).abs().max() < 0.005
    assert [r.halt is not None for r in reports] == [r.as_of >= halt.day for r in reports]
    asked = {check.name for report in reports for checks in report.plan.checks.values() for check in checks}
    assert {"price_gap", "max_drawdown"} <= asked  # the venue shows prices, and they were looked at


# On the command line --------------------------------------------------------------------------------------------------


def test_trading_resume_looks_asks_for_a_reason_and_lifts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("TRADING_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.ini").write_text("[ledger]\naccount = small\n[risk]\nmax_drawdown = 0.01\n")
    (tmp_path / "outputs").mkdir()

    def said(*arguments: str) -> tuple[object, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["resume", *arguments])
        out, err = capsys.readouterr()
        return ended.value.code, out + err

    assert said()[0] == 0
    halted_book(tmp_path / "outputs" / "ledger.db")
    code, text = said()
    assert code == 2
    assert 'trading resume --why "…"' in text
    assert said("--why", " ")[0] == 2
    code, text = said("--why", "wrong split", "--json")
    facts = json.loads(text)
    assert (code, facts["halted"], facts["why"], facts["drawdown"]) == (0, "", "wrong split", 0.0)
    assert said("--why", "again")[0] == 0
    with Ledger(tmp_path / "outputs" / "ledger.db", account="small") as ledger:
        assert ledger.halts()["why"].tolist() == ["wrong split"]


def test_a_backtest_of_the_small_market_names_the_breaker() -> None:
    result = backtest(STRATEGIES, PANEL, costs=COSTS, cash=10_000, limits=replace(TIGHT, max_positions=5))
    assert "breaker" in set(result.refusals["reason"])
    assert "by max_drawdown" in result.setup["halted"]
    assert "Halted since" in result._repr_html_()
