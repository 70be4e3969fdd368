"""Whatever is learnt, corrected, put together and asked in whatever order: the store says what a plain dictionary says."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from trading_core.data.adjusting import adjusted
from trading_core.data.normalizer import HybridDataNormalizer
from trading_core.data.store import BarStore
from trading_core.data.store_tidying import tidy

SYMBOLS = ("AAA", "BBB", "CCC/USD")
FIRST = pd.Timestamp("2024-01-01", tz="UTC")
DAYS = 30
Values = tuple[float, ...]


def table(bars: dict[int, Values]) -> pd.DataFrame:
    days = sorted(bars)
    index = pd.DatetimeIndex([FIRST + pd.Timedelta(days=day) for day in days]).as_unit("ns")
    columns = ["open", "high", "low", "close", "volume", "split", "dividend"]
    return pd.DataFrame([bars[day] for day in days], index, columns, dtype=float)


def bar(price: int, split: bool, dividend: bool) -> Values:
    return (price, price + 1, price - 0.5, price + 0.5, 1000 * price, 2.0 if split else 1.0, 0.25 if dividend else 0.0)


BARS = st.dictionaries(
    st.integers(0, DAYS - 1), st.builds(bar, st.integers(1, 5), st.booleans(), st.booleans()), min_size=1, max_size=12
)


class StoreMachine(RuleBasedStateMachine):
    moments = Bundle("moments")

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.time = datetime(2024, 6, 1, tzinfo=UTC)
        self.store = BarStore(Path(self.folder.name) / "store", clock=lambda: self.time)
        self.model: dict[str, dict[int, list[tuple[int, Values | None]]]] = {symbol: {} for symbol in SYMBOLS}

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def known(self, symbol: str, moment: int | None = None) -> dict[int, Values]:
        "What the dictionary says."
        found = {}
        for day, versions in self.model[symbol].items():
            seen = [values for known, values in versions if moment is None or known <= moment]
            if seen and seen[-1] is not None:
                found[day] = seen[-1]
        return found

    @rule(target=moments, bars=st.dictionaries(st.sampled_from(SYMBOLS), BARS, min_size=1))
    def learn(self, bars: dict[str, dict[int, Values]]) -> int:
        learnt = self.store.add({symbol: table(own) for symbol, own in bars.items()})
        counts = [0, 0, 0]
        for symbol, own in bars.items():
            before = self.known(symbol)
            new: dict[int, Values | None] = {day: values for day, values in own.items() if before.get(day) != values}
            gone = [day for day in before if min(own) < day < max(own) and day not in own]
            counts[0] += sum(day not in before for day in new)
            counts[1] += sum(day in before for day in new)
            counts[2] += len(gone)
            for day, values in (new | dict.fromkeys(gone)).items():
                self.model[symbol].setdefault(day, []).append((learnt.known, values))
        assert [learnt.added, learnt.revised, learnt.withdrawn] == counts
        return learnt.known

    @rule(seconds=st.integers(-3600, 3600))
    def clock(self, seconds: int) -> None:
        self.time += timedelta(seconds=seconds)

    @rule()
    def compact(self) -> None:
        self.store.compact()

    @precondition(lambda self: self.store.shelf().index.made())
    @rule(modulus=st.integers(2, 3), most=st.integers(3, 40))
    def tidy_some(self, modulus: int, most: int) -> None:
        tidy(self.store.shelf(), lambda rows: sorted(rows)[::modulus], most)

    @rule()
    def open_again(self) -> None:
        self.store = BarStore(self.store.folder, clock=lambda: self.time)

    @rule(symbol=st.sampled_from(SYMBOLS), moment=moments, first=st.integers(0, DAYS), length=st.integers(0, DAYS))
    def ask_then(self, symbol: str, moment: int, first: int, length: int) -> None:
        start, end = FIRST + pd.Timedelta(days=first), FIRST + pd.Timedelta(days=first + length)
        want = {day: v for day, v in self.known(symbol, moment).items() if first <= day <= first + length}
        found = self.store.bars_many([symbol], start, end, as_of_known=moment)
        assert_same(found.get(symbol), want)

    @rule(moment=moments, first=st.integers(0, DAYS), length=st.integers(0, DAYS))
    def panel_then(self, moment: int, first: int, length: int) -> None:
        want = {}
        for symbol in SYMBOLS:
            own = {day: v for day, v in self.known(symbol, moment).items() if first <= day <= first + length}
            if own:
                want[symbol] = table(own)
        if want:
            start, end = FIRST + pd.Timedelta(days=first), FIRST + pd.Timedelta(days=first + length)
            panel = self.store.panel(SYMBOLS, start, end, as_of_known=moment, skip_empty=True)
            assert panel.sha256 == HybridDataNormalizer().normalize(want).sha256

    @invariant()
    def says_the_same(self) -> None:
        if not hasattr(self, "store"):
            return
        found = self.store.bars_many(SYMBOLS)
        for symbol in SYMBOLS:
            assert_same(found.get(symbol), self.known(symbol))

    @invariant()
    def compares_over_splits(self) -> None:
        if not hasattr(self, "store") or not any(map(self.known, SYMBOLS)):
            return
        store = BarStore(self.store.folder, comparable=True)
        want = {s: adjusted(table(self.known(s)), "split", "last") for s in SYMBOLS if self.known(s)}
        for symbol, bars in store.bars_many(SYMBOLS).items():
            assert np.array_equal(bars.to_numpy(), want[symbol].to_numpy())
        panel, expected = store.panel(list(want)), HybridDataNormalizer().normalize(want)
        assert panel.sha256 == expected.sha256


def assert_same(found: pd.DataFrame | None, want: dict[int, Values]) -> None:
    if found is None:
        assert not want
        return
    expected = table(want)
    assert found.index.equals(expected.index)
    assert np.array_equal(found.to_numpy(), expected[list(found.columns)].to_numpy())


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
