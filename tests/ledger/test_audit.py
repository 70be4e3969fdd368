"""The audit trail is complete, exact, the same every time and on both databases, and never overwritten by accident."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import update

from trading_core.ledger import Ledger, fifo_pnl
from trading_core.ledger import tables as t
from trading_core.ledger.audit import ExportExistsError, export_ledger
from trading_core.model import Fill, OrderRequest, OrderResult, OrderStatus, Side

DAY = pd.Timestamp("2024-03-28", tz="UTC")


def fill(n: int, side: Side, quantity: str, day: int = 0, symbol: str = "ACME") -> Fill:
    amounts = Decimal(quantity), Decimal("10.123456789"), Decimal("0.00000001")
    return Fill(f"v{n}", f"c{n}", symbol, side, *amounts, DAY + pd.Timedelta(days=day), 'a "signal", so to say', "ü")


def filled(ledger: Ledger) -> None:
    ledger.bind("csv", "paper", Decimal("10000.00000001"))
    ledger.add_intents([OrderRequest("o", "ACME", Side.BUY, Decimal("0.100"), whole=True)], "daily", DAY)
    ledger.set_status(OrderResult("o", OrderStatus.FILLED, "v", "line one\nline two"), DAY)
    ledger.add_fills([fill(1, Side.BUY, "0.300"), fill(2, Side.SELL, "0.1", 1), fill(3, Side.SELL, "0.2", 2)])
    ledger.add_fills([fill(4, Side.BUY, "1", 0, "BTC/USD"), fill(5, Side.BUY, "1", 0, "AAA")])
    ledger.note("sent", "o", price=Decimal("1.10"), on=[1, None])
    ledger.store_plan(
        "daily", DAY, orders=[], plan={"b": 1, "a": 0.1}, signals={"s": {"ACME": 0.1 + 0.2}}, equity=Decimal(1), cash=Decimal(1)
    )  # fmt: skip
    ledger.set_equity(DAY, Decimal("10000.1"), Decimal(1))
    ledger.halt(DAY, "max_drawdown", "lost a lot")
    now = pd.Timestamp("2024-03-28 21:00:00.25", tz="UTC").to_pydatetime()
    with ledger.writing() as step:  # the clock's doing
        for table in t.metadata.sorted_tables:
            for column in table.c:
                if (str(column.type) == "DATETIME" and column.name != "moment") or (
                    table is t.events and column is t.events.c.moment
                ):
                    step.execute(update(table).values({column.name: now}).where(column.is_not(None)))


def test_both_databases_export_the_same_files_to_the_byte(tmp_path: Path, schema: str) -> None:
    manifests = []
    for n, url in enumerate([f"sqlite:///{tmp_path / 'ledger.db'}", schema]):
        with Ledger.open(url, "demo") as ledger:
            filled(ledger)
        manifests.append(export_ledger(Ledger(url), tmp_path / f"audit{n}"))
    assert manifests[0] == manifests[1]
    names = sorted(path.name for path in (tmp_path / "audit0").iterdir())
    for name in names:
        assert (tmp_path / "audit0" / name).read_bytes() == (tmp_path / "audit1" / name).read_bytes()
    assert len(names) == 2 * 17 + 1  # 15 tables and the lots, twice, and the manifest


def test_every_row_and_digit_is_there_and_the_sums_are_right(tmp_path: Path, ledger: Ledger) -> None:
    with ledger.writing() as step:
        step.execute(update(t.accounts).values(cash=Decimal("10000.00000001")))
    ledger.bind = lambda *_: None  # type: ignore[method-assign]
    filled(ledger)
    manifest = export_ledger(ledger, tmp_path / "audit")
    folder = tmp_path / "audit"
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    for name, told in manifest["files"].items():
        content = (folder / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == told["sha256"]
        rows = (
            json.loads(content)
            if name.endswith(".json")
            else list(csv.DictReader(content.decode().splitlines(keepends=True)))
        )
        assert len(rows) == told["rows"]
    fills = list(csv.DictReader((folder / "fills.csv").read_text().splitlines(keepends=True)))
    assert (fills[0]["quantity"], fills[0]["price"], fills[0]["reason"]) == (
        "0.300",
        "10.123456789",
        'a "signal", so to say',
    )
    orders = list(csv.DictReader((folder / "orders.csv").open(newline="")))
    assert orders[0]["message"] == "line one\nline two"
    lots = json.loads((folder / "realised.json").read_text())
    assert [Decimal(lot["pnl"]) for lot in lots] == fifo_pnl(ledger.fills())["pnl"].tolist()
    assert [(lot["bought"], lot["sold"]) for lot in lots] == [("v1", "v2"), ("v1", "v3")]
    assert manifest["accounts"]["demo"]["fills"] == 5
    assert {name: Decimal(x) for name, x in manifest["accounts"]["demo"]["realised"].items()} == ledger.realised()


def test_files_that_are_there_are_not_overwritten_unless_forced(tmp_path: Path, opened: Callable[..., Ledger]) -> None:
    with opened() as ledger:
        ledger.bind("csv", "paper", Decimal(1))
        (tmp_path / "audit").mkdir()
        (tmp_path / "audit" / "fills.csv").write_text("mine")
        with pytest.raises(ExportExistsError, match=r"holds fills\.csv already.*--force"):
            export_ledger(ledger, tmp_path / "audit")
        assert [path.name for path in (tmp_path / "audit").iterdir()] == ["fills.csv"]
        assert (tmp_path / "audit" / "fills.csv").read_text() == "mine"
        export_ledger(ledger, tmp_path / "audit", force=True)
        assert (tmp_path / "audit" / "fills.csv").read_text().startswith("number,account,venue_id")


def test_a_ledger_that_does_not_exist_yet_exports_empty_tables(tmp_path: Path) -> None:
    manifest = export_ledger(Ledger(tmp_path / "none.db"), tmp_path / "audit")
    assert {one["rows"] for one in manifest["files"].values()} == {0}


def test_a_symbol_of_which_more_was_sold_than_bought_is_named(tmp_path: Path, ledger: Ledger) -> None:
    ledger.add_fills([fill(1, Side.BUY, "1"), fill(2, Side.SELL, "2", 1)])
    manifest = export_ledger(ledger, tmp_path / "audit")
    assert manifest["accounts"]["demo"]["oversold"] == {"ACME": "v2"}
    assert manifest["files"]["realised.csv"]["rows"] == 0
