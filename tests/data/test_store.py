"""A store asks for what it lacks and for nothing else, in whatever order it is asked, and hands out what its source has."""

from __future__ import annotations

import errno
import os
import pickle
import resource
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trading_core.data import AlpacaBars, BarStore, CcxtBars, SimulatedBars, load_panel
from trading_core.data.coverage import State, coverage_states
from trading_core.data.promises import check_source
from trading_core.data.sources import NoBarsError, Source
from trading_core.data.store import StoreSourceError, own
from trading_core.data.store_files import DamagedStoreError
from trading_core.data.store_index import StoreDiskError
from trading_core.data.store_ranges import day_number
from trading_core.errors import DataError
from trading_core.sessions import sessions

FIRST, LAST = pd.Timestamp("2024-03-01", tz="UTC"), pd.Timestamp("2024-04-30", tz="UTC")


def flat(days: pd.DatetimeIndex, price: float = 10.0) -> pd.DataFrame:
    return pd.DataFrame(dict.fromkeys(["open", "high", "low", "close"], price), days).assign(volume=100.0)


class Vendor(Source):
    "Shares that trade on their exchange's days, some of which end early, begin late or pause; every question is noted."

    name, simulated, intervals = "vendor", True, ("1d", "1h")
    LIVES: ClassVar = {
        "ALIVE": (FIRST, LAST),
        "ENDED": (FIRST, pd.Timestamp("2024-03-28", tz="UTC")),
        "NEW": (LAST, LAST),
    }

    def __init__(self, today: str = "2024-05-01") -> None:
        self.today = today
        self.asked: list[tuple[str, pd.Timestamp | None, pd.Timestamp]] = []
        self.broken: set[str] = set()
        self.late: set[pd.Timestamp] = set()

    def read(self, symbol: str, start: Any, end: Any, interval: str) -> pd.DataFrame:
        self.asked.append((symbol, start, end))
        if symbol in self.broken:
            raise ConnectionError("the line is dead")
        first, last = self.LIVES.get(symbol, (FIRST, LAST))
        days = sessions("24/7" if "/" in symbol else "XNYS", max(first, start or first), min(last, end or last))
        if interval == "1h":
            days = pd.DatetimeIndex([day + pd.Timedelta(hours=n) for day in days for n in range(1, 25)])
            days = days[days <= self.now()]
        days = days[~days.isin(list(self.late))]
        if interval == "1d":
            days = days[days < self.now().normalize()]
        if not len(days):
            raise NoBarsError(self.name, symbol, f"from {start} to {end}")
        return flat(days)


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def store(tmp_path: Path, vendor: Vendor) -> BarStore:
    return BarStore(tmp_path / "bars", vendor)


def test_it_is_a_source_like_any_other(store: BarStore, tmp_path: Path) -> None:
    check_source(store, "ALIVE")
    market = SimulatedBars(today="2024-02-01")
    check_source(BarStore(tmp_path / "other", market), "BTC/USD")


