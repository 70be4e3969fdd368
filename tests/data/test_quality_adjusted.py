"""CSV and Parquet exports whose prices are adjusted already and that carry splits and dividends as well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trading_core.data import CsvBars, HybridDataNormalizer, ParquetBars
from trading_core.data.adjusting import ActionError, adjusted
from trading_core.data.guarded import barred_of, guarded
from trading_core.data.quality import quality_of
from trading_core.sessions import sessions

NOTED = {"split_twice", "split_inverted", "dividend_twice", "hundredfold", "split"}  # rules that splits can set off


def walk(seed: int, n: int = 500, usual: float = 0.015) -> pd.DataFrame:
    "A share without any action."
    rng, days = np.random.default_rng(seed), sessions("XNYS", "2021-01-04", "2024-12-31")[:n]
    close = 80 * np.exp(rng.normal(0.0003, usual, n).cumsum())
    opens = np.append(80, close[:-1]) * np.exp(rng.normal(0, usual / 3, n))
    high = np.maximum(opens, close) * (1 + np.abs(rng.normal(0, usual / 3, n)))
    low = np.minimum(opens, close) * (1 - np.abs(rng.normal(0, usual / 3, n)))
    volume = rng.integers(100_000, 1_000_000, n).astype(float)
    table = {"open": opens, "high": high, "low": low, "close": close, "volume": volume}
    return pd.DataFrame(table, days)


def noted(
    bars: pd.DataFrame, ratio: float, row: int = 250, *, raw: bool = False, told: float | None = None
) -> pd.DataFrame:
    "The bars with a split noted on a row: with it in the prices if they are `raw`, else without."
    made = bars.assign(split=1.0)
    made.iloc[row, made.columns.get_loc("split")] = ratio if told is None else told
    if raw:
        made.iloc[row:, :4] /= ratio
        made.iloc[row:, 4] *= ratio
    return made


def fallen(bars: pd.DataFrame, part: float, row: int = 250) -> pd.DataFrame:
    made = bars.copy()
    made.iloc[row:, :4] *= part
    return made


def read(folder: Path, bars: pd.DataFrame, kind: str) -> pd.DataFrame:
    "The bars as they come out of a file."
    if kind == "csv":
        bars.set_axis(bars.index.strftime("%Y-%m-%d")).to_csv(folder / "ACME.csv", index_label="date")
        return CsvBars(folder).bars("ACME")
    bars.rename_axis("date").reset_index().assign(date=lambda t: t["date"].dt.date).to_parquet(folder / "ACME.parquet")
    return ParquetBars(folder).bars("ACME")


def found(bars: pd.DataFrame) -> set[tuple[str, str, str]]:
    all_of_it = quality_of({"ACME": bars})
    return {(f.rule, f"{f.day:%Y-%m-%d}", f.severity) for f in all_of_it if f.rule in NOTED}


DAY = "2021-12-30"  # of row 250


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("ratio", [1.25, 1.5, 2.0, 4.0, 7.0, 20.0, 0.5, 0.1, 1 / 15, 0.02])
def test_a_split_in_adjusted_prices_is_refused_and_one_in_raw_prices_is_not(tmp_path: Path, kind: str, ratio: float):
    assert found(read(tmp_path, noted(walk(1), ratio), kind)) == {("split_twice", DAY, "fatal")}
    assert found(read(tmp_path, noted(walk(1), ratio, raw=True), kind)) == set()


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_a_history_of_a_few_bars_is_enough(tmp_path: Path, n: int):
    last = f"{walk(2, n).index[-1]:%Y-%m-%d}"
    assert found(read(tmp_path, noted(walk(2, n), 4.0, n - 1), "csv")) == {("split_twice", last, "fatal")}
    assert found(read(tmp_path, noted(walk(2, n), 4.0, n - 1, raw=True), "csv")) == set()


def test_a_split_on_the_first_bar_concerns_nobody(tmp_path: Path):
    assert found(read(tmp_path, noted(walk(3), 4.0, 0), "csv")) == set()


@pytest.mark.parametrize("ratio", [2.0, 4.0, 0.1])
@pytest.mark.parametrize("part", [0.5, 0.7, 0.8])
def test_raw_prices_that_fall_on_the_day_of_a_split_are_right(tmp_path: Path, ratio: float, part: float):
    assert found(read(tmp_path, fallen(noted(walk(4), ratio, raw=True), part), "csv")) == set()


@pytest.mark.parametrize(("ratio", "part"), [(0.5, 0.6), (0.5, 0.3), (0.2, 0.3), (0.1, 0.3)])
def test_a_crash_on_the_day_of_a_reverse_split_is_believed_when_as_few_shares_change_hands(ratio: float, part: float):
    assert found(fallen(noted(walk(4), ratio, raw=True), part)) == set()


@pytest.mark.parametrize(
    ("ratio", "part", "severity"), [(2.0, 0.8, "fatal"), (4.0, 0.7, "fatal"), (4.0, 0.5, "warn"), (2.0, 0.7, "warn")]
)
def test_adjusted_prices_that_fall_on_the_day_of_a_split_are_told_by_the_open_or_the_volume(
    ratio: float, part: float, severity: str
):
    assert found(fallen(noted(walk(4), ratio), part)) == {("split_twice", DAY, severity)}


@pytest.mark.parametrize("ratio", [4.0, 2.0, 0.1])
def test_a_ratio_upside_down_is_refused(tmp_path: Path, ratio: float):
    bars = read(tmp_path, noted(walk(5), ratio, raw=True, told=1 / ratio), "csv")
    assert found(bars) == {("split_inverted", DAY, "fatal")}


@pytest.mark.parametrize(("ratio", "told"), [(4.0, 2.0), (2.0, 4.0), (20.0, 10.0), (6.0, 2.0), (0.1, 0.2), (0.05, 0.1)])
@pytest.mark.parametrize("n", [500, 251])
def test_another_ratio_than_that_of_the_prices_is_refused(tmp_path: Path, ratio: float, told: float, n: int):
    bars = read(tmp_path, noted(walk(5), ratio, raw=True, told=told).iloc[:n], "csv")  # 251: on the day itself
    assert found(bars) == {("split", DAY, "fatal")}
    (said,) = [f for f in quality_of({"ACME": bars}) if f.rule == "split"]
    assert f"A split of {told:g} is noted, and it looks like one of {ratio:.4g}." in said.cure


def test_a_true_fall_by_half_on_the_day_of_a_split_is_told_from_another_ratio_by_volume_or_turnover():
    assert found(fallen(noted(walk(4), 2.0, raw=True), 0.5)) == set()
    busy = fallen(noted(walk(4), 2.0, raw=True), 0.5)
    busy.iloc[250:, 4] *= np.where(np.arange(250) < 3, 100.0, 2.0)  # news, also when more change hands afterwards
    assert found(busy) == set()
    assert found(busy.iloc[:251]) == set()


def test_a_stock_dividend_in_adjusted_prices_is_a_doubt():
    assert found(noted(walk(6), 1.05)) == {("split_twice", DAY, "warn")}
    assert found(noted(walk(6), 1.05, raw=True)) == set()
    assert found(noted(walk(6, usual=0.06), 1.05)) == set()  # where the share moves as much each day


def test_a_split_noted_a_day_late_is_refused():
    late = noted(walk(7), 4.0, raw=True)
    late["split"] = late["split"].shift(1, fill_value=1.0)
    assert ("split_twice", "2021-12-31", "fatal") in found(late)


def paying(seed: int, usual: float = 0.009) -> pd.DataFrame:
    "A share that pays 0.7 per cent of its price now and then: raw."
    bars = walk(seed, 980, usual).assign(split=1.0, dividend=0.0)
    rows = np.arange(30, len(bars), 20)
    for row in rows:
        bars.iloc[row, 6] = 0.007 * bars["close"].iloc[row - 1]
        bars.iloc[row:, :4] *= 1 - 0.007
    return bars


def test_dividends_in_prices_that_are_adjusted_for_them_are_doubted(tmp_path: Path):
    raw = paying(8)
    total = adjusted(raw, "total", "last").assign(split=1.0, dividend=raw["dividend"])
    assert found(read(tmp_path, raw, "csv")) == set()
    assert {(rule, how) for rule, _, how in found(read(tmp_path, total, "csv"))} == {("dividend_twice", "warn")}
    restless = paying(8, usual=0.04)
    few = restless["dividend"].where(restless["dividend"].gt(0).cumsum() <= 8, 0.0)
    total = adjusted(restless, "total", "last").assign(split=1.0, dividend=few)
    assert found(total) == set()  # eight ex-days say nothing of a share that moves as much every night


@pytest.mark.parametrize("seed", range(20))
def test_raw_dividends_of_twenty_random_shares_are_believed(seed: int):
    assert found(paying(100 + seed)) == set()


def test_a_split_that_is_not_believed_is_not_booked(tmp_path: Path):
    bars = {"ACME": read(tmp_path, noted(walk(1), 4.0), "csv"), "GOOD": noted(walk(9), 2.0, raw=True)}
    panel = HybridDataNormalizer().normalize(bars)
    safe = guarded(panel, quality_of(bars))
    assert list(barred_of(safe)) == ["ACME"]
    assert safe.actions is not None
    assert safe.actions["split"].max(axis=0).tolist() == [1.0, 2.0]


def test_real_splits_and_dividends_in_raw_prices_are_believed_and_in_adjusted_ones_not(real_data: Path):
    actions = pd.read_csv(real_data / "equities_actions_raw.csv", parse_dates=["ex_date"])
    table = pd.read_csv(real_data / "equities_daily_raw.csv.gz", parse_dates=["date"])
    raw = {}
    for symbol, own in table.groupby("symbol"):
        days = pd.DatetimeIndex(own["date"], tz="UTC")
        bars = own.set_index(days)[["open", "high", "low", "close", "volume"]].assign(split=1.0, dividend=0.0)
        for action in actions[actions["symbol"] == symbol].itertuples():
            name = "split" if action.kind == "split" else "dividend"
            value = 1 / action.price_factor if name == "split" else action.prev_close * (1 - action.price_factor)
            bars.loc[pd.Timestamp(action.ex_date, tz="UTC"), name] = value
        raw[str(symbol)] = bars

    def told(bars: dict[str, pd.DataFrame]) -> set[tuple[str, str]]:
        rules = {"split_twice", "split_inverted", "dividend_twice"}
        return {(f.symbol, f.rule) for f in quality_of(bars) if f.rule in rules}

    assert told(raw) == set()
    splits = {s: adjusted(b, "split", "last").assign(split=b["split"], dividend=0.0) for s, b in raw.items()}
    assert told(splits) == {(symbol, "split_twice") for symbol in ("BTU", "NFLX", "NKE", "SBUX")}
    total = {}
    for symbol, bars in raw.items():
        try:
            total[symbol] = adjusted(bars, "total", "last").assign(split=1.0, dividend=bars["dividend"])
        except ActionError:
            continue
    doubted = {symbol for symbol, rule in told(total) if rule == "dividend_twice"}
    assert {"JNJ", "MCD", "PFE", "T", "VZ"} <= doubted  # two years: eight or nine dividends each
