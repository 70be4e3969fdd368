"""What follows from the fills is kept with them, and is what they all together say."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from trading_core.ledger import Ledger, OversoldError, fifo_pnl, open_lots, positions_of
from trading_core.ledger import tables as t
from trading_core.model import Fill, Side, cash_of

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
from ledger import history

START = pd.Timestamp("2024-01-01", tz="UTC")


def fill(n: int, side: Side, quantity: str, day: int = 0, symbol: str = "ACME", price: str = "10") -> Fill:
    amounts = Decimal(quantity), Decimal(price), Decimal("0.1")
    return Fill(f"v{n}", f"c{n}", symbol, side, *amounts, START + pd.Timedelta(days=day), strategy=f"s{n % 2}")


def by_hand(fills: Sequence[Fill]) -> tuple[Decimal, dict[str, list[tuple[Decimal, Decimal]]]]:
    "An independent count: profit after fees, and what is left of each purchase with what was paid for it."
    left: dict[str, deque[list[Decimal]]] = {}
    profit = Decimal(0)
    for f in fills:
        lots, cash = left.setdefault(f.symbol, deque()), abs(f.quantity)
        if not cash:  # a fee
            profit += f.cash_change
            continue
        if f.side is Side.BUY:
            lots.append([f.quantity, -f.cash_change])
            continue
        rest, brought = cash, f.cash_change
        while rest:
            lot = lots[0]
            some = min(lot[0], rest)
            cost = lot[1] if some == lot[0] else cash_of(lot[1] * some / lot[0])
            gain = brought if some == rest else cash_of(brought * some / rest)
            profit, brought, rest = profit + gain - cost, brought - gain, rest - some
            lot[0], lot[1] = lot[0] - some, lot[1] - cost
            if not lot[0]:
                lots.popleft()
    return profit, {symbol: [(q, paid) for q, paid in lots] for symbol, lots in left.items() if lots}


def same(ledger: Ledger, opening: Decimal = Decimal(10_000)) -> None:
    "Kept, computed from all fills, and counted by hand: three ways to one result."
    fills = ledger.fills()
    profit, left = by_hand(fills)
    assert ledger.positions() == positions_of(fills)
    assert ledger.cash() == sum((f.cash_change for f in fills), opening)
    assert sum(ledger.realised().values(), Decimal(0)) == sum(fifo_pnl(fills)["pnl"], Decimal(0)) == profit
    assert ledger.lots().to_dict("list") == open_lots(fills).to_dict("list")
    kept: dict[str, list[tuple[Decimal, Decimal]]] = {}
    for row in ledger.lots().itertuples():
        kept.setdefault(row.symbol, []).append((row.quantity, row.paid))
    assert kept == left
    if fills:
        last = max(f.day for f in fills)
        for until in (last, last + pd.Timedelta(days=3), last - pd.Timedelta(days=1)):
            assert positions_of(ledger.open_fills(until)) == positions_of(f for f in fills if f.day <= until)


@st.composite
def batches(draw: st.DrawFn) -> list[list[Fill]]:
    "Fills that could have happened, booked in some batches, some of them late."
    held: dict[str, Decimal] = {}
    out: list[list[Fill]] = []
    day = 0
    for n in range(draw(st.integers(1, 30))):
        symbol, day = draw(st.sampled_from(["ACME", "COIN/USD"])), day + draw(st.integers(0, 2))
        have, side = held.get(symbol, Decimal(0)), Side.BUY
        quantity = Decimal(draw(st.integers(1, 10**7))) / 10**4
        if have and draw(st.booleans()):
            side, quantity = Side.SELL, have if draw(st.booleans()) else min(have, quantity)
        if draw(st.integers(0, 9)) == 0:
            quantity = Decimal(0)  # a fee, booked by itself
        held[symbol] = have + (quantity if side is Side.BUY else -quantity)
        new = fill(n, side, str(quantity), day, symbol, str(Decimal(draw(st.integers(1, 10**10))) / 10**9))
        if out and draw(st.booleans()):
            out[-1].append(new)
        else:
            out.append([new])
    if draw(st.booleans()) and len(out) > 1:  # a purchase that is heard of last, though it was first
        late = fill(999, Side.BUY, "7.5", -1, draw(st.sampled_from(["ACME", "COIN/USD"])), "3")
        out.append([late])
    return out


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batches())
def test_tallies_kept_fill_by_fill_are_those_of_all_fills(some: list[list[Fill]]) -> None:
    with Ledger("sqlite://", account="demo", write=True) as ledger:
        ledger.bind("csv", "paper", Decimal(10_000))
        for batch in some:
            ledger.add_fills(batch)
        same(ledger)
        assert ledger.rebuild() == []
        same(ledger)


def test_the_same_on_both_databases_with_a_long_book_and_many_lots(ledger: Ledger) -> None:
    fills = list(history(1500))
    for first in range(0, len(fills), 250):
        ledger.add_fills(fills[first : first + 250])
    same(ledger)
    many = [fill(10_000 + n, Side.BUY, "1", 5000 + n, "MANY") for n in range(70)]  # more lots than are brought at once
    ledger.add_fills(many)
    ledger.add_fills([fill(20_000, Side.SELL, "43.5", 5100, "MANY")])
    ledger.add_fills([fill(20_001, Side.SELL, "0.5", 5100, "MANY"), fill(20_002, Side.BUY, "2", 5100, "MANY")])
    same(ledger)
    assert ledger.rebuild() == []


def test_a_sale_of_more_than_was_there_is_booked_and_has_no_profit_until_the_purchase_is_found(ledger: Ledger) -> None:
    ledger.add_fills([fill(1, Side.BUY, "2", 3), fill(2, Side.SELL, "5", 4)])
    assert ledger.positions()["ACME"].quantity == -3
    assert ledger.positions() == positions_of(ledger.fills())
    for ask in (ledger.realised, ledger.lots):
        with pytest.raises(OversoldError, match=r"sells 5(\.0*)? ACME on 2024-01-05, but only 2(\.0*)? were held"):
            ask()
    ledger.add_fills([fill(3, Side.BUY, "3", 1)])  # made by hand, found later
    same(ledger)
    assert ledger.positions() == {}


def test_a_short_that_is_bought_back_exactly_is_flat(ledger: Ledger) -> None:
    ledger.add_fills([fill(1, Side.SELL, "5", 1), fill(2, Side.BUY, "5", 2)])
    assert ledger.positions() == positions_of(ledger.fills()) == {}


def test_a_step_that_fails_leaves_the_tallies_alone(ledger: Ledger) -> None:
    ledger.add_fills([fill(1, Side.BUY, "2", 1)])
    with pytest.raises(ZeroDivisionError), ledger.writing():  # noqa: PT012
        ledger.add_fills([fill(2, Side.SELL, "1", 2)])
        assert ledger.positions()["ACME"].quantity == 1
        raise ZeroDivisionError
    same(ledger)


def test_rebuilding_mends_what_somebody_edited_by_hand(ledger: Ledger) -> None:
    ledger.add_fills([fill(1, Side.BUY, "2", 1), fill(2, Side.BUY, "2", 1, "BOLT")])
    with ledger.writing() as step:
        step.execute(update(t.positions).where(t.positions.c.symbol == "ACME").values(quantity=Decimal(7)))
    assert ledger.positions()["ACME"].quantity == 7
    assert ledger.rebuild() == ["ACME"]
    same(ledger)


def test_accounts_have_tallies_of_their_own(opened: Callable[..., Ledger]) -> None:
    for name, quantity in (("one", "1"), ("two", "2")):
        with opened(name) as ledger:
            ledger.bind("csv", "paper", Decimal(100))
            ledger.add_fills([fill(1, Side.BUY, quantity, 1)])
    with opened("one") as ledger:
        assert ledger.rebuild() == []
        same(ledger, Decimal(100))
    with opened("two", write=False) as ledger:
        assert ledger.positions()["ACME"].quantity == 2


def test_the_cost_of_a_rebuild_grows_with_the_fills_and_an_append_costs_the_same(tmp_path: Path) -> None:
    took, appended = {}, {}
    for count in (3_000, 15_000):
        with Ledger.open(tmp_path / f"{count}.db", "demo") as ledger:
            ledger.bind("csv", "paper", Decimal(10**9))
            fills = list(history(count))
            ledger.add_fills(fills)
            began = time.process_time()
            ledger.rebuild()
            took[count] = time.process_time() - began
            began = time.process_time()
            for n in range(20):
                ledger.add_fills([fill(10**6 + n, Side.BUY, "1", 10_000, "S000")])
                ledger.positions(), ledger.cash(), ledger.realised()
            appended[count] = (time.process_time() - began) / 20
    assert took[15_000] < 12 * took[3_000]
    assert took[15_000] < 3
    assert appended[15_000] < 0.1
