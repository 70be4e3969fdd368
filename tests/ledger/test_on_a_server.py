"""A book on PostgreSQL: its lock, its tokens, what is said when it cannot be reached, and what must never be shown."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from trading_core.errors import LockedError
from trading_core.ledger import (
    TOKEN_VARIABLE,
    AccountLockedError,
    KeptAsideError,
    Ledger,
    LostLockError,
    MissingDriverError,
    StaleTokenError,
    UnreachableLedgerError,
    UnreadableLedgerError,
    account_lock,
    check_token,
    lock_holder,
)
from trading_core.ledger.lock import FileLock
from trading_core.ledger.place import Place
from trading_core.ledger.private import PASSWORD
from trading_core.ledger.server import ServerLock
from trading_core.model import Fill, OrderRequest, OrderResult, OrderStatus, Side

DAY = pd.Timestamp("2024-03-28", tz="UTC")


def fill(number: int = 1, quantity: str = "2") -> Fill:
    amounts = Decimal(quantity), Decimal("10.123456789"), Decimal("0.10000001")
    return Fill(f"v{number}", f"c{number}", "ACME", Side.BUY, *amounts, DAY)


def child(code: str, *args: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | environment,
    )  # fmt: skip


HOLD = (
    "import sys\nfrom trading_core.ledger import account_lock\n"
    "lock = account_lock(sys.argv[1], 'demo').acquire()\nprint('have it', flush=True)\nsys.stdin.read()\n"
)


# The lock: the same on both databases ---------------------------------------------------------------------------------


def test_one_process_at_a_time_and_whoever_is_shut_out_hears_who_is_inside(place: str) -> None:
    holder = child(HOLD, place)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "have it\n"
    try:
        with pytest.raises(
            AccountLockedError, match=rf"in use by process {holder.pid} since \d{{4}}-.* UTC"
        ) as refused:
            Ledger.open(place, "demo")
        assert isinstance(refused.value, LockedError)
        assert refused.value.exit_code == 3
        again = pickle.loads(pickle.dumps(refused.value))
        assert (str(again), again.holder) == (str(refused.value), refused.value.holder)
        with account_lock(place, "other"):  # another account is another book
            pass
    finally:
        holder.kill()
        holder.communicate(timeout=20)
    with account_lock(place, "demo"):  # a killed holder leaves nothing behind that is in the way
        pass


def test_only_the_present_holders_token_is_good(place: str) -> None:
    with account_lock(place, "demo") as first:
        check_token(place, "demo", first.token)
        with pytest.raises(StaleTokenError):
            check_token(place, "other", first.token)
        with pytest.raises(AccountLockedError):
            check_token(place, "demo", "a guess")
    with pytest.raises(StaleTokenError, match="has ended"):
        check_token(place, "demo", first.token)
    with account_lock(place, "demo"), pytest.raises(AccountLockedError):
        check_token(place, "demo", first.token)


def test_asking_who_holds_it_is_no_holding(place: str) -> None:
    assert lock_holder(place, "demo") is None
    with account_lock(place, "demo"):
        holder = lock_holder(place, "demo")
        assert holder is not None
        assert (holder.pid, holder.host) == (os.getpid(), "")
        assert holder.since is not None
        assert holder.since.tzinfo is not None
    assert lock_holder(place, "demo") is None


def test_a_kernel_writes_with_its_runs_token_and_stops_when_the_run_is_over(
    place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Ledger.open(place, "demo") as ledger:
        ledger.bind("csv", "alpaca", Decimal(100))
    lock = account_lock(place, "demo").acquire()
    monkeypatch.setenv(TOKEN_VARIABLE, lock.token)
    with (
        Ledger.open(place, "demo", spare=tmp_path) as kernel,
        Ledger.open(place, "demo", lock) as run,
    ):  # both may write
        kernel.add_fills([fill(1)])
        run.add_fills([fill(2)])
        assert kernel.positions()["ACME"].quantity == run.positions()["ACME"].quantity == 4
        lock.release()
        with pytest.raises((StaleTokenError, LostLockError)):
            kernel.add_fills([fill(3)])
        with pytest.raises(StaleTokenError):
            Ledger.open(place, "demo")
        assert len(kernel.fills()) == 2


def test_writers_of_one_account_take_turns(place: str) -> None:
    with account_lock(place, "demo") as lock:
        with Ledger.open(place, "demo", lock) as first:
            first.bind("csv", "alpaca", Decimal(100))
        errors: list[BaseException] = []

        def write(name: int) -> None:
            try:
                with Ledger.open(place, "demo", lock) as ledger:
                    for n in range(15):
                        ledger.add_fills([fill(100 * name + n, "1")])
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=write, args=(name,)) for name in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        with Ledger.open(place, "demo", lock) as ledger:
            assert ledger.positions()["ACME"].quantity == 30
            assert ledger.rebuild() == []


def test_a_killed_writer_leaves_whole_steps_only(place: str) -> None:
    with Ledger.open(place, "demo") as ledger:
        ledger.bind("csv", "alpaca", Decimal(10_000))
    code = (
        "import sys\nfrom decimal import Decimal as D\nimport pandas as pd\nfrom trading_core.ledger import Ledger\n"
        "from trading_core.model import Fill, Side\nday = pd.Timestamp('2024-03-28', tz='UTC')\n"
        "ledger = Ledger.open(sys.argv[1], 'demo')\n"
        "for n in range(100000):\n"
        "    fills = [Fill(f'{n}-{k}', 'c', 'ACME', Side.BUY, D(1), D(1), D(0), day) for k in range(3)]\n"
        "    ledger.book(fills, 'fills', str(n))\n"
        "    print(n, flush=True)\n"
    )
    for _ in range(2):
        writer = child(code, place)
        assert writer.stdout is not None
        assert writer.stdout.readline(), writer.communicate(timeout=20)
        time.sleep(0.05)
        writer.send_signal(signal.SIGKILL)
        writer.communicate(timeout=20)
        with Ledger.open(place, "demo") as ledger:  # at once: the lock of the dead is free
            fills = ledger.fills()
            assert len(fills) % 3 == 0
            assert ledger.positions()["ACME"].quantity == len(fills)
            assert f"{ledger.cursor('fills')}-2" in {f.venue_id for f in fills}
            assert ledger.rebuild() == []


def test_the_account_lock_is_where_the_book_is(tmp_path: Path) -> None:
    assert isinstance(account_lock(tmp_path / "ledger.db", "demo"), FileLock)
    assert isinstance(account_lock("postgresql://h/x", "demo"), ServerLock)


# Only on a server -----------------------------------------------------------------------------------------------------


def test_a_lock_whose_line_is_cut_is_lost_and_nothing_more_is_written(schema: str, server: str, tmp_path: Path) -> None:
    import psycopg

    with Ledger.open(schema, "demo", spare=tmp_path) as ledger:
        ledger.bind("csv", "alpaca", Decimal(100))
        ledger.add_fills([fill(1)])
        with psycopg.connect(server, autocommit=True) as line:
            line.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        with pytest.raises((LostLockError, KeptAsideError)):
            ledger.add_fills([fill(2)])
        with pytest.raises(LostLockError, match="another process may trade the account now"):
            ledger.add_fills([fill(3)])
        assert len(ledger.fills()) == 1
    with Ledger.open(schema, "demo", spare=tmp_path) as ledger:  # what the venue had told was kept aside
        assert [f.venue_id for f in ledger.fills()] == ["v1", "v2", "v3"]


def test_amounts_are_numbers_on_the_server_and_exact(schema: str, server: str) -> None:
    import psycopg

    with Ledger.open(schema, "demo") as ledger:
        ledger.bind("csv", "alpaca", Decimal("1234567.00000001"))
        ledger.add_fills([fill(1, "0.123456"), fill(2, "0.000000000000000001")])
    name = schema.split("search_path%3D")[1].split("%20")[0]
    with psycopg.connect(server) as line:
        row = line.execute(
            f"SELECT pg_typeof(price)::text, sum(quantity), sum(price) FROM {name}.fills GROUP BY 1"
        ).fetchone()
        assert row == ("numeric", Decimal("0.123456000000000001"), Decimal("20.246913578"))
    assert [f.quantity for f in Ledger(schema, account="demo").fills()] == [Decimal("0.123456"), Decimal("1E-18")]


def test_a_dry_run_from_a_server_works_in_memory(schema: str) -> None:
    with Ledger.open(schema, "demo") as ledger:
        ledger.bind("csv", "alpaca", Decimal(10_000))
        ledger.add_intents([OrderRequest("o", "ACME", Side.BUY, Decimal(1))], "daily", DAY)
        ledger.book([fill(1)], "fills", "x")
        ledger.note("sent", "o", price=Decimal("1.5"))
        ledger.set_equity(DAY, Decimal("10.5"), Decimal(1))
    reader = Ledger(schema, account="demo")
    copy = reader.scratch()
    assert (copy.fills(), copy.positions(), copy.cash(), copy.cursor("fills")) == (
        reader.fills(), reader.positions(), reader.cash(), "x",
    )  # fmt: skip
    copy.set_status(OrderResult("o", OrderStatus.FILLED))
    copy.add_fills([fill(2)])
    assert (len(copy.fills()), len(reader.fills()), len(reader.pending())) == (2, 1, 0)
    assert copy.rebuild() == []


def test_a_reader_of_an_empty_database_sees_an_empty_book_and_makes_nothing(schema: str, server: str) -> None:
    import psycopg

    reader = Ledger(schema, account="demo")
    assert (reader.fills(), reader.positions(), reader.last_cycle()) == ([], {}, None)
    name = schema.split("search_path%3D")[1].split("%20")[0]
    with psycopg.connect(server) as line:
        assert line.execute("SELECT count(*) FROM pg_tables WHERE schemaname = %s", (name,)).fetchone() == (0,)
    with Ledger.open(schema, "demo") as writer:
        writer.bind("csv", "alpaca", Decimal(1))
        assert reader.accounts() == ["demo"]


def test_another_programs_schema_is_not_taken_over(schema: str, server: str) -> None:
    import psycopg

    name = schema.split("search_path%3D")[1].split("%20")[0]
    with psycopg.connect(server, autocommit=True) as line:
        line.execute(f"CREATE TABLE {name}.songs (title text)")
    for write in (False, True):
        with pytest.raises(UnreadableLedgerError, match="another program's database, with songs"):
            Ledger(schema, account="demo", write=write)


@pytest.mark.parametrize("write", [False, True])
def test_a_server_that_does_not_answer_is_told_without_the_password(write: bool) -> None:
    with pytest.raises(
        UnreachableLedgerError, match=r"postgresql://trader@127\.0\.0\.1:1/books cannot be reached"
    ) as refused:
        Ledger("postgresql://trader:sesame@127.0.0.1:1/books", account="demo", write=write)
    shown = f"{refused.value}{refused.value!r}{refused.value.args}{refused.value.__cause__!r}"
    assert "sesame" not in shown
    assert "ledger.database_url" in shown
    assert refused.value.exit_code == 2


def test_a_wrong_password_is_told_and_not_shown(server: str) -> None:
    with pytest.raises(UnreachableLedgerError, match="password authentication failed") as refused:
        Ledger(server.replace(PASSWORD, "sesame"), account="demo", write=True)
    assert "sesame" not in f"{refused.value}{refused.value!r}"


def test_a_missing_driver_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for write in (False, True):
        with pytest.raises(MissingDriverError, match=r"pip install 'trading-core\[postgres\]'"):
            Ledger("postgresql://trader@127.0.0.1:1/books", account="demo", write=write)


def test_the_password_is_in_nothing_that_is_shown_or_stored(schema: str, server: str) -> None:
    import psycopg

    with Ledger.open(schema, "demo") as ledger:
        shown = f"{ledger!r}{ledger.place!r}{ledger.place}{ledger.engine!r}{ledger._lock!r}"
        assert PASSWORD not in shown
        assert "postgresql://trader@127.0.0.1:" in repr(ledger)
        name = schema.split("search_path%3D")[1].split("%20")[0]
        with psycopg.connect(server) as line:
            note = line.execute(f"SELECT * FROM {name}.ledger_locks").fetchone()
        assert ledger._lock is not None
        assert ledger._lock.token not in str(note)  # only its hash
    assert PASSWORD not in str(Place.of(schema))
