"""Splits and dividends on a paper account: day by day it comes to what one backtest came to, each booked once."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from random_actions import acted_panel
from small_market import Killed
from test_cycle_kills import Bomb, raise_killed
from test_cycle_proof import assert_same_book, live
from test_cycle_volume import Said

from trading_core.backtest import backtest
from trading_core.data import HybridDataNormalizer, Panel
from trading_core.data.findings import Finding
from trading_core.data.guarded import guarded
from trading_core.execution import PaperExecutor
from trading_core.ledger import Ledger
from trading_core.ledger.fills import ActionConflictError
from trading_core.model import BookedAction, ExitRules, OrderRequest, OrderType, Side, TimeInForce, money
from trading_core.portfolio import Costs, RiskLimits
from trading_core.report.day import contributions, cycle_warnings
from trading_core.run.account_day import standing
from trading_core.run.cycle import run_cycle
from trading_core.run.late_actions import LateActionError, should_be
from trading_core.strategies import Strategy

COSTS = Costs(rate=0.001, slippage_bps=3, minimum=0.5)


def assert_same_actions(ledger: Ledger, result: object) -> None:
    "The ledger's actions are the backtest's."
    ours = [(a.day, a.symbol, a.kind, float(a.before), float(a.after)) for a in ledger.actions()]
    table = result.actions  # type: ignore[attr-defined]
    theirs = list(table[["day", "symbol", "kind", "before", "after"]].itertuples(index=False, name=None))
    assert [one[:3] for one in ours] == [other[:3] for other in theirs]
    np.testing.assert_allclose([one[3:] for one in ours], [other[3:] for other in theirs], rtol=1e-9, atol=1e-6)
    assert sum(float(a.cash) for a in ledger.actions()) == pytest.approx(table["cash"].sum(), abs=0.005)


@pytest.mark.parametrize("seed", range(6))
def test_splits_and_dividends_lived_day_by_day_are_one_backtest(seed: int) -> None:
    panel = acted_panel(seed, prices=seed % 2 == 0, often=0.05)
    strategies = {"said": (Said(seed, ExitRules(stop_loss=0.05, trailing_stop=0.08, time_stop=15)), 0.9)}
    costs = Costs(rate=0.001, slippage_bps=3, minimum=0.5, volume_share=(None, 0.2, 1.0)[seed % 3])
    limits = RiskLimits(max_weight=0.3, max_positions=6, cash_buffer=0.05) if seed % 2 else None
    days, resize = panel.days[20:110], 0.1 if seed > 2 else None
    ledger, _ = live(
        panel, strategies, days, "sqlite://", cash=50_000.0, costs=costs, ahead=True, limits=limits, resize=resize
    )
    for engine in ("fast", "backtrader"):
        result = backtest(
            strategies, panel, engine=engine, cash=50_000.0, costs=costs, limits=limits, resize=resize,
            start=days[0], end=days[-1],
        )  # fmt: skip
        assert len(result.actions) > 3
        assert_same_book(ledger, result)
        assert_same_actions(ledger, result)
    assert ledger.rebuild() == []


def once(panel: Panel, ledger: Ledger, day: pd.Timestamp, account: str) -> object:
    "One cycle."
    strategies = {"said": (Said(3, ExitRules(stop_loss=0.05)), 0.9)}
    return run_cycle(
        panel, strategies, ledger=ledger, account=account, as_of=day, cash=50_000.0, costs=COSTS, source_kind="test"
    )


def test_a_run_twice_and_days_missed_book_each_action_once(tmp_path: Path) -> None:
    panel = acted_panel(3, prices=True, often=0.05)
    days = panel.days[20:100]
    with Ledger(tmp_path / "daily.db", account="daily", write=True) as ledger:
        for day in days:
            once(panel, ledger, day, "daily")
            once(panel, ledger, day, "daily")
        daily = [(a.day, a.symbol, a.kind) for a in ledger.actions()]
        assert ledger.rebuild() == []
    with Ledger(tmp_path / "lazy.db", account="lazy", write=True) as ledger:
        for row in (0, 1, 2, 20, 40, 60, 79):
            once(panel, ledger, days[row], "lazy")
        lazy = [(a.day, a.symbol, a.kind) for a in ledger.actions()]
        assert ledger.rebuild() == []
    assert len(daily) == len(set(daily)) > 0
    assert len(lazy) == len(set(lazy)) > 0


def test_money_of_the_ledger_adds_up_over_actions(tmp_path: Path) -> None:
    panel = acted_panel(3, prices=True, often=0.05)
    days = panel.days[20:100]
    ledger, reports = live(
        panel, {"said": (Said(3, ExitRules(stop_loss=0.05)), 0.9)}, days, tmp_path / "l.db", cash=50_000.0, costs=COSTS
    )
    assert ledger.actions()
    evening = ledger.evening(days[-1])
    assert evening.cash == ledger.cash()
    worth = sum(p.quantity * money(float(panel.close.loc[days[-1], s])) for s, p in ledger.positions().items())
    assert abs(evening.cash + worth - evening.equity) < Decimal("1e-7")
    lots, paid = ledger.lots(), sum(ledger.lots()["paid"], Decimal(0))
    gained = sum(ledger.realised().values(), Decimal(0)) + worth - paid
    assert abs(gained - (evening.equity - Decimal(50_000))) < Decimal("1e-6")
    assert lots.groupby("symbol")["quantity"].sum().to_dict() == {s: p.quantity for s, p in ledger.positions().items()}
    for before, now in pairwise(reports):
        moved = contributions(ledger.fills(), panel, before.as_of, now.as_of, ledger.actions())
        assert moved.sum() == pytest.approx(float(now.equity - before.equity), abs=1e-6)
    held = standing(ledger, panel, days[-1]).holdings
    assert {s: h.quantity for s, h in held.items()} == {s: p.quantity for s, p in ledger.positions().items()}


def action(day: pd.Timestamp, **more: object) -> BookedAction:
    "A split of ten shares into seventy."
    facts = {"amount": money(7.0), "before": money(10.0), "after": money(70.0), "cash": money(0.0)}
    return BookedAction(day, "NFLX", "split", **facts | more)  # type: ignore[arg-type]


def test_an_action_is_booked_once_and_never_changed() -> None:
    ledger = Ledger("sqlite://", account="proof", write=True)
    ledger.bind("test", "paper", money(1_000.0))
    day = pd.Timestamp("2015-07-15", tz="UTC")
    for _ in range(2):
        ledger._add_actions([action(day)])
    assert ledger.actions() == [action(day)]
    assert ledger.actions(day - pd.Timedelta(days=1)) == []
    with pytest.raises(ActionConflictError, match=r"split of NFLX on 2015-07-15 is in the ledger as 7.0 on 10.0"):
        ledger._add_actions([action(day, before=money(11.0))])


def test_a_waiting_order_is_kept_in_new_shares() -> None:
    ledger = Ledger("sqlite://", account="proof", write=True)
    ledger.bind("test", "paper", money(1_000.0))
    order = OrderRequest("proof-1", "NFLX", Side.BUY, money(3.0))
    ledger.add_intents([order], "daily", pd.Timestamp("2015-07-14", tz="UTC"))
    ledger.change_order(OrderRequest("proof-1", "NFLX", Side.BUY, money(21.0)))
    [kept] = ledger.intents("daily", pd.Timestamp("2015-07-14", tz="UTC"))
    assert kept.quantity == Decimal(21)


def resting(kind: OrderType, **prices: float) -> OrderRequest:
    "A sale of all 10 shares that waits at the venue until its price comes."
    told = {name: None if price is None else money(price) for name, price in prices.items()}
    return OrderRequest(
        "proof-1", "ACME", Side.SELL, money(10.0), order_type=kind, time_in_force=TimeInForce.GTC, whole=True, **told
    )


@pytest.mark.parametrize(
    ("kind", "prices", "filled"),
    [
        (OrderType.TRAILING_STOP, {"trail_percent": 5.0}, 28.5),  # 5 % below the best price, 30 of a new share
        (OrderType.STOP, {"stop_price": 112.0}, 28.0),
        (OrderType.LIMIT, {"limit_price": 124.0}, None),
    ],
)
def test_an_order_that_rests_over_a_split_is_one_of_new_shares(
    kind: OrderType, prices: dict[str, float], filled: float | None
) -> None:
    days = pd.bdate_range("2024-03-04", periods=6, tz="UTC")
    close = [100.0, 118.0, 119.0, 29.5, 29.0, 27.5]
    high = [100.0, 120.0, 120.0, 29.8, 29.5, 29.0]
    bars = pd.DataFrame({"open": close, "high": high, "low": [c * 0.995 for c in close], "close": close}, days)
    bars.loc[days[5], ["open", "low"]] = [29.0, 27.0]
    bars = bars.assign(volume=1e6, split=[1.0, 1.0, 1.0, 4.0, 1.0, 1.0], dividend=[0.0, 0.0, 0.0, 0.4, 0.0, 0.0])
    panel = HybridDataNormalizer().normalize({"ACME": bars})
    ledger = Ledger("sqlite://", account="proof", write=True)
    ledger.bind("test", "paper", money(1_000.0))
    venue = PaperExecutor(ledger, panel, Costs(0.0, slippage_bps=0.0))
    venue.submit(OrderRequest("proof-0", "ACME", Side.BUY, money(10.0)))
    venue.advance(days[0])
    venue.submit(resting(kind, **prices))
    for day in days[1:]:
        venue.advance(day)
    assert [a.kind for a in ledger.actions()] == ["dividend", "split"]
    assert ledger.cash() == money(4.0) + (money(40 * filled) if filled else 0)
    sold = [fill for fill in ledger.fills() if fill.side is Side.SELL]
    assert [(float(fill.quantity), float(fill.price)) for fill in sold] == ([(40.0, filled)] if filled else [])
    if filled is None:
        [waits] = ledger.pending()
        assert (waits.quantity, waits.limit_price) == (money(40.0), money(31.0))


def test_killed_at_every_statement_of_a_day_with_actions_each_is_booked_once(tmp_path: Path) -> None:
    panel = acted_panel(3, prices=True, often=0.05)
    days = panel.days[20:100]
    with Ledger(tmp_path / "whole.db", account="daily", write=True) as ledger:
        for day in days:
            once(panel, ledger, day, "daily")
        busy = max({a.day for a in ledger.actions()}, key=lambda day: sum(a.day == day for a in ledger.actions()))
    with Ledger(tmp_path / "before.db", account="daily", write=True) as ledger:
        for day in days[days < busy]:
            once(panel, ledger, day, "daily")

    def after(at: int | None) -> tuple[int, object]:
        "How many statements the day took, and the book after it; killed at one of them and run again."
        path = tmp_path / f"killed-{at}.db"
        shutil.copy(tmp_path / "before.db", path)
        with Ledger(path, account="daily", write=True) as ledger:
            bomb = Bomb(ledger, at, raise_killed)
            if at is not None:
                with pytest.raises(Killed):
                    once(panel, ledger, busy, "daily")
                bomb.at = None
            once(panel, ledger, busy, "daily")
            count = bomb.count
            told = ledger.actions(), ledger.fills(), ledger.positions(), ledger.pending(), ledger.cash()
            assert ledger.rebuild() == []
        path.unlink()
        return count, told

    count, expected = after(None)
    assert expected[0][-1].day == busy
    for at in range(1, count + 1, 3):
        assert after(at)[1] == expected, f"killed at statement {at}"


def test_actions_are_booked_on_postgresql_as_on_sqlite(server: str, tmp_path: Path) -> None:
    panel = acted_panel(3, prices=True, often=0.05)
    told = []
    for url in (tmp_path / "lite.db", server):
        with Ledger(url, account="daily", write=True) as ledger:
            for day in panel.days[20:60]:
                once(panel, ledger, day, "daily")
            assert ledger.actions()
            assert ledger.rebuild() == []
            lots = ledger.lots().to_dict("records")
            told.append((ledger.actions(), ledger.positions(), ledger.cash(), ledger.equity().tolist(), lots))
    assert told[0] == told[1]


# Told late ------------------------------------------------------------------------------------------------------------


class Holding(Strategy):
    "Buys on the first day and holds; with a stop, perhaps."

    def __init__(self, stop: float | None = None):
        self.stop = stop

    @property
    def exits(self) -> ExitRules:
        return ExitRules(stop_loss=self.stop)

    def signals(self, panel: Panel) -> pd.DataFrame:
        wish = pd.DataFrame(np.nan, panel.days, list(panel.symbols))
        wish.iloc[0] = 1.0
        return wish


def told(days: int, split: float = 1.0, dividend: float = 0.0, close: float = 25.0) -> Panel:
    "A share that closes at 100 on three days and elsewhere from the fourth on, with what is said of the fourth."
    index = pd.bdate_range("2024-03-04", periods=8, tz="UTC")
    price = [100.0, 100.0, 100.0, *[close] * 5]
    bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), price), index).assign(volume=1e6)
    bars["split"], bars["dividend"] = 1.0, 0.0
    bars.loc[index[3], ["split", "dividend"]] = split, dividend
    return HybridDataNormalizer().normalize({"ACME": bars[:days]})


def goes_on(ledger: Ledger, panel: Panel) -> object:
    "One more day of an account that holds."
    return run_cycle(
        panel,
        {"hold": (Holding(), 1.0)},
        ledger=ledger,
        account="proof",
        cash=10_000,
        costs=Costs(rate=0),
        source_kind="test",
    )


def lived(*panels: Panel, stop: float | None = None) -> tuple[Ledger, object]:
    "An account that lives through the last day of each panel in turn, as the data were then."
    ledger = Ledger("sqlite://", account="proof", write=True)
    for panel in panels:
        report = run_cycle(
            panel, {"hold": (Holding(stop), 1.0)}, ledger=ledger, account="proof", cash=10_000, costs=Costs(rate=0),
            source_kind="test",
        )  # fmt: skip
    return ledger, report


def test_a_split_that_is_told_a_day_late_is_booked_then_and_said() -> None:
    ledger, report = lived(*(told(n) for n in (1, 2, 3, 4)), told(5, split=4.0))
    assert ledger.equity().tolist() == [10_000.0, 10_000.0, 10_000.0, 2_500.0, 10_000.0]
    assert ledger.positions()["ACME"].quantity == Decimal(400)
    assert ledger.positions()["ACME"].entry_price == Decimal(25)
    assert report.holdings["ACME"].highest == 25.0  # type: ignore[attr-defined]
    sentence = "split 4 for 1 of ACME on 2024-03-07: 100 became 400"
    assert str(report).endswith(f"; booked late: {sentence}")
    assert [w.title for w in cycle_warnings(report)] == ["Booked late"]
    assert ledger.rebuild() == []
    for n in (5, 6):
        again = run_cycle(
            told(n, split=4.0), {"hold": (Holding(), 1.0)}, ledger=ledger, account="proof", cash=10_000,
            costs=Costs(rate=0), source_kind="test",
        )  # fmt: skip
        assert again.late == ((sentence,) if n == 5 else ())
    assert len(ledger.actions()) == 1


def test_a_stop_that_a_late_split_has_set_off_sells_all_the_new_shares() -> None:
    ledger, _ = lived(*(told(n) for n in (1, 2, 3, 4)), told(5, split=4.0), stop=0.05)
    assert [(f.side, f.quantity, f.reason) for f in ledger.fills()][1:] == [(Side.SELL, Decimal(400), "stop_loss")]
    assert ledger.cash() == Decimal(10_000)


def test_a_split_that_is_told_after_the_position_was_sold_in_old_shares_is_refused() -> None:
    panels = [told(n) for n in (1, 2, 3, 4, 5)]
    with pytest.raises(
        LateActionError, match=r"split 4 for 1 of ACME on 2024-03-07: .* has gone on with old shares of ACME"
    ) as refused:
        lived(*panels, told(6, split=4.0), stop=0.05)
    assert "--set ledger.account=NAME" in str(refused.value)
    assert isinstance(refused.value, ActionConflictError)
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def test_a_dividend_that_is_told_late_is_paid_on_what_was_held_then_also_when_it_is_sold() -> None:
    backtested = backtest(Holding(), told(6, dividend=1.0, close=99.0), cash=10_000.0, costs=Costs(rate=0))
    ledger, report = lived(
        *(told(n, close=99.0) for n in (1, 2, 3, 4)), *(told(n, dividend=1.0, close=99.0) for n in (5, 6))
    )
    assert ledger.equity().iloc[-1] == backtested.equity.iloc[-1] == 10_000.0
    ledger, report = lived(
        *(told(n, close=90.0) for n in (1, 2, 3, 4, 5)), told(6, dividend=1.0, close=90.0), stop=0.05
    )
    assert ledger.cash() == Decimal(9_100)
    assert report.late == ("dividend of ACME on 2024-03-07: 1 a share on 100",)  # type: ignore[attr-defined]


@pytest.mark.parametrize("then", [0.0, 2.0])
def test_a_dividend_that_is_withdrawn_or_changed_stays_as_it_was_booked_and_that_is_said_once(then: float) -> None:
    panels = [told(n, dividend=1.0, close=99.0) for n in (1, 2, 3, 4, 5)]
    ledger, _ = lived(*panels)
    before = ledger.actions()
    changed = [goes_on(ledger, told(n, dividend=then, close=99.0)) for n in (6, 7)]
    assert ledger.actions() == before
    assert [len(report.otherwise) for report in changed] == [1, 0]
    assert "; left as booked: dividend of ACME on 2024-03-07: 1 a share on 100: " in str(changed[0])
    assert "left as booked" not in str(changed[1])


def test_a_split_that_is_withdrawn_while_its_position_is_open_is_refused_and_nothing_is_done() -> None:
    ledger, _ = lived(*[told(n, split=4.0, close=25.0) for n in (1, 2, 3, 4, 5)])
    before = ledger.actions(), ledger.cash(), ledger.equity().tolist()
    with pytest.raises(LateActionError, match=r"ACME on 2024-03-07: .*data no longer tell of it"):
        goes_on(ledger, told(6, close=25.0))
    assert (ledger.actions(), ledger.cash(), ledger.equity().tolist()) == before


def test_a_symbol_of_whose_prices_nothing_is_certain_stops_nobody() -> None:
    ledger, _ = lived(*[told(n, split=4.0, close=25.0) for n in (1, 2, 3, 4, 5)])
    before = ledger.actions()
    panel = told(6, close=25.0)  # which does not tell of the split
    found = Finding("ACME", panel.days[4], "hundredfold", 100.0, "fatal", "Get it again.")
    report = goes_on(ledger, guarded(panel, [found]))
    assert ledger.actions() == before
    assert report.otherwise == ()


def refusal(panel: Panel, ledger: Ledger, day: pd.Timestamp) -> BookedAction | None:
    "One cycle; the action that it was refused for."
    try:
        once(panel, ledger, day, "proof")
    except LateActionError as refused:
        return refused.action
    return None


@pytest.mark.parametrize("seed", range(4))
def test_actions_that_are_told_days_late_are_booked_once_or_refused_and_never_lost(seed: int) -> None:
    panel, rng = acted_panel(seed, prices=True, often=0.05), np.random.default_rng(seed)
    ledger = Ledger("sqlite://", account="proof", write=True)
    delay = np.where(rng.random(panel.shape) < 0.5, rng.integers(1, 4, panel.shape), 0)
    late = 0
    for row in range(20, 110):
        known = row - np.arange(len(panel.days))[:, None] >= delay
        actions = {k: np.where(known, v, v.dtype.type(k == "split")) for k, v in panel.actions.items()}
        now, day, before = replace(panel, actions=actions), panel.days[row], len(ledger.actions())
        if (wrong := refusal(now, ledger, day)) is not None:
            assert wrong.kind == "split"
            assert any(fill.symbol == wrong.symbol and fill.day >= wrong.day for fill in ledger.fills())
            return
        late += sum(action.day < day for action in ledger.actions()[before:])
        for symbol in {fill.symbol for fill in ledger.fills()}:
            own = [fill for fill in ledger.fills() if fill.symbol == symbol]
            assert [a for a in ledger.actions() if a.symbol == symbol] == should_be(now, symbol, own, day)
        assert ledger.evening(day).cash == ledger.cash()
    assert late > 0