WINDOWS = st.lists(
    st.tuples(st.sampled_from(["ALIVE", "ENDED", "NEW", "A/USD"]), st.integers(-20, 60), st.integers(0, 40)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(WINDOWS, st.booleans())
def test_no_day_is_asked_for_twice_and_every_answer_is_the_sources(
    tmp_path_factory: pytest.TempPathFactory, windows: list[tuple[str, int, int]], again: bool
) -> None:
    vendor, plain = Vendor("2024-07-01"), Vendor("2024-07-01")
    folder = tmp_path_factory.mktemp("store")
    store = BarStore(folder, vendor)
    for symbol, first, length in windows:
        start, end = FIRST + pd.Timedelta(days=first), FIRST + pd.Timedelta(days=first + length)
        try:
            expected = plain.bars(symbol, start, end)
        except NoBarsError:
            with pytest.raises(NoBarsError):
                store.bars(symbol, start, end)
        else:
            pd.testing.assert_frame_equal(store.bars(symbol, start, end), expected, check_freq=False)
        if again:
            store = BarStore(folder, vendor)
    days = [(s, day) for s, first, last in vendor.asked for day in range(day_number(first), day_number(last) + 1)]
    assert len(days) == len(set(days))
    wanted = {(s, day_number(FIRST) + first + n) for s, first, length in windows for n in range(length + 1)}
    assert set(days) == wanted


def test_holidays_the_end_and_the_time_before_are_remembered(store: BarStore, vendor: Vendor) -> None:
    for symbol in ("ALIVE", "ENDED", "NEW"):
        store.bars(symbol)
    questions = len(vendor.asked)
    assert store.bars("ALIVE", "2024-03-28", "2024-04-01").index.strftime("%d").tolist() == ["28", "01"]
    for symbol, start, end in (("ALIVE", "2024-03-29", "2024-03-31"), ("ENDED", "2024-04-01", "2024-04-30")):
        with pytest.raises(NoBarsError):
            store.bars(symbol, start, end)
    with pytest.raises(NoBarsError):
        store.bars("NEW", "2001-01-01", "2024-04-29")
    assert len(vendor.asked) == questions


def test_a_bar_that_is_late_is_asked_for_until_it_is_there(store: BarStore, vendor: Vendor) -> None:
    vendor.late = {LAST}
    assert store.bars("ALIVE", FIRST).index[-1] == pd.Timestamp("2024-04-29", tz="UTC")
    vendor.late = set()
    assert store.bars("ALIVE", FIRST).index[-1] == LAST
    assert vendor.asked[1:] == [("ALIVE", LAST, LAST)]
    assert store.bars("ALIVE", FIRST).index[-1] == LAST
    assert len(vendor.asked) == 2


def test_one_symbol_that_fails_does_not_lose_the_others(store: BarStore, vendor: Vendor) -> None:
    vendor.broken = {"ENDED"}
    done = store.fetch(["ALIVE", "ENDED", "NEW"], FIRST, LAST)
    assert list(done.failed) == ["ENDED"]
    assert "ENDED: the line is dead" in str(done)
    assert sorted(store.kept()) == ["ALIVE", "NEW"]
    with pytest.raises(ConnectionError):
        store.panel(["ALIVE", "ENDED"], FIRST, LAST)
    vendor.broken = set()
    assert store.panel(["ALIVE", "ENDED"], FIRST, LAST).shape == (42, 2)


def test_a_missing_day_of_five_hundred_is_one_question(tmp_path: Path) -> None:
    class Many(Vendor):
        def bars_many(self, symbols: Sequence[str], start: Any, end: Any, interval: str) -> dict[str, pd.DataFrame]:
            self.asked.append((f"{len(symbols)} symbols", start, end))
            days = sessions("XNYS", start, end)
            return dict.fromkeys(symbols, flat(days)) if len(days) else {}

    names, vendor = [f"S{n:03d}" for n in range(500)], Many()
    store = BarStore(tmp_path / "bars", vendor)
    store.fetch(names, FIRST, "2024-04-29")
    vendor.asked.clear()
    done = store.fetch(names, FIRST, "2024-04-30")
    assert vendor.asked == [("500 symbols", LAST, LAST)]
    assert (done.requests, done.added) == (1, 500)


def test_one_error_for_all_says_nothing_about_each(tmp_path: Path) -> None:
    class Empty(Vendor):
        def bars_many(self, symbols: Sequence[str], start: Any, end: Any, interval: str) -> dict[str, pd.DataFrame]:
            raise NoBarsError(self.name, symbols[0], "at all")

    store = BarStore(tmp_path / "bars", Empty())
    assert len(store.fetch(["A", "B"], FIRST, LAST).failed) == 2
    assert store.coverage().empty


def test_the_newest_days_are_asked_for_with_some_before_them(tmp_path: Path, vendor: Vendor) -> None:
    store = BarStore(tmp_path / "bars", vendor, recheck=7)
    store.fetch(["ALIVE"], FIRST, "2024-04-29")
    store.fetch(["ALIVE"], FIRST, "2024-04-30")
    assert vendor.asked[-1] == ("ALIVE", LAST - pd.Timedelta(days=7), LAST)


def test_what_was_known_is_never_asked_for(store: BarStore, vendor: Vendor) -> None:
    store.bars("ALIVE", "2024-04-01", "2024-04-05")
    questions = len(vendor.asked)
    moment = store.known
    assert len(store.bars("ALIVE", as_of_known=moment)) == 5
    assert len(store.panel(["ALIVE"], as_of_known=moment).days) == 5
    with pytest.raises(NoBarsError):
        store.bars("ALIVE", as_of_known="2000-01-01")
    assert len(vendor.asked) == questions


def test_hours_belong_to_the_day_that_they_end(store: BarStore, vendor: Vendor) -> None:
    bars = store.bars("A/USD", "2024-04-01", "2024-04-02", interval="1h")
    assert [f"{bars.index[n]:%d %H}" for n in (0, -1)] == ["01 01", "03 00"]
    questions = len(vendor.asked)
    assert len(store.bars("A/USD", "2024-04-02", "2024-04-02", interval="1h")) == 24
    assert len(vendor.asked) == questions
    panel = store.panel(["A/USD", "B/USD"], "2024-04-01", "2024-04-02", interval="1h")
    assert panel.sha256 == load_panel(vendor, ["A/USD", "B/USD"], "2024-04-01", "2024-04-02", interval="1h").sha256


def test_a_day_that_is_not_over_is_kept_and_asked_for_again(tmp_path: Path, vendor: Vendor) -> None:
    vendor.today = "2024-04-30"
    vendor.now = lambda: pd.Timestamp("2024-04-30 10:30", tz="UTC")  # type: ignore[method-assign]
    store = BarStore(tmp_path / "bars", vendor)
    assert f"{store.bars('A/USD', '2024-04-30', interval='1h').index[-1]:%H}" == "10"
    vendor.now = lambda: pd.Timestamp("2024-04-30 11:05", tz="UTC")  # type: ignore[method-assign]
    assert f"{store.bars('A/USD', '2024-04-30', interval='1h').index[-1]:%H}" == "11"
    with pytest.raises(NoBarsError):
        store.bars("A/USD", "2024-04-30")


def at(vendor: Vendor, moment: str) -> None:
    vendor.now = lambda: pd.Timestamp(moment, tz="UTC")  # type: ignore[method-assign]


def test_a_last_hour_that_is_late_is_asked_for_until_it_is_there(store: BarStore, vendor: Vendor) -> None:
    at(vendor, "2024-04-10 00:00:20")
    vendor.late = {pd.Timestamp("2024-04-10", tz="UTC")}  # the end of the last bar of the 9th
    assert len(store.bars("A/USD", "2024-04-08", "2024-04-09", interval="1h")) == 47
    vendor.late = set()
    at(vendor, "2024-04-12 12:00")
    assert len(store.bars("A/USD", "2024-04-08", "2024-04-09", interval="1h")) == 48
    assert [first.day for _, first, _ in vendor.asked] == [8, 9]
    store.bars("A/USD", "2024-04-08", "2024-04-09", interval="1h")
    assert len(vendor.asked) == 2


def test_a_last_hour_that_never_comes_is_not_asked_for_for_ever(
    store: BarStore, vendor: Vendor, tmp_path: Path
) -> None:
    vendor.late = {pd.Timestamp(f"2024-04-10 {hour}:00", tz="UTC") for hour in range(19, 24)}  # halted before the bell
    vendor.late |= {pd.Timestamp("2024-04-11", tz="UTC")}
    at(vendor, "2024-04-11 10:30")
    store.bars("ALIVE", "2024-04-08", "2024-04-10", interval="1h")
    store.bars("ALIVE", "2024-04-08", "2024-04-10", interval="1h")  # it may still come
    at(vendor, "2024-04-12 10:30")
    store.bars("ALIVE", "2024-04-08", "2024-04-11", interval="1h")  # there are later ones
    store.bars("ALIVE", "2024-04-08", "2024-04-11", interval="1h")
    assert [(first.day, last.day) for _, first, last in vendor.asked] == [(8, 10), (10, 10), (10, 11)]
    vendor.asked.clear()
    at(vendor, "2024-04-25 10:30")
    late = BarStore(tmp_path / "late", vendor)
    for _ in range(2):
        late.bars("ALIVE", "2024-04-08", "2024-04-10", interval="1h")
    assert len(vendor.asked) == 1  # after ten days nobody waits for it


def test_bars_of_two_vendors_are_kept_apart(store: BarStore, tmp_path: Path) -> None:
    store.bars("ALIVE")
    with pytest.raises(StoreSourceError, match="holds bars of 'vendor', and the source is 'simulated'"):
        BarStore(tmp_path / "bars", SimulatedBars())


def test_every_changed_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    market = SimulatedBars(today="2024-02-01")
    store = BarStore(tmp_path / "bars", market)
    names = market.symbols()[:6]
    whole = store.panel(names, "2023-01-01").sha256
    store.compact()
    (file,) = (tmp_path / "bars" / "1d").glob("*.parquet")
    data, rng = file.read_bytes(), np.random.default_rng(5)
    noticed = 0
    for at in [0, 3, *rng.integers(4, len(data), 150).tolist(), len(data) - 1]:
        changed = bytearray(data)
        changed[at] ^= 1 << int(rng.integers(8))
        file.write_bytes(changed)
        fresh = BarStore(tmp_path / "bars")
        try:
            assert fresh.panel(names, "2023-01-01").sha256 == whole
        except DamagedStoreError:
            noticed += 1
    assert noticed >= 120
    for cut in (0, 1, 100, len(data) - 1):
        file.write_bytes(data[:cut])
        with pytest.raises(DamagedStoreError):
            BarStore(tmp_path / "bars").panel(names, "2023-01-01")


def test_it_can_be_read_while_it_is_put_together_and_sent_to_another_process(tmp_path: Path) -> None:
    market = SimulatedBars(today="2024-02-01")
    store = BarStore(tmp_path / "bars", market)
    names = market.symbols()[:6]
    want = store.panel(names, "2023-01-01").sha256
    wrong: list[Any] = []

    def read() -> None:
        mine = pickle.loads(pickle.dumps(BarStore(tmp_path / "bars")))
        for _ in range(30):
            try:
                if mine.panel(names, "2023-01-01").sha256 != want:
                    wrong.append("other bars")
            except Exception as error:
                wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for n in range(15):
        day = pd.DatetimeIndex([pd.Timestamp("2001-01-01", tz="UTC") + pd.Timedelta(days=n)])
        BarStore(tmp_path / "bars").add({"OLD": flat(day)})
        store.compact()
    for reader in readers:
        reader.join()
    assert not wrong


def test_damage_is_repaired_and_fetched_again(store: BarStore, vendor: Vendor, tmp_path: Path) -> None:
    want = store.panel(["ALIVE", "A/USD"], FIRST, LAST).sha256
    (file,) = (tmp_path / "bars" / "1d").glob("*.parquet")
    file.unlink()
    fresh = BarStore(tmp_path / "bars", vendor)
    assert [str(one) for one in fresh.check()] == [f"{file.name}: the file is gone; 103 bars of A/USD, ALIVE"]
    (done,) = fresh.repair()
    assert done.table["bars"].sum() == 103
    vendor.asked.clear()
    assert fresh.panel(["ALIVE", "A/USD"], FIRST, LAST).sha256 == want
    assert len(vendor.asked) == 2


def test_a_file_that_is_gone_is_told_as_damage(store: BarStore, tmp_path: Path) -> None:
    store.bars("ALIVE", FIRST, LAST)
    (file,) = (tmp_path / "bars" / "1d").glob("*.parquet")
    file.unlink()
    fresh = BarStore(tmp_path / "bars")
    for ask in (
        lambda: fresh.bars("ALIVE", FIRST, LAST),
        lambda: fresh.panel(["ALIVE"], FIRST, LAST),
        lambda: fresh.add({"ALIVE": flat(pd.DatetimeIndex([FIRST]))}),
        fresh.compact,
    ):
        with pytest.raises(DamagedStoreError, match=rf"{file.name} is damaged \(the file is gone\).*data repair"):
            ask()


@contextmanager
def full_disk(most: int) -> Iterator[None]:
    "No file can grow over so many bytes: what a full disk does, for this process only."
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("most", [0, 1000, 20_000])
def test_a_full_disk_is_no_damage(tmp_path: Path, most: int) -> None:
    market = SimulatedBars(today="2024-02-01")
    store = BarStore(tmp_path, market)
    names = market.symbols()[:3]
    store.bars(names[0], "2023-01-03", "2023-02-28")
    with (
        full_disk(most),
        pytest.raises(StoreDiskError, match=r"refuses to read or write the store 1d .*Free some space"),
    ):
        store.fetch(names, "2012-01-01")
    assert store.check() == []
    assert not [*tmp_path.glob("1d/*.part")]
    assert BarStore(tmp_path, market).panel(names, "2012-01-01").shape[1] == 3


def test_what_cannot_be_tidied_or_repaired_on_a_full_disk_is_tidied_and_repaired_later(tmp_path: Path) -> None:
    market = SimulatedBars(today="2024-02-01")
    store = BarStore(tmp_path, market)
    for start, end in (("2023-01-03", "2023-02-28"), ("2023-03-01", "2023-12-29")):
        store.fetch(["KODE"], start, end)
    with full_disk(1000), pytest.raises(StoreDiskError):
        store.compact()
    file = max((tmp_path / "1d").glob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-1])
    store = BarStore(tmp_path, market)
    with full_disk(1000), pytest.raises(StoreDiskError):
        store.repair()
    store.repair()
    store.compact()
    assert store.check() == []
    want = market.bars("KODE", "2023-01-03", "2023-12-29")
    pd.testing.assert_frame_equal(store.bars("KODE", "2023-01-03", "2023-12-29"), want, check_freq=False)


def refusing(*_: Any, **__: Any) -> None:
    raise PermissionError(errno.EACCES, "Permission denied", "somewhere")


@pytest.mark.parametrize("what", ["replace", "fsync", "mkdir"])
def test_what_the_disk_refuses_is_said_with_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(os, what, refusing)
    with pytest.raises(StoreDiskError, match=r"the store 1d \(Permission denied\)"):
        BarStore(tmp_path / "bars").add({"A": flat(pd.DatetimeIndex([FIRST]))})


def test_a_folder_that_cannot_be_made_is_said_with_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "mkdir", refusing)
    market = SimulatedBars(today="2024-03-01")
    with pytest.raises(StoreDiskError, match=r"the store bars \(Permission denied\)"):
        BarStore(tmp_path / "bars", market).bars(market.symbols()[0], "2024-01-02")


