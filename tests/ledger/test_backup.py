"""When the book cannot be written: nothing new is sent, and what was known is not lost."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import event

from trading_core.ledger import KeptAsideError, Ledger, UnwritableLedgerError, backup
from trading_core.model import Fill, OrderRequest, OrderResult, OrderStatus, Side

DAY = pd.Timestamp("2024-03-28", tz="UTC")


def fill(n: int = 1) -> Fill:
    amounts = Decimal("1.5"), Decimal("10.25"), Decimal("0.1")
    moment = pd.Timestamp("2024-03-28 14:30:00.5", tz="UTC")
    return Fill(f"v{n}", f"o{n}", "ACME", Side.BUY, *amounts, DAY, "signal", "s", moment=moment)


def order(n: int = 1) -> OrderRequest:
    return OrderRequest(f"o{n}", "ACME", Side.BUY, Decimal("1.5"))


def started(path: Path) -> Ledger:
    ledger = Ledger.open(path, "demo")
    ledger.bind("csv", "alpaca", Decimal(1000))
    ledger.add_intents([order(1), order(2)], "daily", DAY)
    return ledger


def shut(ledger: Ledger) -> None:
    "From now on the file cannot be written."
    ledger.engine.dispose()
    event.listen(ledger.engine, "connect", lambda raw, _: raw.execute("PRAGMA query_only = ON"))


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Ledger]:
    with started(tmp_path / "ledger.db") as ledger:
        shut(ledger)
        yield ledger


def test_a_plan_that_cannot_be_written_is_refused_before_anything_is_sent_and_leaves_no_file(broken: Ledger) -> None:
    with pytest.raises(UnwritableLedgerError, match="so nothing was sent") as refused:
        broken.store_plan("daily", DAY, orders=[order(3)], plan={}, signals={}, equity=Decimal(1), cash=Decimal(1))
    assert not isinstance(refused.value, KeptAsideError)
    with pytest.raises(UnwritableLedgerError, match="so nothing was sent"):
        broken.add_intents([order(3)])
    assert not list(broken.path.parent.glob("*.jsonl"))  # type: ignore[union-attr]


def test_what_the_venue_had_told_is_kept_line_by_line_and_taken_up_by_the_next_run(tmp_path: Path) -> None:
    ledger = started(tmp_path / "ledger.db")
    shut(ledger)
    for attempt in (
        lambda: ledger.set_status(OrderResult("o1", OrderStatus.ACCEPTED, "venue-1", "ok")),
        lambda: ledger.book([fill(1), fill(2)], "fills", "cursor-9"),
        lambda: ledger.note("answered", "o1", price=Decimal("10.25")),
        lambda: ledger.set_status(OrderResult("o2", OrderStatus.EXPIRED), DAY),
    ):
        with pytest.raises(
            KeptAsideError, match=r"kept in .*ledger-demo\.backup\.jsonl, and the next run takes it up"
        ) as refused:
            attempt()
        again = pickle.loads(pickle.dumps(refused.value))
        assert (str(again), again.exit_code, again.kept) == (str(refused.value), 1, refused.value.kept)
    ledger.close()
    path = tmp_path / "ledger-demo.backup.jsonl"
    assert [json.loads(line)["kind"] for line in path.read_text().splitlines()] == [
        "status",
        "fill",
        "fill",
        "event",
        "status",
    ]
    with Ledger.open(tmp_path / "ledger.db", "demo") as book:
        assert book.order("o1") == OrderResult("o1", OrderStatus.ACCEPTED, "venue-1", "ok")
        assert [o.client_id for o in book.ended_unfilled(DAY - pd.Timedelta(days=1), DAY)] == ["o2"]
        assert (book.fills(), book.cursor("fills")) == ([fill(1), fill(2)], "")
        assert book.fills()[0].moment == fill(1).moment
        assert book.positions()["ACME"].quantity == 3
        assert book.events("answered")["detail"].tolist() == [{"price": "10.25"}]
        assert len(book.events("restored")) == 5
        assert book.book([fill(1), fill(2)], "fills", "cursor-9") == []  # read again from the venue
    assert not path.exists()
    assert (tmp_path / "ledger-demo.backup.jsonl.done").exists()


def test_a_step_with_several_facts_is_kept_whole(broken: Ledger, tmp_path: Path) -> None:
    with pytest.raises(KeptAsideError), broken.keeping():
        broken.set_status(OrderResult("o1", OrderStatus.ACCEPTED))
    assert len(backup.lines_of(tmp_path / "ledger-demo.backup.jsonl")) == 1


def test_a_day_that_follows_from_prices_is_not_kept_since_it_can_be_booked_again(
    broken: Ledger, tmp_path: Path
) -> None:
    with pytest.raises(UnwritableLedgerError):
        broken.book_day(DAY, [fill()], [OrderResult("o1", OrderStatus.FILLED)], Decimal(1), Decimal(1))
    assert not list(tmp_path.glob("*.jsonl"))


def lines(*facts: tuple[str, dict[str, object]]) -> str:
    return "".join(
        json.dumps({"id": f"id{n}", "kind": kind, "what": what}) + "\n" for n, (kind, what) in enumerate(facts)
    )


def test_what_the_book_knows_better_is_noted_and_not_believed(tmp_path: Path) -> None:
    with started(tmp_path / "ledger.db") as ledger:
        ledger.add_fills([fill(1)])
        ledger.set_status(OrderResult("o1", OrderStatus.FILLED))
    told = backup.as_line("fill", fill(1), {})["what"] | {"price": "99"}
    (tmp_path / "ledger-demo.backup.jsonl").write_text(
        lines(
            ("status", {"client_id": "o1", "status": "canceled", "venue_id": "", "message": ""}),
            ("status", {"client_id": "nobody", "status": "canceled", "venue_id": "", "message": ""}),
            ("fill", json.loads(json.dumps(told, default=str))),
            ("event", {"kind": "sent"}),
            ("status", {"client_id": "o2", "status": "accepted", "venue_id": "v", "message": ""}),
        )
        + '{"id": "cut off by a power fail'
    )
    with Ledger.open(tmp_path / "ledger.db", "demo") as ledger:
        problems = [row["problem"] for row in ledger.events("restored")["detail"]]
        assert ["final" in problems[0], "no order 'nobody'" in problems[1], "another content" in problems[2]] == [
            True
        ] * 3
        assert (problems[3] != "", problems[4]) == (True, "")
        assert ledger.order("o1").status is OrderStatus.FILLED  # type: ignore[union-attr]
        assert ledger.fills() == [fill(1)]


def test_a_kill_between_booking_and_renaming_books_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(tmp_path / "ledger.db").close()
    (tmp_path / "ledger-demo.backup.jsonl").write_text(
        lines(("event", {"kind": "answered", "subject": "o1", "detail": {}}))
    )
    monkeypatch.setattr(backup, "_put_away", lambda path: None)
    Ledger.open(tmp_path / "ledger.db", "demo").close()
    monkeypatch.undo()
    (tmp_path / "ledger-demo.backup.jsonl.done").write_text("from an earlier night")
    with Ledger.open(tmp_path / "ledger.db", "demo") as ledger:
        assert len(ledger.events("answered")) == 1
    assert (tmp_path / "ledger-demo.backup.jsonl.done").read_text() == "from an earlier night"
    assert (tmp_path / "ledger-demo.backup.jsonl.2.done").exists()


def test_a_file_that_cannot_be_taken_up_yet_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started(tmp_path / "ledger.db").close()
    path = tmp_path / "ledger-demo.backup.jsonl"
    path.write_text(lines(("status", {"client_id": "o1", "status": "accepted", "venue_id": "v", "message": ""})))
    content, real = path.read_text(), Ledger.set_status

    def full(self: Ledger, *args: object) -> None:
        with self.writing() as step:
            step.exec_driver_sql("PRAGMA max_page_count = 1")
        real(self, *args)  # type: ignore[arg-type]
        for n in range(200):
            self.note("much", "x" * 1000, n=n)

    monkeypatch.setattr(Ledger, "set_status", full)
    for _ in range(2):
        with pytest.raises(UnwritableLedgerError):
            Ledger.open(tmp_path / "ledger.db", "demo")
    assert path.read_text() == content
    monkeypatch.undo()
    with Ledger.open(tmp_path / "ledger.db", "demo") as ledger:
        assert ledger.order("o1").status is OrderStatus.ACCEPTED  # type: ignore[union-attr]


def test_a_file_of_an_account_that_is_not_open_yet_waits(tmp_path: Path) -> None:
    (tmp_path / "ledger-demo.backup.jsonl").write_text(lines(("event", {"kind": "k", "subject": "s", "detail": {}})))
    Ledger.open(tmp_path / "ledger.db", "demo").close()
    assert (tmp_path / "ledger-demo.backup.jsonl").exists()
    started(tmp_path / "ledger.db").close()
    with Ledger.open(tmp_path / "ledger.db", "demo") as ledger:
        assert len(ledger.events("k")) == 1


def test_where_not_even_a_line_can_be_kept_it_says_so(broken: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "append", full)
    with pytest.raises(KeptAsideError, match="could not be kept either; the next run asks the venue again"):
        broken.set_status(OrderResult("o1", OrderStatus.ACCEPTED))


def test_a_ledger_in_memory_keeps_nothing_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ledger = Ledger("sqlite://", account="demo", write=True)
    ledger.bind("csv", "alpaca")
    ledger.add_intents([order()])
    with ledger.reading() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
    with pytest.raises(UnwritableLedgerError):
        ledger.set_status(OrderResult("o1", OrderStatus.ACCEPTED))
    assert list(tmp_path.iterdir()) == []


UNTIL_FULL = """
import sys
from decimal import Decimal as D
import pandas as pd
from trading_core.ledger import KeptAsideError, Ledger
from trading_core.model import Fill, OrderRequest, OrderResult, OrderStatus, Side
if sys.argv[2] != "0":
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
day = pd.Timestamp("2024-03-28", tz="UTC")
ledger = Ledger.open(sys.argv[1], "demo")
ledger.bind("csv", "alpaca", D(1000))
for n in range(100_000):
    try:
        ledger.book([Fill(f"v{n}", f"c{n}", "ACME", Side.BUY, D(1), D(1), D(0), day, "signal", "x" * 900)], "fills", str(n))
    except KeptAsideError as error:
        print(n)
        print(error)
        break
"""


def run_until_full(path: Path, limit: int) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", UNTIL_FULL, str(path), str(limit)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    number, told = done.stdout.splitlines()
    return int(number), told


def test_a_file_that_may_not_grow_any_more_loses_nothing(tmp_path: Path) -> None:
    failed, told = run_until_full(tmp_path / "ledger.db", 400_000)
    assert "is kept in" in told
    with Ledger.open(tmp_path / "ledger.db", "demo") as ledger:
        assert len(ledger.fills()) == failed + 1
        assert ledger.positions()["ACME"].quantity == failed + 1
        assert ledger.cursor("fills") == str(failed - 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    "A disk of one megabyte, where one may be mounted."
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here, which needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_on_a_disk_that_is_really_full_the_reserve_is_given_up_for_what_was_known(
    small_disk: Path, tmp_path: Path
) -> None:
    failed, told = run_until_full(small_disk / "ledger.db", 0)
    assert "is kept in" in told
    assert not (small_disk / "ledger-demo.reserve").exists()
    for file in small_disk.iterdir():  # somebody makes room
        shutil.copy(file, tmp_path / file.name)
    with Ledger.open(tmp_path / "ledger.db", "demo") as ledger:
        assert len(ledger.fills()) == failed + 1
