"""What a cycle promises: decided once, never backwards, nothing in a dry run, and a report that a rerun repeats."""

from __future__ import annotations

import pickle
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from small_market import COSTS, DAYS, PANEL, STRATEGIES, Coins, book_of, cycle, day, undisturbed

from trading_core.data.panel import Panel
from trading_core.errors import RefusedError
from trading_core.ledger import BoundError, Ledger, ReadOnlyLedgerError, WhichAccountError
from trading_core.model import OrderRequest, OrderStatus, Side
from trading_core.portfolio import RiskLimits
from trading_core.run.account_day import AsOfError, MissingBarsError, PastCycleError
from trading_core.run.cycle import run_cycle
from trading_core.strategies.strategy import checked_signals


def test_the_market_of_these_tests_has_something_of_everything() -> None:
    fills = undisturbed(DAYS[-1]).fills_frame()
    assert {"signal", "stop_loss", "take_profit"} <= set(fills["reason"])
    assert {"buy", "sell"} == set(fills["side"])
    assert set(fills["symbol"]) == set(PANEL.symbols)


def test_a_rerun_of_a_done_cycle_resumes_and_changes_nothing() -> None:
    ledger = undisturbed(day("2024-04-04"))
    before = book_of(ledger)
    report = cycle(ledger, day("2024-04-04"))
    assert report.resumed
    assert report.plan.orders
    assert book_of(ledger) == before


def test_a_rerun_tells_the_same_story() -> None:
    ledger = undisturbed(day("2024-04-03"))
    first, again = (cycle(ledger, day("2024-04-04")) for _ in range(2))
    assert (first.resumed, again.resumed) == (False, True)
    for name in (
        "plan", "results", "fills", "unfilled", "pending", "holdings", "equity", "cash", "missed_days", "account_before", "change",
    ):  # fmt: skip
        assert getattr(first, name) == getattr(again, name), name
    pd.testing.assert_frame_equal(first.signals, again.signals)


def test_a_rerun_does_not_decide_again_even_when_the_strategy_has_changed_its_mind() -> None:
    ledger = undisturbed(day("2024-04-04"))
    before = book_of(ledger)
    report = cycle(ledger, day("2024-04-04"), strategies={"shares": (Coins(), 0.1)})
    assert report.plan.orders[0].strategy in STRATEGIES
    assert book_of(ledger) == before


def test_an_as_of_before_the_last_cycle_is_refused_and_nothing_changes() -> None:
    ledger = undisturbed(day("2024-04-04"))
    before = book_of(ledger)
    with pytest.raises(PastCycleError, match=r"come to 2024-04-04, and 2024-04-02 is before") as refused:
        cycle(ledger, "2024-04-02")
    assert refused.value.exit_code == 2
    assert "--set ledger.account=NAME" in str(refused.value)
    assert book_of(ledger) == before


@pytest.mark.parametrize(
    ("as_of", "words"),
    [("2024-05-01", "the last day of the data is 2024-04-14"), ("2023-01-01", "Load the data from an earlier start")],
)
def test_a_day_that_the_panel_does_not_have_is_refused_with_its_last_day(as_of: str, words: str) -> None:
    ledger = Ledger("sqlite://", account="small", write=True)
    with pytest.raises(AsOfError, match=words) as refused:
        cycle(ledger, as_of)
    assert isinstance(refused.value, RefusedError)
    assert ledger.accounts() == []


def test_a_closed_day_between_two_sessions_is_refused_with_the_day_before_it() -> None:
    shares = PANEL.select(["ACME"])
    shares = type(shares)(
        shares.days[shares.real[:, 0]], shares.symbols, shares.assets,
        {name: array[shares.real[:, 0]] for name, array in shares.arrays.items()}, shares.real[shares.real[:, 0]],
    )  # fmt: skip
    with pytest.raises(AsOfError, match="The day before it is 2024-03-28"):
        cycle("sqlite://", "2024-03-30", panel=shares, dry_run=True)


def test_nothing_after_the_as_of_is_looked_at() -> None:
    early = cycle(Ledger("sqlite://", account="small", write=True), day("2024-03-28"))
    late = cycle(Ledger("sqlite://", account="small", write=True), day("2024-03-28"), panel=PANEL.until("2024-03-28"))
    assert early.plan == late.plan
    pd.testing.assert_frame_equal(early.signals, late.signals)


def test_a_strategy_that_peeks_finds_nothing_to_peek_at() -> None:
    seen: list[pd.Timestamp] = []

    class Peeks(Coins):
        def signals(self, panel: Panel) -> pd.DataFrame:
            seen.append(panel.last)
            return super().signals(panel)

    cycle("sqlite://", day("2024-03-28"), strategies={"peeks": (Peeks(), 1.0)}, dry_run=True)
    assert seen == [day("2024-03-28")]


def test_a_ledger_that_is_open_for_another_account_is_refused() -> None:
    ledger = Ledger("sqlite://", account="other", write=True)
    with pytest.raises(WhichAccountError, match="other"):
        cycle(ledger, day("2024-03-28"))
    assert ledger.accounts() == []


