"""The book: exact, whole or not at all, refusing with a sentence what it must not keep."""

from __future__ import annotations

import pickle
import sqlite3
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, MetaData, Table, create_engine, insert, select

from trading_core.errors import LedgerError
from trading_core.ledger import (
    BoundError,
    FillConflictError,
    Ledger,
    PlannedError,
    ReadOnlyLedgerError,
    SchemaError,
    UnreadableLedgerError,
    UnwritableLedgerError,
    positions_of,
)
from trading_core.ledger import tables as t
from trading_core.ledger.days import EquityConflictError
from trading_core.ledger.orders import FinalStatusError, RunIdError, UnknownOrderError
from trading_core.ledger.store import BusyLedgerError, WhichAccountError
from trading_core.ledger.tables import Day, Exact, InexactError, Moment, NaiveTimeError, NotADayError
from trading_core.model import (
    CASH_STEP,
    PRICE_STEP,
    Fill,
    OrderRequest,
    OrderResult,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
)

DAY = pd.Timestamp("2024-03-28", tz="UTC")


def fill(number: int = 1, side: Side = Side.BUY, quantity: str = "2", price: str = "10", **more: object) -> Fill:
    given = {"fee": Decimal("0.1"), "day": DAY} | more
    return Fill(f"paper-{number}", f"order-{number}", "ACME", side, Decimal(quantity), Decimal(price), **given)  # type: ignore[arg-type]


def order(number: int = 1, **more: object) -> OrderRequest:
    return OrderRequest(f"order-{number}", "ACME", Side.BUY, Decimal("1.5"), **more)  # type: ignore[arg-type]


# Exactness ------------------------------------------------------------------------------------------------------------


def through(value: object, kind: object) -> object:
    there = Table("there", MetaData(), Column("value", kind))  # type: ignore[call-overload]
    with create_engine("sqlite://").begin() as connection:
        there.create(connection)
        connection.execute(insert(there).values(value=value))
        return connection.execute(select(there.c.value)).scalar_one()


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15, places=8))
def test_cash_comes_back_to_the_last_digit(amount: Decimal) -> None:
    assert through(amount, Exact(CASH_STEP)) == amount


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12))
def test_a_quantity_comes_back_with_every_digit_it_had(amount: Decimal) -> None:
    assert through(amount, Exact()) == amount


@pytest.mark.parametrize(
    ("given_price", "kept"),
    [("0.0000000005", "0.000000000"), ("0.0000000015", "0.000000002"), ("0.00020473099725", "0.000204731")],
)
def test_prices_keep_nine_decimals_half_even(given_price: str, kept: str) -> None:
    assert str(through(Decimal(given_price), Exact(PRICE_STEP))) in (kept, str(Decimal(kept)))
    assert through(Decimal(given_price), Exact(PRICE_STEP)) == Decimal(kept)


@pytest.mark.parametrize("value", [0.1, 1, "1", Decimal("NaN"), Decimal("Infinity")])
def test_what_is_no_finite_decimal_is_refused(value: object) -> None:
    with pytest.raises(InexactError, match="finite Decimal"):
        through(value, Exact(CASH_STEP))


def test_moments_are_aware_and_come_back_in_utc() -> None:
    tokyo = datetime(2024, 3, 29, 8, 30, 0, 123456, tzinfo=timezone(timedelta(hours=9)))
    back = through(tokyo, Moment())
    assert back == tokyo
    assert back.tzinfo is UTC  # type: ignore[attr-defined]
    with pytest.raises(NaiveTimeError):
        through(datetime(2024, 3, 29), Moment())


@pytest.mark.parametrize("wrong", [pd.Timestamp("2024-03-29"), pd.Timestamp("2024-03-29 12:00:01", tz="UTC")])
def test_a_day_is_a_utc_midnight(wrong: pd.Timestamp) -> None:
    with pytest.raises(NotADayError, match="UTC midnight"):
        through(wrong, Day())
    assert through(DAY, Day()) == DAY


