"""One process at a time trades an account, and its children prove that they belong to it."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import threading
from pathlib import Path

import pytest

from trading_core.errors import LedgerError, LockedError
from trading_core.ledger import (
    TOKEN_VARIABLE,
    AccountLockedError,
    AccountNameError,
    Ledger,
    StaleTokenError,
    account_lock,
    check_token,
    lock_holder,
)
from trading_core.ledger.lock import LockPlaceError, lock_path
from trading_core.ledger.place import LedgerUrlError

FORK = multiprocessing.get_context("fork")


def test_folder_path_and_url_of_a_ledger_have_the_same_lock(tmp_path: Path) -> None:
    places = [tmp_path, tmp_path / "ledger.db", f"sqlite:///{tmp_path}/ledger.db", f"{tmp_path}/"]
    assert {lock_path(place, "csv") for place in places} == {tmp_path / "ledger-csv.lock"}
    (tmp_path / "book").write_bytes(b"")
    assert lock_path(tmp_path / "book", "csv") == tmp_path / "ledger-csv.lock"


def test_a_folder_with_a_dot_in_its_name_is_still_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "outputs.v2"
    folder.mkdir()
    assert lock_path(folder, "csv").parent == folder


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "two words", "ü", "x" * 65])
def test_an_account_name_that_is_no_file_name_is_refused_with_the_way_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(AccountNameError, match=r"--set ledger\.account=NAME"):
        account_lock(tmp_path, name)


@pytest.mark.parametrize("url", ["mysql://me:sesame@host/books", "postgresql://me:sesame@host:port/books"])
def test_a_database_url_that_cannot_be_used_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(LedgerUrlError, match=r"'(mysql|postgresql)'") as refused:
        Ledger(url, account="x")
    assert "sesame" not in f"{refused.value}{refused.value!r}{refused.value.args}"


def test_the_lock_says_who_holds_it_and_since_when(tmp_path: Path) -> None:
    with account_lock(tmp_path, "paper"):
        with pytest.raises(AccountLockedError, match=rf"process {os.getpid()} since \d{{4}}-.* UTC") as refused:
            account_lock(tmp_path, "paper").acquire()
        assert isinstance(refused.value, LockedError)
        assert refused.value.exit_code == 3
        again = pickle.loads(pickle.dumps(refused.value))
        assert (str(again), again.holder) == (str(refused.value), refused.value.holder)


def test_the_token_is_written_nowhere_in_the_clear(tmp_path: Path) -> None:
    with account_lock(tmp_path, "paper") as lock:
        assert len(lock.token) == 64
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert files
        assert not any(lock.token.encode() in path.read_bytes() for path in files)
        assert "token_sha256" in json.loads(lock.path.read_text())
        with pytest.raises(AccountLockedError) as refused:
            account_lock(tmp_path, "paper").acquire()
        assert lock.token not in repr(refused.value) + str(refused.value)


def test_every_holder_has_another_token(tmp_path: Path) -> None:
    tokens = set()
    for _ in range(3):
        with account_lock(tmp_path, "paper") as lock:
            tokens.add(lock.token)
    assert len(tokens) == 3


def test_only_the_present_holders_token_is_good(tmp_path: Path) -> None:
    with account_lock(tmp_path, "paper") as first:
        check_token(tmp_path, "paper", first.token)
        with pytest.raises(StaleTokenError):
            check_token(tmp_path, "other", first.token)
    with pytest.raises(StaleTokenError, match="has ended"):
        check_token(tmp_path, "paper", first.token)
    with account_lock(tmp_path, "paper"), pytest.raises(AccountLockedError):
        check_token(tmp_path, "paper", first.token)


def test_checking_a_token_never_shuts_out_the_next_holder(tmp_path: Path) -> None:
    token, stop = "stale", threading.Event()

    def pester() -> None:
        while not stop.is_set():
            with pytest.raises((StaleTokenError, AccountLockedError)):
                check_token(tmp_path, "paper", token)

    with account_lock(tmp_path, "paper"):
        pass
    thread = threading.Thread(target=pester)
    thread.start()
    try:
        for _ in range(50):
            with account_lock(tmp_path, "paper"):
                pass
    finally:
        stop.set()
        thread.join()


def test_asking_for_the_holder_changes_nothing(tmp_path: Path) -> None:
    assert lock_holder(tmp_path, "paper") is None
    assert list(tmp_path.iterdir()) == []
    with account_lock(tmp_path, "paper"):
        holder = lock_holder(tmp_path, "paper")
        assert holder is not None
        assert holder.pid == os.getpid()
        assert holder.since is not None
        assert holder.since.tzinfo is not None
    assert lock_holder(tmp_path, "paper") is None


def test_a_lock_file_with_rubbish_in_it_can_be_taken(tmp_path: Path) -> None:
    (tmp_path / "ledger-paper.lock").write_text("{not json")
    with account_lock(tmp_path, "paper"):
        assert lock_holder(tmp_path, "paper").pid == os.getpid()  # type: ignore[union-attr]


def test_a_forked_child_does_not_keep_the_lock_of_its_parent(tmp_path: Path) -> None:
    stay = FORK.Event()
    lock = account_lock(tmp_path, "paper").acquire()
    child = FORK.Process(target=stay.wait, args=(30,))
    child.start()
    lock.release()
    with account_lock(tmp_path, "paper"):
        pass
    stay.set()
    child.join(30)


def test_a_folder_that_cannot_be_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LockPlaceError, match="nothing was done") as refused:
        account_lock(tmp_path / "file" / "folder", "paper").acquire()
    assert isinstance(refused.value, LedgerError)


def test_a_writer_with_the_wrong_token_in_its_environment_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "copied from an old log")
    with pytest.raises(StaleTokenError, match=f"unset {TOKEN_VARIABLE}"):
        Ledger.open(tmp_path / "ledger.db", "paper")
    assert not (tmp_path / "ledger.db").exists()


def test_a_ledger_opened_under_a_lock_object_needs_no_environment(tmp_path: Path) -> None:
    with account_lock(tmp_path, "paper") as lock, Ledger.open(tmp_path / "ledger.db", "paper", lock) as ledger:
        ledger.bind("csv", "paper")
        with pytest.raises(AccountLockedError):
            Ledger.open(tmp_path / "ledger.db", "paper")
    with pytest.raises(LedgerError):  # closed, and its lock is gone
        ledger.set_cycle("daily", None, "done")  # type: ignore[arg-type]
    with Ledger.open(tmp_path / "ledger.db", "paper") as again:
        assert again.opened_with() is not None