def test_a_bar_that_was_taken_back_stays_away_when_the_word_of_it_is_damaged(
    store: BarStore, vendor: Vendor, tmp_path: Path
) -> None:
    store.bars("ALIVE", FIRST, LAST)
    vendor.late = {pd.Timestamp("2024-03-25", tz="UTC")}  # a Monday
    assert store.fetch(["ALIVE"], "2024-03-20", "2024-03-28", again=True).withdrawn == 1
    max((tmp_path / "bars" / "1d").glob("*.parquet")).write_bytes(b"nothing")
    fresh = BarStore(tmp_path / "bars", vendor)
    (done,) = fresh.repair()
    assert [day.day for day in (*done.table["first"], *done.table["last"])] == [25, 25]
    got = fresh.bars("ALIVE", FIRST, LAST)
    pd.testing.assert_frame_equal(got, vendor.bars("ALIVE", FIRST, LAST), check_freq=False)
    assert pd.Timestamp("2024-03-25", tz="UTC") not in got.index


def test_a_gap_is_a_session_that_was_asked_for(store: BarStore, vendor: Vendor) -> None:
    vendor.late = {pd.Timestamp("2024-03-20", tz="UTC")}
    store.fetch(["ALIVE", "A/USD"], FIRST, "2024-04-10")
    store.fetch(["ALIVE"], "2024-04-20", LAST)
    states = coverage_states(store)
    assert states.index[states["ALIVE"] == State.GAP].strftime("%d %B").tolist() == ["20 March"]
    assert states.loc["2024-04-11":"2024-04-19", "ALIVE"].isin([State.UNKNOWN, State.CLOSED]).all()
    assert (states.loc["2024-03-29":"2024-03-31", "ALIVE"] == State.CLOSED).all()