def test_the_end_of_a_shorter_bar_stands_where_a_day_stands_and_comes_after_its_midnight(tmp_path: Path) -> None:
    ends = [
        pd.Timestamp(text, tz="UTC") for text in ("2024-03-29", "2024-03-29 13:35", "2024-03-29 20:00", "2024-03-30")
    ]
    assert [through(end, Day()) for end in ends] == ends
    with Ledger.open(tmp_path / "ledger.db", "demo") as ledger:
        ledger.bind("csv", "paper", Decimal(100))
        for end in reversed(ends):
            ledger.set_equity(end, Decimal(100), Decimal(100))
        assert list(ledger.equity().index) == ends
        assert ledger.last_day() == ends[-1]
        assert ledger.evening(ends[1]) is not None
    rows = sqlite3.connect(tmp_path / "ledger.db").execute("SELECT day FROM equity ORDER BY day").fetchall()
    assert [day for (day,) in rows] == ["2024-03-29", "2024-03-29 13:35:00", "2024-03-29 20:00:00", "2024-03-30"]


def test_money_is_text_in_the_file(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db", "demo") as ledger:
        ledger.bind("csv", "paper", Decimal("1234567.00000001"))
        ledger.add_fills([fill(quantity="0.123456", price="0.000204731")])
    rows = (
        sqlite3.connect(tmp_path / "ledger.db")
        .execute("SELECT quantity, price, fee, typeof(price), day FROM fills")
        .fetchall()
    )
    assert rows == [("0.123456", "0.000204731", "0.10000000", "text", "2024-03-28")]


# Opening --------------------------------------------------------------------------------------------------------------


def test_a_missing_file_reads_as_empty_and_is_not_made(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "no" / "ledger.db")
    assert (ledger.accounts(), ledger.fills(), ledger.positions(), ledger.pending(), ledger.last_cycle()) == (
        [],
        [],
        {},
        [],
        None,
    )
    assert (
        len(ledger.runs()),
        len(ledger.orders()),
        len(ledger.equity()),
        len(ledger.cycles()),
        len(ledger.signals()),
    ) == (0,) * 5
    assert ledger.cash(Decimal(5)) == 5
    assert str(ledger.equity_frame().index.dtype) == "datetime64[ns, UTC]"
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_reads_as_empty_and_is_filled_by_a_writer(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch()
    assert Ledger(tmp_path / "ledger.db").accounts() == []
    with Ledger.open(tmp_path / "ledger.db", "demo") as ledger:
        ledger.bind("csv", "paper")
    assert Ledger(tmp_path / "ledger.db").accounts() == ["demo"]


def test_a_reader_that_came_first_sees_what_is_written_later(place: str) -> None:
    reader = Ledger(place)
    assert reader.accounts() == []
    with Ledger.open(place, "demo") as writer:
        writer.bind("csv", "paper", Decimal(10))
        assert reader.accounts() == ["demo"]
        writer.add_fills([fill(1)])
        assert len(reader.fills()) == 1
        writer.add_fills([fill(2)])
        assert len(reader.fills()) == 2


def test_readers_and_a_writer_get_along(place: str) -> None:
    errors: list[BaseException] = []

    def look() -> None:
        try:
            reader = Ledger(place, account="demo")
            for _ in range(40):
                assert len(reader.equity()) <= 20
        except BaseException as error:
            errors.append(error)

    with Ledger.open(place, "demo") as writer:
        writer.bind("csv", "paper")
        threads = [threading.Thread(target=look) for _ in range(2)]
        for thread in threads:
            thread.start()
        for n in range(20):
            writer.set_equity(DAY + pd.Timedelta(days=n), Decimal(n), Decimal(0))
        for thread in threads:
            thread.join()
    assert errors == []


def test_foreign_keys_are_on_and_commits_wait_for_the_disk(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db", "demo") as ledger:
        with ledger.reading() as connection:
            pragmas = {
                p: connection.exec_driver_sql(f"PRAGMA {p}").scalar_one() for p in ("foreign_keys", "synchronous")
            }
        assert pragmas == {"foreign_keys": 1, "synchronous": 2}
        with pytest.raises(LedgerError):  # nobody has opened this account
            ledger.set_equity(DAY, Decimal(1), Decimal(1))


def test_a_reader_cannot_write(place: str) -> None:
    Ledger.open(place, "demo").close()
    ledger = Ledger(place, account="demo")
    for attempt in (
        lambda: ledger.bind("csv", "paper"), lambda: ledger.add_fills([fill()]), lambda: ledger.start_run("r", "daily"),
        lambda: ledger.add_intents([order()]), lambda: ledger.set_equity(DAY, Decimal(1), Decimal(1)),
    ):  # fmt: skip
        with pytest.raises(ReadOnlyLedgerError, match="was opened for reading"):
            attempt()


def test_a_corrupt_file_is_refused_with_a_sentence_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this was never a database, whatever its name says. " * 50)
    content = path.read_bytes()
    for write in (False, True):
        with pytest.raises(UnreadableLedgerError, match="cannot be read as a ledger") as refused:
            Ledger(path, account="demo", write=write)
        assert "backup" in str(refused.value)
    assert path.read_bytes() == content


def test_a_truncated_ledger_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger.open(path, "demo") as ledger:
        ledger.bind("csv", "paper")
        ledger.add_fills([fill(n) for n in range(200)])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(LedgerError):
        Ledger(path, account="demo").fills()


def test_another_programs_database_is_not_taken_over(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "music.db") as other:
        other.execute("CREATE TABLE songs (name TEXT)")
    with pytest.raises(UnreadableLedgerError, match="another program's database, with songs"):
        Ledger(tmp_path / "music.db", account="demo", write=True)


def test_the_schema_has_a_number_where_alembic_looks_for_it_and_a_newer_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger.open(path, "demo").close()
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [(t.SCHEMA,)]
        raw.execute("UPDATE alembic_version SET version_num = '0042'")
    for write in (False, True):
        with pytest.raises(SchemaError, match=r"schema '0042'.*update trading-core"):
            Ledger(path, account="demo", write=write)


def test_a_place_that_cannot_be_written_is_refused_before_anything(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="nothing was"):
        Ledger.open(tmp_path / "file" / "ledger.db", "demo")


def test_a_full_disk_is_told_as_such_and_the_step_never_happened(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db", "demo") as ledger:
        ledger.bind("csv", "paper")
        ledger.add_fills([fill(0)])
        with ledger.reading() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        ledger.engine.dispose()
        from sqlalchemy import event

        event.listen(ledger.engine, "connect", lambda raw, _: raw.execute(f"PRAGMA max_page_count = {pages}"))
        with pytest.raises(UnwritableLedgerError, match=r"full.*kept in .*ledger-demo.backup.jsonl"):
            ledger.add_fills([fill(n) for n in range(1, 3000)])
        assert len(ledger.fills()) == 1
    with Ledger.open(tmp_path / "ledger.db", "demo") as ledger:  # there is room again
        assert len(ledger.fills()) == 3000


def test_a_closed_ledger_lets_go_of_the_lock_even_when_opening_failed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_text("no database " * 100)
    for _ in range(2):  # the second attempt would meet the first one's lock
        with pytest.raises(UnreadableLedgerError):
            Ledger.open(path, "demo")


def test_errors_survive_the_trip_between_processes(tmp_path: Path) -> None:
    errors = [
        UnreadableLedgerError("a", "b"), UnwritableLedgerError("a", "b"), SchemaError("a", "b"), ReadOnlyLedgerError("a"),
        BoundError("a", "b", "c", "d"), FillConflictError(fill(), fill(price="11")), PlannedError("a", "b", DAY),
        EquityConflictError(DAY, Decimal(1), Decimal(2)), FinalStatusError("a", "b", "c"), UnknownOrderError("a"),
        RunIdError("a", "b"), WhichAccountError(["a", "b"]), BusyLedgerError("a"),
    ]  # fmt: skip
    for error in errors:
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.exit_code) == (type(error), str(error), error.exit_code)
        assert error.exit_code == (3 if isinstance(error, BusyLedgerError) else 2)


def test_a_database_that_another_tool_keeps_busy_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **given: real(*args, **given | {"timeout": 0.05}))
    path = tmp_path / "ledger.db"
    with Ledger.open(path, "demo") as ledger:
        ledger.bind("csv", "paper")
        tool = real(path, isolation_level=None)
        tool.execute("BEGIN EXCLUSIVE")
        with pytest.raises(BusyLedgerError, match="another program is writing") as refused:
            ledger.add_fills([fill()])
        assert refused.value.exit_code == 3
        with Ledger(path, account="demo") as reader:
            assert reader.fills() == []  # who reads does not wait for who writes
        tool.close()
        assert ledger.add_fills([fill()]) == [fill()]
    tool = real(path, isolation_level=None)
    tool.execute("BEGIN EXCLUSIVE")
    with pytest.raises(BusyLedgerError):  # at rest it is a plain file, which can be shut entirely
        Ledger(path, account="demo").fills()
    tool.close()


def test_a_ledger_at_rest_is_one_plain_file_that_can_be_read_where_nothing_may_be_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger.open(path, "demo") as ledger:
        ledger.bind("csv", "paper")
        ledger.add_fills([fill()])
        assert (tmp_path / "ledger.db-wal").exists()
        reader = Ledger(path, account="demo")
        assert len(reader.fills()) == 1
    assert sorted(file.name for file in tmp_path.iterdir() if file.suffix in (".db", ".lock")) == [
        "ledger-demo.lock",
        "ledger.db",
    ]
    reader.close()
    Ledger.open(path, "demo").close()  # nobody looks any more
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ledger-demo.lock", "ledger.db"]
    copy = tmp_path / "copy.db"
    copy.write_bytes(path.read_bytes())
    assert len(Ledger(copy, account="demo").fills()) == 1


# Accounts -------------------------------------------------------------------------------------------------------------


def test_accounts_in_one_file_do_not_see_each_other(place: str) -> None:
    for name in ("one", "two"):
        with Ledger.open(place, name) as ledger:
            ledger.bind("csv", "paper", Decimal(100))
            closing = fill(1, fee=Decimal(1 if name == "one" else 2))  # the same venue id in both
            ledger.add_fills([closing])
            ledger.set_equity(DAY, Decimal(100), Decimal(100))
    assert Ledger(place, account="one").cash() == 79
    assert Ledger(place, account="two").cash() == 78
    with pytest.raises(WhichAccountError, match="This ledger has one, two"):
        Ledger(place).fills()


def test_a_writer_must_say_whose_account(tmp_path: Path) -> None:
    with pytest.raises(WhichAccountError):
        Ledger(tmp_path / "ledger.db", write=True)


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (("yahoo", "paper", Decimal(10_000)), "opened with source csv, and now it is yahoo"),
        (("csv", "alpaca", Decimal(10_000)), "opened with executor paper, and now it is alpaca"),
        (("csv", "paper", Decimal(9_999)), "opened with cash 10000.00000000, and now it is 9999.00000000"),
    ],
)
def test_an_account_is_bound_at_its_first_use(use: tuple[str, str, Decimal], words: str, ledger: Ledger) -> None:
    ledger.bind("csv", "paper", Decimal(10_000))
    ledger.bind("csv", "paper")
    with pytest.raises(BoundError, match=words) as refused:
        ledger.bind(*use)
    assert "--set ledger.account=NAME" in str(refused.value)


