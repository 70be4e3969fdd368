"""A store filled without splits and dividends, and asked for them afterwards; and the other way round."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from random_actions import acted_bars

from trading_core.config import load_config
from trading_core.data import BarStore, CsvBars, HybridDataNormalizer, SimulatedBars, source_of
from trading_core.data.sources import Source
from trading_core.data.store_fetching import KeptOtherwiseError

NAMES = ["AQVA", "KODE", "TAZO", "BTC/USD"]  # a payer, a split, a reverse split, neither
COLUMNS = ["open", "high", "low", "close", "volume"]


def market(actions: bool, today: str = "2024-03-01") -> SimulatedBars:
    return SimulatedBars(today=today, actions=actions)


def same(store: BarStore, source: SimulatedBars, first: str = "2015-01-02", last: str = "2024-02-29") -> bool:
    told = HybridDataNormalizer().normalize({name: source.bars(name, first, last) for name in NAMES})
    return bool(store.panel(NAMES, first, last).sha256 == told.sha256)


@pytest.mark.parametrize("first", [False, True])
def test_a_store_that_is_asked_for_the_other_kind_of_prices_asks_again_for_all_that_it_has(tmp_path: Path, first: bool):
    BarStore(tmp_path, market(first)).fetch(NAMES, "2015-01-01")
    store = BarStore(tmp_path, market(not first))
    assert store.missing(NAMES, "2015-01-01") != {}
    assert same(store, market(not first))
    assert store.missing(NAMES, "2015-01-01") == {}  # and once is enough
    assert BarStore(tmp_path, market(not first)).missing(NAMES, "2015-01-01") == {}
    assert same(BarStore(tmp_path, market(first)), market(first))  # back again


def test_days_outside_of_the_question_are_told_anew_as_well(tmp_path: Path):
    BarStore(tmp_path, market(False, "2019-01-01")).fetch(NAMES, "2015-01-01")
    BarStore(tmp_path, market(True)).fetch(NAMES, "2022-01-01")
    alone = BarStore(tmp_path)  # with no source: what lies there
    told = market(True).bars("TAZO", "2015-01-02", "2018-12-31")
    pd.testing.assert_frame_equal(
        alone.bars("TAZO", "2015-01-02", "2018-12-31")[COLUMNS], told[COLUMNS], check_freq=False
    )


def test_what_was_known_before_the_setting_changed_can_still_be_had(tmp_path: Path):
    clock = iter(datetime(2024, 3, day, tzinfo=UTC) for day in range(1, 28))
    BarStore(tmp_path, market(False), clock=lambda: next(clock)).fetch(NAMES, "2015-01-01")
    BarStore(tmp_path, market(True), clock=lambda: next(clock)).fetch(NAMES, "2015-01-01")
    then = BarStore(tmp_path, market(True), as_of_known="2024-03-01T12:00")
    assert same(then, market(False))


def test_a_store_from_before_such_notes_is_found_out_by_its_rows(tmp_path: Path):
    for kind in (False, True):
        folder = tmp_path / str(kind)
        BarStore(folder, market(kind)).fetch(NAMES, "2015-01-01")
        with BarStore(folder).shelf().index.writing() as line:
            line.execute("drop table told")
        shares = [name for name in NAMES if name != "BTC/USD" and (not kind or name != "BTC/USD")]
        assert BarStore(folder, market(kind)).missing(["KODE"], "2015-01-01") == {}
        assert same(BarStore(folder, market(not kind)), market(not kind))
        assert BarStore(folder, market(not kind)).missing(shares, "2015-01-01") == {}


def test_a_repaired_index_forgets_no_kind(tmp_path: Path):
    BarStore(tmp_path, market(False)).fetch(NAMES, "2015-01-01")
    (tmp_path / "1d" / "index.db").write_bytes(b"no database" * 500)
    BarStore(tmp_path).repair()
    assert same(BarStore(tmp_path, market(True)), market(True))


def test_a_file_that_gets_a_column_of_splits_with_new_days_is_read_again_from_its_beginning(tmp_path: Path):
    whole = market(True).bars("KODE", "2020-01-02", "2020-12-31")
    files, path = tmp_path / "files", tmp_path / "store"
    files.mkdir()

    def export(bars: pd.DataFrame) -> CsvBars:
        bars.rename_axis("date").set_axis(bars.index.strftime("%Y-%m-%d")).to_csv(
            files / "KODE.csv", index_label="date"
        )
        return CsvBars(files)

    plain = market(False).bars("KODE", "2020-01-02", "2020-06-30")
    BarStore(path, export(plain)).fetch(["KODE"], "2020-01-01", "2020-06-30")
    panel = BarStore(path, export(whole)).panel(["KODE"], "2020-01-02", "2020-12-31")
    assert panel.sha256 == HybridDataNormalizer().normalize({"KODE": whole}).sha256
    some = BarStore(path, export(whole.drop(columns=["split", "dividend"])))  # columns that are left out say nothing
    assert some.missing(["KODE"], "2020-01-02", "2020-12-31") == {}


class Late(Source):
    "A source that has lost its first years."

    name, tells_actions = "late", True

    def __init__(self, bars: pd.DataFrame):
        self.table = bars

    def read(self, symbol: str, start: pd.Timestamp | None, end: pd.Timestamp | None, interval: str) -> pd.DataFrame:
        return self.table.loc[start:end]


def test_days_that_the_source_has_lost_are_refused_rather_than_mixed(tmp_path: Path):
    bars = acted_bars(1)["E1"]
    early = Late(bars[COLUMNS])
    early.tells_actions = False
    BarStore(tmp_path, early).fetch(["E1"], bars.index[0], bars.index[-1])
    store = BarStore(tmp_path, Late(bars.iloc[20:]))
    for window in ((bars.index[0], bars.index[-1]), (bars.index[-9], bars.index[-1])):
        failed = store.fetch(["E1"], *window).failed
        if window[0] == bars.index[0]:
            assert isinstance(failed["E1"], KeptOtherwiseError)
            assert "20 bars" in str(failed["E1"])
            assert "were kept without them" in str(failed["E1"])
    with pytest.raises(KeptOtherwiseError):
        store.panel(["E1"], bars.index[0], bars.index[-1])


def test_a_project_that_switches_actions_on_keeps_its_store(tmp_path: Path):
    (tmp_path / "settings.ini").write_text("[market]\nstore = bars\n")
    plain = load_config(tmp_path / "settings.ini")
    source_of(plain, today="2024-03-01").fetch(NAMES, "2015-01-01")
    (tmp_path / "settings.ini").write_text("[market]\nstore = bars\nactions = true\n")
    acting = source_of(load_config(tmp_path / "settings.ini"), today="2024-03-01")
    assert same(acting, market(True))