def test_of_an_empty_store_nothing_has_been_asked_for(tmp_path: Path) -> None:
    states = coverage_states(BarStore(tmp_path / "nothing"), ["A"], "2024-03-01", "2024-03-04")
    assert states["A"].tolist() == [State.UNKNOWN, State.CLOSED, State.CLOSED, State.UNKNOWN]
    assert coverage_states(BarStore(tmp_path / "nothing")).columns.empty
    assert not (tmp_path / "nothing").exists()


def test_a_store_that_does_not_exist_has_nothing(tmp_path: Path) -> None:
    store = BarStore(tmp_path / "nothing")
    assert (store.symbols(), store.known, store.check(), store.coverage().empty) == ([], None, [], True)
    for ask in (lambda: store.bars("A"), lambda: store.panel(["A"])):
        with pytest.raises(DataError):
            ask()
    assert not (tmp_path / "nothing").exists()


def test_a_clock_that_is_set_back_does_not_bring_back_what_was_corrected(tmp_path: Path) -> None:
    times = iter([datetime(2024, 6, 2, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)])
    store = BarStore(tmp_path / "bars", clock=lambda: next(times))
    day = pd.DatetimeIndex([FIRST])
    store.add({"A": flat(day, 10)})
    store.add({"A": flat(day, 11)})
    assert store.bars("A")["close"].tolist() == [11]
    assert store.bars("A", as_of_known="2024-06-02")["close"].tolist() == [10]