# Orders and fills -----------------------------------------------------------------------------------------------------


def test_an_order_comes_back_as_it_went_in(ledger: Ledger) -> None:
    full = order(
        2, reason="stop_loss", strategy="s", whole=True, order_type=OrderType.STOP_LIMIT, time_in_force=TimeInForce.DAY,
        limit_price=Decimal("1.123456789"), stop_price=Decimal("1.1"),
    )  # fmt: skip
    ledger.add_intents([full, order(1)], "daily", DAY)
    assert ledger.intents("daily", DAY) == [full, order(1)]  # in plan order, not by id
    assert ledger.unsent() == [full, order(1)]


def test_an_intent_that_is_there_is_left_alone(ledger: Ledger) -> None:
    ledger.add_intents([order()], "daily", DAY)
    ledger.set_status(OrderResult("order-1", OrderStatus.ACCEPTED))
    ledger.add_intents([order(), order(2)], "daily", DAY)
    assert [o.client_id for o in ledger.pending()] == ["order-1"]
    assert [o.client_id for o in ledger.unsent()] == ["order-2"]


def test_a_final_status_is_final_and_an_order_must_be_written_before_it_has_one(ledger: Ledger) -> None:
    ledger.add_intents([order()])
    for status in (OrderStatus.UNKNOWN, OrderStatus.ACCEPTED, OrderStatus.FILLED, OrderStatus.FILLED):
        ledger.set_status(OrderResult("order-1", status))
    with pytest.raises(FinalStatusError, match="is filled in the ledger, which is final"):
        ledger.set_status(OrderResult("order-1", OrderStatus.CANCELED))
    with pytest.raises(UnknownOrderError, match="stored before it is sent"):
        ledger.set_status(OrderResult("order-9", OrderStatus.ACCEPTED))


