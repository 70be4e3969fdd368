"""A process that is killed at any step of writing leaves the store as it was before or as it was to be, and two may write at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trading_core.data import store_index
from trading_core.data.store import BarStore

DAYS = pd.date_range("2024-01-01", periods=40, tz="UTC")
FORK = multiprocessing.get_context("fork")


def bars(price: float, days: pd.DatetimeIndex = DAYS) -> pd.DataFrame:
    close = price + 0.01 * np.arange(len(days))
    return pd.DataFrame({"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 5.0}, days)


def opened(folder: Path, minutes: int) -> BarStore:
    return BarStore(folder, clock=lambda: datetime(2024, 6, 1, tzinfo=UTC) + timedelta(minutes=minutes))


def content(folder: Path) -> dict[str, Any]:
    "All that the store says, its days included."
    store = opened(folder, 0)
    found = {symbol: own.to_csv() for symbol, own in store.bars_many(["AAA", "BBB"]).items()}
    return found | {"coverage": store.coverage().to_csv()}


def learn(folder: Path) -> None:
    opened(folder, 60).add({"AAA": bars(11), "BBB": bars(20)}, DAYS[0], DAYS[-1])


def correct(folder: Path) -> None:
    opened(folder, 120).add({"AAA": bars(12, DAYS[5:15]).drop(DAYS[8])}, DAYS[0], DAYS[-1])


def compact(folder: Path) -> None:
    opened(folder, 180).compact()


def repair(folder: Path) -> None:
    opened(folder, 240).repair()


def damaged(folder: Path) -> None:
    learn(folder)
    correct(folder)
    file = max((folder / "1d").glob("*.parquet"), key=lambda path: path.stat().st_size)
    data = bytearray(file.read_bytes())
    data[200] ^= 1
    file.write_bytes(data)


def lost(folder: Path) -> None:
    "No index, and a version that was corrected since."
    learn(folder)
    correct(folder)
    (folder / "1d" / "index.db").unlink()


class Bomb:
    "Counts the steps of writing; kills this process before the one with the number."

    def __init__(self, at: int):
        self.left = at

    def tick(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def ticking(*args: Any, **named: Any) -> Any:
            self.tick()
            return work(*args, **named)

        return ticking

    def plant(self) -> None:
        bomb = self

        class Ticking(sqlite3.Connection):
            execute = bomb.before(sqlite3.Connection.execute)
            executemany = bomb.before(sqlite3.Connection.executemany)

        connect = sqlite3.connect
        store_index.sqlite3.connect = lambda *a, **n: connect(*a, factory=Ticking, **n)
        os.fsync, os.replace, os.unlink = map(self.before, (os.fsync, os.replace, os.unlink))


def bombed(work: Callable[[Path], None], folder: Path, at: int) -> int:
    "The exit code of a process that is killed at step `at` of `work`."

    def child() -> None:
        Bomb(at).plant()
        work(folder)
        os._exit(0)

    process = FORK.Process(target=child)
    process.start()
    process.join(60)
    assert process.exitcode is not None, f"step {at} hangs"
    return process.exitcode


@pytest.mark.parametrize(
    ("prepare", "work"),
    [((), learn), ((learn,), correct), ((learn, correct), compact), ((damaged,), repair), ((lost,), repair)],
    ids=["the first bars", "corrections", "putting together", "repairing", "making the index anew"],
)
def test_killed_at_any_step_the_store_says_what_it_said_before_or_what_it_was_to_say(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prepare: tuple[Callable[[Path], None], ...],
    work: Callable[[Path], None],
) -> None:
    monkeypatch.setattr(os, "fsync", lambda number: None)  # a kill does not need the disk to be waited for

    def prepared(name: str) -> Path:
        for step in prepare:
            step(tmp_path / name)
        return tmp_path / name

    readable = work is not repair
    before = content(prepared("before")) if readable else None
    work(prepared("after"))
    after = content(tmp_path / "after")
    at = 0
    while True:
        at += 1
        folder = prepared(f"killed at {at}")
        code = bombed(work, folder, at)
        if readable:
            assert content(folder) in (before, after), f"killed at step {at}"
        work(folder)
        assert content(folder) == after, f"once more after step {at}"
        assert opened(folder, 0).check() == []
        opened(folder, 300).compact()
        assert content(folder) == after
        assert not [*folder.glob("**/*.part"), *folder.glob("1d/*-journal")], f"left over from step {at}"
        assert len([*(folder / "1d").glob("*.parquet")]) == 1
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert at > 15


def test_three_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "store"

    def writer(symbol: str) -> None:
        store = BarStore(folder)
        for n, day in enumerate(DAYS):
            store.add({symbol: bars(10 + n, DAYS[n : n + 1]), "BOTH": bars(50, DAYS[n : n + 1])}, day, day)
        os._exit(0)

    def tidier() -> None:
        store = BarStore(folder)
        for _ in range(30):
            store.compact()
            store.bars_many(["AAA", "BBB", "BOTH"])
        os._exit(0)

    BarStore(folder).add({"BOTH": bars(50, DAYS[:1])})
    processes = [FORK.Process(target=writer, args=(symbol,)) for symbol in ("AAA", "BBB")]
    processes.append(FORK.Process(target=tidier))
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    found = BarStore(folder).bars_many(["AAA", "BBB", "BOTH"])
    assert {symbol: len(own) for symbol, own in found.items()} == {"AAA": 40, "BBB": 40, "BOTH": 40}
    assert BarStore(folder).check() == []
    assert BarStore(folder).missing(["AAA", "BBB", "BOTH"], DAYS[0], DAYS[-1]) == {}