def test_missed_days_are_booked_first_and_named() -> None:
    ledger = undisturbed(day("2024-03-21"))
    report = cycle(ledger, day("2024-04-01"))
    assert list(report.missed_days) == list(DAYS[(DAYS > "2024-03-21") & (DAYS < "2024-04-01")])
    assert report.previous_day == day("2024-03-21")
    assert [fill.day for fill in report.fills] == sorted(fill.day for fill in report.fills)
    assert ledger.cycles()["as_of"].tolist()[:2] == [day("2024-04-01"), day("2024-03-21")]
    assert list(ledger.equity().index) == list(DAYS[DAYS <= "2024-04-01"])
    assert "no decision on 10 days since 2024-03-21" in str(report)


def test_a_dry_run_writes_nothing_sends_nothing_and_shows_the_plan(tmp_path: Path) -> None:
    url = tmp_path / "ledger.db"
    undisturbed(day("2024-04-03"), url).close()
    content, before = url.read_bytes(), book_of(Ledger(url))
    dry = cycle(url, day("2024-04-04"), dry_run=True)
    assert (url.read_bytes(), book_of(Ledger(url))) == (content, before)
    assert dry.dry_run
    assert {result.status for result in dry.results} == {OrderStatus.PLANNED}
    real = cycle(url, day("2024-04-04"))
    assert real.plan == dry.plan
    assert (real.equity, real.cash, real.fills) == (dry.equity, dry.cash, dry.fills)
    assert len(Ledger(url).orders()) == len(before["orders"]) + len(dry.plan.orders)


def test_a_dry_run_without_a_ledger_makes_none(tmp_path: Path) -> None:
    report = cycle(tmp_path / "new" / "ledger.db", day("2024-03-21"), dry_run=True)
    assert report.plan.orders
    assert not (tmp_path / "new").exists()


def test_a_dry_run_works_while_another_process_holds_the_account(tmp_path: Path) -> None:
    url = tmp_path / "ledger.db"
    with undisturbed(day("2024-04-03"), url) as holder:
        assert cycle(url, day("2024-04-04"), dry_run=True).plan.orders
        assert holder.cycle("daily", day("2024-04-04")) is None


def test_a_ledger_opened_for_reading_is_refused_before_anything(tmp_path: Path) -> None:
    url = tmp_path / "ledger.db"
    undisturbed(day("2024-03-21"), url).close()
    before = book_of(Ledger(url, account="small"))
    with pytest.raises(ReadOnlyLedgerError, match="was opened for reading"):
        cycle(Ledger(url, account="small"), day("2024-03-22"))
    assert book_of(Ledger(url, account="small")) == before


@pytest.mark.parametrize(("change", "what"), [({"source_kind": "yahoo"}, "source"), ({"cash": 20_000}, "cash")])
def test_an_account_stays_bound_to_its_source_and_its_opening_cash(change: dict[str, object], what: str) -> None:
    ledger = undisturbed(day("2024-03-21"))
    with pytest.raises(BoundError, match=f"was opened with {what}"):
        cycle(ledger, day("2024-03-22"), **change)


def test_a_symbol_that_is_held_must_stay_in_the_data() -> None:
    ledger = undisturbed(day("2024-03-25"))
    held = sorted(ledger.positions())
    with pytest.raises(MissingBarsError, match=r"Add it to market\.symbols") as refused:
        cycle(ledger, day("2024-03-26"), panel=PANEL.select(["COIN/USD"]))
    assert set(refused.value.symbols) & set(held)


def test_data_that_begins_after_the_last_booked_day_is_refused() -> None:
    ledger = undisturbed(day("2024-03-21"))
    late = PANEL.select(PANEL.symbols)
    late = type(late)(
        late.days[10:], late.symbols, late.assets, {n: a[10:] for n, a in late.arrays.items()}, late.real[10:]
    )
    with pytest.raises(MissingBarsError, match=r"Set market\.start"):
        cycle(ledger, day("2024-03-29"), panel=late)


def test_the_report_says_what_changed_and_why_nothing_was_bought() -> None:
    ledger = undisturbed(day("2024-04-03"))
    report = cycle(ledger, day("2024-04-04"), limits=RiskLimits(max_positions=1))
    assert report.account_before.equity == ledger.equity_frame()["equity"].iloc[-2]
    assert report.account_after.equity == ledger.equity_frame()["equity"].iloc[-1]
    assert report.change == report.account_after.equity - report.account_before.equity
    assert {refusal.reason for refusal in report.plan.refusals} == {"max_positions"}
    assert report.signals.loc["ACME", "shares"] == 0.6
    assert pd.isna(report.signals.loc["ACME", "coins"])
    again = cycle(ledger, day("2024-04-04"))
    assert again.plan.refusals == report.plan.refusals


def test_a_report_survives_the_trip_between_processes() -> None:
    report = cycle(Ledger("sqlite://", account="small", write=True), day("2024-03-21"))
    again = pickle.loads(pickle.dumps(report))
    assert (again.plan, again.equity, str(again)) == (report.plan, report.equity, str(report))
    assert "ACME" in again._repr_html_()