def test_the_same_fill_again_is_no_fill_and_another_under_its_id_is_refused(ledger: Ledger) -> None:
    assert ledger.add_fills([fill(), fill()]) == [fill()]
    assert ledger.add_fills([fill()]) == []
    for other in (
        fill(price="11"),
        fill(quantity="3"),
        replace(fill(), day=DAY + pd.Timedelta(days=1)),
        replace(fill(), reason="x"),
    ):
        with pytest.raises(FillConflictError, match="against"):
            ledger.add_fills([fill(2), other])
    assert ledger.fills() == [fill()]  # the second one of a refused step is not there either


def test_fills_are_told_by_day_and_within_a_day_as_they_were_booked(ledger: Ledger) -> None:
    later = replace(fill(1), day=DAY + pd.Timedelta(days=1))
    ledger.add_fills([later, fill(9), fill(2)])
    assert [f.venue_id for f in ledger.fills()] == ["paper-9", "paper-2", "paper-1"]
    assert [f.venue_id for f in ledger.fills(since=later.day)] == ["paper-1"]
    frame = ledger.fills_frame()
    assert list(frame.columns[:8]) == ["day", "symbol", "side", "quantity", "price", "fee", "reason", "strategy"]
    assert (str(frame["day"].dtype), frame["quantity"].dtype) == ("datetime64[ns, UTC]", float)


