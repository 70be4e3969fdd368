"""First bought, first sold: lots that add up to the account, to the last digit."""

from __future__ import annotations

from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_core.ledger import OversoldError, fifo_pnl, open_lots
from trading_core.model import Fill, Side, cash_of

START = pd.Timestamp("2024-01-01", tz="UTC")


def fill(
    n: int, side: Side, quantity: Decimal, price: Decimal, fee: Decimal = Decimal(0), symbol: str = "ACME"
) -> Fill:
    return Fill(f"v{n}", f"c{n}", symbol, side, quantity, price, fee, START + pd.Timedelta(days=n))


def test_the_oldest_shares_go_first() -> None:
    d = Decimal
    fills = [
        fill(0, Side.BUY, d(2), d(100)), fill(1, Side.BUY, d(2), d(140)), fill(2, Side.SELL, d(3), d(130)),
        fill(3, Side.BUY, d(1), d(120)), fill(4, Side.SELL, d(2), d(150)),
    ]  # fmt: skip
    lots = fifo_pnl(fills)
    assert lots["quantity"].tolist() == [2, 1, 1, 1]
    assert lots["pnl"].tolist() == [60, -10, 10, 30]
    assert lots["entry_day"].tolist() == [START + pd.Timedelta(days=n) for n in (0, 1, 1, 3)]
    assert open_lots(fills).empty


def test_no_fills_make_an_empty_table_with_its_columns() -> None:
    assert list(fifo_pnl([]).columns) == [
        "symbol",
        "entry_day",
        "exit_day",
        "quantity",
        "entry_price",
        "exit_price",
        "fees",
        "pnl",
    ]
    assert str(fifo_pnl([])["exit_day"].dtype) == "datetime64[ns, UTC]"
    assert open_lots([]).empty


def test_a_sale_of_more_than_was_bought_is_refused() -> None:
    with pytest.raises(OversoldError, match="only 1 were held"):
        fifo_pnl([fill(0, Side.BUY, Decimal(1), Decimal(1)), fill(1, Side.SELL, Decimal(2), Decimal(1))])


@st.composite
def histories(draw: st.DrawFn) -> list[Fill]:
    held: dict[str, Decimal] = {}
    fills = []
    for n in range(draw(st.integers(1, 25))):
        symbol = draw(st.sampled_from(["ACME", "COIN/USD"]))
        have = held.get(symbol, Decimal(0))
        units = draw(st.integers(1, 10**9))
        quantity, side = Decimal(units) / 10**6, Side.BUY
        if have and draw(st.booleans()):
            side, quantity = Side.SELL, have if draw(st.booleans()) else min(have, quantity)
        price = Decimal(draw(st.integers(1, 10**13))) / 10**9
        fee = Decimal(draw(st.integers(0, 10**10))) / 10**8
        held[symbol] = have + (quantity if side is Side.BUY else -quantity)
        fills.append(fill(n, side, quantity, price, fee, symbol))
    return fills


@settings(max_examples=40)
@given(histories(), st.integers(1, 10**9))
def test_realised_and_open_profit_are_the_change_of_the_account(fills: list[Fill], units: int) -> None:
    price = Decimal(units) / 10**6
    lots, still = fifo_pnl(fills), open_lots(fills)
    held = sum(still["quantity"], Decimal(0))
    change = sum((f.cash_change for f in fills), Decimal(0)) + cash_of(held * price)
    assert sum(lots["pnl"], Decimal(0)) + cash_of(held * price) - sum(still["paid"], Decimal(0)) == change
    bought = sum((f.quantity for f in fills if f.side is Side.BUY), Decimal(0))
    assert sum(lots["quantity"], Decimal(0)) + held == bought


@settings(max_examples=40)
@given(histories())
def test_every_fee_is_counted_once(fills: list[Fill]) -> None:
    lots = fifo_pnl(fills)
    sold = [f for f in fills if f.side is Side.SELL]
    at_least = sum((f.fee for f in sold), Decimal(0))
    assert at_least <= sum(lots["fees"], Decimal(0)) <= sum((f.fee for f in fills), Decimal(0))