def test_the_first_cycle_begins_with_the_cash_that_was_set() -> None:
    report = cycle(Ledger("sqlite://", account="small", write=True), day("2024-03-21"), cash=Decimal("1234.5"))
    assert (report.equity, report.cash, report.previous_day, report.fills) == (
        Decimal("1234.5"),
        Decimal("1234.5"),
        None,
        (),
    )
    assert report.account_before == report.account_after


def test_two_jobs_share_an_account_and_the_later_decision_replaces_waiting_purchases() -> None:
    ledger = Ledger("sqlite://", account="small", write=True)
    for today in DAYS[:12]:
        cycle(ledger, today, job="early")
        cycle(ledger, today, job="late")
    alone = undisturbed(DAYS[11])
    assert [(f.symbol, f.day, f.side, f.quantity) for f in ledger.fills()] == [
        (f.symbol, f.day, f.side, f.quantity) for f in alone.fills()
    ]
    assert set(ledger.orders()["job"]) == {"early", "late"}
    assert {"canceled", "filled"} <= set(ledger.orders()["status"])


def test_signals_made_before_lead_to_the_same_book() -> None:
    ready = {name: checked_signals(strategy, PANEL) for name, (strategy, _) in STRATEGIES.items()}
    ledger = Ledger("sqlite://", account="small", write=True)
    for today in DAYS[:12]:
        cycle(ledger, today, signals=ready)
    assert book_of(ledger) == book_of(undisturbed(DAYS[11]))


def test_a_newer_opinion_replaces_a_purchase_that_still_waits() -> None:
    table = pd.DataFrame(float("nan"), PANEL.days, list(PANEL.symbols))
    table.loc["2024-03-28", "ACME"] = 0.5

    class Once(Coins):
        def signals(self, panel):  # type: ignore[no-untyped-def]
            return table.reindex(panel.days)

    ledger = Ledger("sqlite://", account="small", write=True)
    given = {"once": (Once(), 1.0)}
    first = cycle(ledger, day("2024-03-28"), strategies=given)
    cycle(ledger, day("2024-03-29"), strategies=given)  # Good Friday: it waits, and nobody has an opinion
    assert [order.client_id for order in ledger.pending()] == [first.plan.orders[0].client_id]
    report = cycle(ledger, day("2024-04-01"), strategies=given)
    assert [(fill.symbol, fill.day) for fill in report.fills] == [("ACME", day("2024-04-01"))]


def test_a_pending_order_of_a_symbol_that_has_ended_expires_with_its_reason() -> None:
    cut = PANEL.days.searchsorted(day("2024-03-23"))
    arrays = {name: array.copy() for name, array in PANEL.arrays.items()}
    real, column = PANEL.real.copy(), PANEL.symbols.index("ACME")
    real[cut:, column] = False
    for name in ("open", "high", "low", "close"):
        arrays[name][cut:, column] = arrays["close"][cut - 1, column]
    panel = type(PANEL)(PANEL.days, PANEL.symbols, PANEL.assets, arrays, real)
    table = pd.DataFrame(float("nan"), PANEL.days, list(PANEL.symbols))
    table.loc["2024-03-22", "ACME"] = 0.5

    class Once(Coins):
        def signals(self, panel):  # type: ignore[no-untyped-def]
            return table.reindex(panel.days)

    ledger = Ledger("sqlite://", account="small", write=True)
    given = {"strategies": {"once": (Once(), 1.0)}, "panel": panel}
    cycle(ledger, day("2024-03-22"), **given)
    report = cycle(ledger, DAYS[-1], **given)
    assert [(r.status, r.message.split(":")[0]) for r in report.unfilled] == [(OrderStatus.EXPIRED, "ended")]
    assert report.pending == ()
    assert report.fills == ()


def test_cash_that_cannot_pay_drops_the_purchase_and_the_next_report_says_so() -> None:
    ledger = Ledger("sqlite://", account="small", write=True)
    cycle(ledger, day("2024-03-28"), cash=Decimal("0.5"))
    ledger.add_intents([OrderRequest("by-hand", "COIN/USD", Side.BUY, Decimal(1))])
    ledger.set_status(ledger.order("by-hand").__class__("by-hand", OrderStatus.ACCEPTED))
    report = cycle(ledger, day("2024-03-29"), cash=Decimal("0.5"))
    assert [(r.client_id, r.message.split(":")[0]) for r in report.unfilled] == [("by-hand", "cash")]


def test_run_cycle_takes_a_path_and_lets_go_of_the_lock(tmp_path: Path) -> None:
    url = tmp_path / "deep" / "ledger.db"
    for today in DAYS[:3]:
        run_cycle(
            PANEL, STRATEGIES, ledger=url, account="small", as_of=today, cash=10_000, costs=COSTS, source_kind="test"
        )
    assert book_of(Ledger(url)) == book_of(undisturbed(DAYS[2]))


def test_the_steps_are_told_in_their_order() -> None:
    steps: list[str] = []
    ledger = undisturbed(day("2024-03-27"))
    cycle(ledger, day("2024-03-29"), step=steps.append)
    assert steps == ["book 2024-03-28", "book 2024-03-29", "decide", "send", "finish"]