def test_a_step_that_fails_leaves_no_trace_not_even_in_what_was_read(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), ledger.writing():  # noqa: PT012
        ledger.add_fills([fill()])
        assert len(ledger.fills()) == 1
        raise ZeroDivisionError
    assert ledger.fills() == []
    ledger.add_fills([fill(2)])
    assert [f.venue_id for f in ledger.fills()] == ["paper-2"]


def test_a_day_is_booked_whole_or_not_at_all(ledger: Ledger) -> None:
    with pytest.raises(UnknownOrderError):
        ledger.book_day(DAY, [fill()], [OrderResult("never", OrderStatus.FILLED)], Decimal(1), Decimal(1))
    assert (ledger.fills(), ledger.last_day()) == ([], None)
    ledger.book_day(DAY, [fill()], [], Decimal(10), Decimal(1))
    ledger.book_day(DAY, [fill()], [], Decimal(10), Decimal(1))
    with pytest.raises(EquityConflictError, match="with an equity of 10"):
        ledger.book_day(DAY, [], [], Decimal(11), Decimal(1))


def test_a_plan_is_stored_whole_and_once(ledger: Ledger) -> None:
    plan = {"targets": {"ACME": 0.1 + 0.2}, "cancels": [], "refusals": []}
    given = {"orders": [order()], "plan": plan, "signals": {"s": {"ACME": 1.0, "BOLT": float("nan")}}}
    stored = ledger.store_plan("daily", DAY, equity=Decimal(1), cash=Decimal(1), **given)  # type: ignore[arg-type]
    assert ledger.cycle("daily", DAY) == stored
    assert stored.plan["targets"]["ACME"] == 0.1 + 0.2
    assert ledger.signals(DAY)["symbol"].tolist() == ["ACME"]
    with pytest.raises(PlannedError, match="decided once"):
        ledger.store_plan("daily", DAY, equity=Decimal(1), cash=Decimal(1), **given)  # type: ignore[arg-type]
    assert ledger.cycle("weekly", DAY) is None
    assert ledger.last_cycle("weekly") is None
    assert ledger.last_cycle(before=DAY) is None