@pytest.mark.parametrize(
    ("first", "second", "cure"),
    [
        (CcxtBars("binance"), CcxtBars("kraken"), "market.source=ccxt and market.exchange=binance"),
        (AlpacaBars("key", "secret", feed="iex"), AlpacaBars("key", "secret", feed="sip"), "and market.feed=iex"),
    ],
)
def test_a_store_of_one_exchange_or_feed_takes_no_bars_of_another(
    tmp_path: Path, first: Source, second: Source, cure: str
) -> None:
    own(tmp_path, first)
    with pytest.raises(StoreSourceError, match=cure):
        BarStore(tmp_path, second)
    with pytest.raises(StoreSourceError, match=cure):
        own(tmp_path, second)
    assert BarStore(tmp_path, first).name == BarStore(tmp_path).name == first.name


def test_a_store_that_knew_no_exchange_belongs_to_the_first_that_fills_it(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text('{"source": "ccxt", "simulated": false}', encoding="utf-8")
    BarStore(tmp_path, CcxtBars("kraken"))  # looking changes nothing
    own(tmp_path, CcxtBars("binance"))
    with pytest.raises(StoreSourceError, match="holds bars of 'ccxt:binance', and the source is 'ccxt:kraken'"):
        BarStore(tmp_path, CcxtBars("kraken"))
