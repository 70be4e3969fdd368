"""A symbol whose prices cannot be right: nothing of it is bought or sold, the others go on, and everybody is told."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_market import COSTS, DAYS, PANEL, cycle, day, undisturbed

from trading_core.config import TradingConfig, load_config
from trading_core.data import HybridDataNormalizer, Panel, SimulatedBars
from trading_core.data.csv_lines import CsvError
from trading_core.data.findings import Finding
from trading_core.data.guarded import NothingTrustedError, barred_of, guarded, tradable_panel, with_unpriced
from trading_core.data.quality import quality_of
from trading_core.data.sources import BadBarsError
from trading_core.ledger import Ledger
from trading_core.model import ExitRules, Side
from trading_core.report.day import no_orders
from trading_core.report.signals_page import wishes_of
from trading_core.run.context import Run, load_market, open_run
from trading_core.run.cycle import run_cycle
from trading_core.run.explaining import why
from trading_core.strategies import Strategy, explain

LONG = pd.date_range("2024-01-02", "2024-06-28", tz="UTC")


class Always(Strategy):
    """Wants everything, and would sell at once: at a gain, at a loss, and after three bars."""

    exits = ExitRules(stop_loss=0.3, take_profit=0.3)
    warmup = 1

    def signals(self, panel: Panel) -> pd.DataFrame:
        return panel.close.notna().astype(float).where(panel.observed)


def bars_of(*symbols: str) -> dict[str, pd.DataFrame]:
    market = SimulatedBars(today="2024-07-01")
    return {symbol: market.bars(symbol, "2023-06-01") for symbol in symbols}


def spoilt(bars: dict[str, pd.DataFrame], symbol: str, rows: slice, factor: float = 100.0) -> dict[str, pd.DataFrame]:
    changed = bars[symbol].copy()
    changed.iloc[rows, :4] *= factor
    return bars | {symbol: changed}


def panel_on(bars: dict[str, pd.DataFrame], as_of: pd.Timestamp) -> Panel:
    known = {symbol: own[own.index <= as_of] for symbol, own in bars.items()}
    return guarded(HybridDataNormalizer().normalize(known), quality_of(bars, end=as_of))


def night(ledger: Ledger, panel: Panel, **options: object) -> object:
    given = {
        "strategies": {"always": (Always(), 0.9)},
        "account": "small",
        "cash": 10_000,
        "costs": COSTS,
        "source_kind": "test",
    }
    return run_cycle(panel, ledger=ledger, **(given | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("factor", [100.0, 0.01, 1 / 7])
def test_weeks_of_wrong_prices_move_nothing_and_value_nothing(factor: float) -> None:
    good = bars_of("BTC/USD", "MERL", "NEXQ")
    bad = spoilt(good, "MERL", slice(-20, None), factor)  # four weeks: longer than what ends an asset
    ledger, days = Ledger("sqlite://", account="small", write=True), good["MERL"].index
    for when in days[-25:-20]:
        night(ledger, panel_on(bad, when))
    held = ledger.positions()["MERL"].quantity
    trusted = Decimal(str(good["MERL"]["close"].iloc[-21]))
    for when in days[-20:]:
        report = night(ledger, panel_on(bad, when))
        assert [r.reason for r in report.plan.refusals if r.symbol == "MERL"] == ["quality"]
        assert not [o for o in report.plan.orders if o.symbol == "MERL"]
        others = sum(
            p.quantity * Decimal(str(good[s]["close"].asof(when))) for s, p in ledger.positions().items() if s != "MERL"
        )
        assert abs(report.equity - (report.cash + held * trusted + others)) < Decimal("0.05")
    assert ledger.positions()["MERL"].quantity == held
    assert not [fill for fill in ledger.fills() if fill.symbol == "MERL" and fill.side is Side.SELL]
    assert "kept as it is" in next(r.detail for r in report.plan.refusals if r.symbol == "MERL")


def test_when_prices_are_mended_the_exits_are_looked_at_again() -> None:
    good = bars_of("MERL", "NEXQ")
    lower = spoilt(good, "MERL", slice(-10, None), 0.6)  # a true fall of 40 %
    bad = spoilt(lower, "MERL", slice(-10, -3))  # seen in cents for a week
    ledger, days = Ledger("sqlite://", account="small", write=True), good["MERL"].index
    for when in days[-14:-3]:
        night(ledger, panel_on(bad, when))
    assert "MERL" in ledger.positions()
    for when in days[-3:]:
        night(ledger, panel_on(lower, when))
    assert [f.reason for f in ledger.fills() if f.symbol == "MERL" and f.side is Side.SELL] == ["stop_loss"]


def test_others_are_traded_as_if_the_symbol_were_not_there() -> None:
    good = bars_of("AXOR", "MERL", "NEXQ")
    bad = spoilt(good, "MERL", slice(40, 60))  # long ago, and never held
    without = {symbol: own for symbol, own in good.items() if symbol != "MERL"}
    one, two = (Ledger("sqlite://", account="small", write=True) for _ in range(2))
    for when in good["MERL"].index[-5:]:
        night(one, panel_on(bad, when))
        night(two, panel_on(without, when))
    assert one.fills() == two.fills()
    assert one.fills()


def test_a_waiting_purchase_is_withdrawn() -> None:
    good = bars_of("MERL", "NEXQ")
    bad = spoilt(good, "MERL", slice(-1, None))
    ledger, days = Ledger("sqlite://", account="small", write=True), good["MERL"].index
    night(ledger, panel_on(good, days[-2]))
    assert {order.symbol for order in ledger.pending()} == {"MERL", "NEXQ"}
    report = night(ledger, panel_on(bad, days[-1]))
    assert {order.symbol for order in ledger.pending()} == set()
    assert "NEXQ" in ledger.positions()
    assert "MERL" not in ledger.positions()
    assert len(report.plan.cancels) == 1


def test_a_position_without_its_strategy_is_not_closed_on_wrong_prices() -> None:
    good = bars_of("MERL", "NEXQ")
    bad = spoilt(good, "MERL", slice(-1, None))
    ledger, days = Ledger("sqlite://", account="small", write=True), good["MERL"].index
    for when in days[-4:-1]:
        night(ledger, panel_on(good, when))
    report = night(ledger, panel_on(bad, days[-1]), strategies={"new": (Always(), 0.5)})
    assert {o.symbol: o.reason for o in report.plan.orders} == {"NEXQ": "flatten"}


def test_what_comes_later_is_not_known_earlier() -> None:
    good = bars_of("MERL", "NEXQ")
    bad = spoilt(good, "MERL", slice(-3, None))
    days = good["MERL"].index
    assert not barred_of(panel_on(bad, days[-4]))
    assert set(barred_of(panel_on(bad, days[-3]))) == {"MERL"}


def test_a_guarded_panel_of_a_random_market_fills_nothing_in_it() -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        symbol = str(rng.choice(["ACME", "BOLT", "COIN/USD"]))
        row = int(rng.integers(12, len(PANEL.days) - 6))
        ledger = undisturbed(PANEL.days[row])
        before = ledger.positions().get(symbol)
        finding = Finding(symbol, PANEL.days[row + 1], "hundredfold", 100.0, "fatal", "Mend it.", PANEL.days[-1])
        for when in PANEL.days[row + 1 :]:
            cycle(ledger, when, panel=guarded(PANEL.until(when), [replace(finding, last=when)]))
        waited = {fill.client_id for fill in ledger.fills() if fill.symbol == symbol and fill.day > PANEL.days[row]}
        assert not waited, symbol
        after = ledger.positions().get(symbol)
        assert (before and before.quantity) == (after and after.quantity)


def test_a_panel_keeps_its_list_wherever_it_goes() -> None:
    panel = guarded(PANEL, [Finding("ACME", PANEL.days[5], "spike", 10.0, "fatal", "Mend it.")])
    moved = pickle.loads(pickle.dumps(panel.until(DAYS[-3]))).select(["ACME", "BOLT"])
    assert set(moved.barred) == {"ACME"}
    assert set(replace(panel, assets=dict(panel.assets)).barred) == {"ACME"}
    assert tradable_panel(panel).symbols == ("BOLT", "COIN/USD")
    assert panel.missed.max() <= max(9, int(PANEL.missed.max()))


# A folder of files, as a user has it


def project(folder: Path, bars: dict[str, pd.DataFrame], more: str = "", market: str = "") -> None:
    (folder / "bars").mkdir(exist_ok=True)
    for symbol, own in bars.items():
        own.rename_axis("date").to_csv(folder / "bars" / f"{symbol.replace('/', '-')}.csv", date_format="%Y-%m-%d")
    (folder / "settings.ini").write_text(
        f"[market]\nsource = csv\npath = bars\nstart = 2023-06-01\n{market}\n[strategies.all]\nclass = trading_core.strategies:SmaCross\n"
        f"share = 0.9\nfast = 3\nslow = 10\n[ledger]\naccount = demo\n{more}\n"
    )


def config_of(folder: Path) -> TradingConfig:
    return load_config(folder / "settings.ini", folder / ".env")


def test_a_market_says_what_it_found(tmp_path: Path) -> None:
    project(tmp_path, spoilt(bars_of("MERL", "NEXQ", "BTC/USD"), "MERL", slice(-5, None)))
    market = load_market(config_of(tmp_path), day("2024-06-28"))
    assert set(barred_of(market.panel)) == {"MERL"}
    assert market.quality is not None
    assert json.loads(json.dumps(market.quality))["counts"]["fatal"] == 1
    run = Run(config_of(tmp_path), pickle.loads(pickle.dumps(market)))
    assert run.tradable.symbols == ("BTC/USD", "NEXQ")
    result = run.backtest()
    assert set(result.fills["symbol"]) <= {"BTC/USD", "NEXQ"}
    report = run.cycle(dry_run=True)
    assert [r.symbol for r in report.plan.refusals if r.reason == "quality"] == ["MERL"]


def test_a_barred_symbol_that_has_a_bar_is_not_said_to_have_none() -> None:
    panel = panel_on(spoilt(bars_of("MERL", "NEXQ"), "MERL", slice(-5, None)), bars_of("MERL")["MERL"].index[-1])
    reason = f"its prices cannot be right: {panel.barred['MERL']}"
    assert explain(Always(), panel)["MERL"] == reason
    ledger = Ledger("sqlite://", account="small", write=True)
    asked = why("MERL", panel.last, panel=panel, strategies={"always": (Always(), 0.9)}, ledger=ledger)
    assert asked.verdict == f"No order. Its bars are not used, as {reason}."
    report = night(ledger, panel)
    silent = no_orders(report.plan, wishes_of("always", Always(), panel), {}, panel, {})
    assert [panel.barred["MERL"] in f"{item.what} {item.why}" for item in silent if item.symbols == "MERL"] == [True]
    for text in (str(asked), *(f"{item.what} {item.why}" for item in silent)):
        assert "no bar" not in text.lower()
        assert "sessions old" not in text


def test_findings_have_no_consequences_where_the_settings_say_so(tmp_path: Path) -> None:
    project(tmp_path, spoilt(bars_of("MERL", "NEXQ"), "MERL", slice(-5, None)), "[quality]\nrefuse = none\n")
    market = load_market(config_of(tmp_path), day("2024-06-28"))
    assert not barred_of(market.panel)
    assert market.quality["counts"]["fatal"] == 1
    assert market.quality["barred"] == {}


def test_a_broken_file_takes_no_other_with_it(tmp_path: Path) -> None:
    project(tmp_path, bars_of("MERL", "NEXQ"), market="symbols = MERL, NEXQ")
    path = tmp_path / "bars" / "MERL.csv"
    path.write_text(path.read_text().replace("2024-06-20,", "2024-06-20,n/a,", 1))
    market = load_market(config_of(tmp_path), day("2024-06-28"))
    assert market.panel.symbols == ("NEXQ",)
    assert list(market.quality["barred"]) == ["MERL"]
    (tmp_path / "bars" / "NEXQ.csv").write_text(path.read_text())
    with pytest.raises(CsvError):
        load_market(config_of(tmp_path), day("2024-06-28"))


def test_what_is_held_is_valued_where_its_file_is_broken(tmp_path: Path) -> None:
    project(tmp_path, bars_of("MERL", "NEXQ"), market="symbols = MERL, NEXQ")
    config = config_of(tmp_path)
    with Ledger.open(config.ledger_url, "demo") as ledger:
        for when in ("2024-06-24", "2024-06-25", "2024-06-26"):
            panel = load_market(config, day(when)).panel
            night(ledger, panel, account="demo", source_kind="csv")
        entry, quantity = (getattr(ledger.positions()["MERL"], name) for name in ("entry_price", "quantity"))
    path = tmp_path / "bars" / "MERL.csv"
    path.write_text(path.read_text().replace("2024-06-20,", "2024-06-20,n/a,", 1))
    panel = load_market(config, day("2024-06-28")).panel
    assert "n/a" in barred_of(panel)["MERL"] or "fields" in barred_of(panel)["MERL"]
    with Ledger.open(config.ledger_url, "demo") as ledger:
        report = night(ledger, panel, account="demo", source_kind="csv")
        assert ledger.positions()["MERL"].quantity == quantity
        nexq = ledger.positions()["NEXQ"].quantity * Decimal(str(panel.close["NEXQ"].iloc[-1]))
    assert abs(report.equity - report.cash - nexq - quantity * entry) < Decimal("0.05")


def test_a_hole_bars_a_symbol_unless_gaps_are_allowed(tmp_path: Path) -> None:
    bars = bars_of("MERL", "NEXQ")
    bars["MERL"] = bars["MERL"].drop(bars["MERL"].index[50:80])
    project(tmp_path, bars, market="symbols = MERL, NEXQ")
    assert load_market(config_of(tmp_path), day("2024-06-28")).panel.symbols == ("NEXQ",)
    project(tmp_path, bars, market="symbols = MERL, NEXQ\nallow_gaps = yes")
    market = load_market(config_of(tmp_path), day("2024-06-28"))
    assert not barred_of(market.panel)
    assert [f["severity"] for f in market.quality["findings"] if f["rule"] == "missing"] == ["warn"]


def test_with_nothing_to_trust_the_run_is_refused(tmp_path: Path) -> None:
    project(tmp_path, spoilt(bars_of("MERL"), "MERL", slice(-5, None)))
    with pytest.raises(NothingTrustedError, match="MERL, 2024-06-24") as refused:
        load_market(config_of(tmp_path), day("2024-06-28"))
    assert refused.value.exit_code == 2


def test_a_notebook_by_hand_sees_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project(tmp_path, spoilt(bars_of("MERL", "NEXQ"), "MERL", slice(-2, None)))
    monkeypatch.chdir(tmp_path)
    run = open_run(as_of="2024-06-28")
    assert set(barred_of(run.panel)) == {"MERL"}
    assert run.quality["barred"].keys() == {"MERL"}


def test_a_column_for_what_has_no_bars_changes_no_other() -> None:
    wide = with_unpriced(PANEL, {"LOST": (PANEL.days[3], 5.0)}, {})
    assert wide.select(PANEL.symbols).sha256 == PANEL.sha256
    assert with_unpriced(PANEL, {"ACME": (PANEL.days[3], 5.0)}, {}) is PANEL
    assert wide.close["LOST"].iloc[-1] == 5.0
    assert bool(np.isnan(wide.close["LOST"].iloc[0]))


def test_one_impossible_dividend_costs_one_symbol_and_not_the_run(tmp_path: Path) -> None:
    bars = {symbol: own.assign(split=1.0, dividend=0.0) for symbol, own in bars_of("MERL", "NEXQ", "AXOR").items()}
    bars["MERL"].iloc[50, -1] = 0.25
    bars["NEXQ"].iloc[100, -1] = bars["NEXQ"]["close"].iloc[99] * 1.4  # told in cents
    bars["AXOR"].iloc[-1, -1] = bars["AXOR"]["close"].iloc[-2] * 2  # after the day of the run: not known yet
    for place in ("", "store = kept\n"):
        project(tmp_path, bars, market=place)
        market = load_market(config_of(tmp_path), day("2024-06-27"))
        assert set(barred_of(market.panel)) == {"NEXQ"}
        assert market.panel.symbols == ("AXOR", "MERL", "NEXQ")
        assert market.panel.close["NEXQ"].iloc[-1] == bars["NEXQ"]["close"].iloc[-2]  # its prices are right
        assert market.panel.actions["dividend"].sum() == 0.25
        assert [f["rule"] for f in market.quality["findings"] if f["severity"] == "fatal"] == ["dividend_size"]


def test_an_impossible_dividend_is_told_where_the_price_fell_that_day(tmp_path: Path) -> None:
    bars = {symbol: own.assign(split=1.0, dividend=0.0) for symbol, own in bars_of("MERL", "NEXQ").items()}
    bars["NEXQ"].iloc[100:, :4] *= 0.5
    bars["NEXQ"].iloc[100, -1] = bars["NEXQ"]["close"].iloc[99]
    project(tmp_path, bars)
    config = config_of(tmp_path)
    market = load_market(config, day("2024-06-28"))
    assert set(barred_of(market.panel)) == {"NEXQ"}
    assert [f["rule"] for f in market.quality["findings"] if f["severity"] == "fatal"].count("dividend_size") == 1
    with pytest.raises(BadBarsError, match="NEXQ, 2023-10-24: a dividend of"):
        load_market(load_config(tmp_path / "settings.ini", None, **{"quality.refuse": "none"}), day("2024-06-28"))


def test_an_impossible_dividend_of_the_benchmark_does_not_cost_the_run(tmp_path: Path) -> None:
    bars = {symbol: own.assign(split=1.0, dividend=0.0) for symbol, own in bars_of("MERL", "NEXQ").items()}
    bars["NEXQ"].iloc[100, -1] = bars["NEXQ"]["close"].iloc[99] * 1.4
    project(tmp_path, bars, market="symbols = MERL\nbenchmark = NEXQ")
    market = load_market(config_of(tmp_path), day("2024-06-28"))
    assert market.benchmark.iloc[-1] / market.benchmark.iloc[0] == pytest.approx(
        bars["NEXQ"]["close"].iloc[-1] / bars["NEXQ"]["close"].iloc[0]
    )