def test_positions_average_their_purchases_and_start_anew_after_a_full_sale() -> None:
    fills = [fill(1), fill(2, quantity="2", price="20"), fill(3, Side.SELL, "1", "30")]
    held = positions_of(fills)["ACME"]
    assert (held.quantity, held.entry_price, held.entry_day) == (Decimal(3), Decimal(15), DAY)
    after = [*fills, fill(4, Side.SELL, "3", "30"), replace(fill(5, price="50"), day=DAY + pd.Timedelta(days=3))]
    anew = positions_of(after)["ACME"]
    assert (anew.entry_price, anew.entry_day) == (Decimal(50), DAY + pd.Timedelta(days=3))
    assert positions_of(after[:4]) == {}


# Runs and trials ------------------------------------------------------------------------------------------------------


def test_a_run_that_was_killed_is_noted_by_the_next_one(ledger: Ledger) -> None:
    ledger.start_run("r1", "daily", DAY)
    ledger.start_run("r2", "daily", DAY, pid=7, folder="outputs/r2")
    ledger.end_run("r2", "done", orders=3)
    runs = ledger.runs().set_index("run_id")
    assert runs["status"].to_dict() == {"r2": "done", "r1": "failed"}
    assert "killed" in runs.loc["r1", "error"]
    assert runs.loc["r2", "detail"] == {"folder": "outputs/r2", "orders": 3}
    assert runs.loc["r2", "pid"] == 7


def test_a_run_begins_once_and_ends_under_its_id(ledger: Ledger) -> None:
    ledger.start_run("r1", "daily")
    with pytest.raises(RunIdError, match="is in the ledger already"):
        ledger.start_run("r1", "daily")
    with pytest.raises(RunIdError, match="never began"):
        ledger.end_run("r2", "done")


def test_a_scratch_copy_takes_everything_along_and_gives_nothing_back(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db", "demo") as ledger:
        ledger.bind("csv", "paper", Decimal(10))
        ledger.add_fills([fill()])
    content = (tmp_path / "ledger.db").read_bytes()
    copy = Ledger(tmp_path / "ledger.db").scratch()
    copy.add_fills([fill(2)])
    assert (len(copy.fills()), len(Ledger(tmp_path / "ledger.db").fills())) == (2, 1)
    assert (tmp_path / "ledger.db").read_bytes() == content


def test_trials_of_any_notebook_are_read_from_the_book(ledger: Ledger) -> None:
    assert ledger.trials().empty
    assert str(ledger.trials()["first_day"].dtype) == "datetime64[ns, UTC]"
