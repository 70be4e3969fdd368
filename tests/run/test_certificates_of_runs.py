"""A run asks for certificates: it makes what is missing, refuses what looks ahead, and a hash is all that an old one costs."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from small_market import COSTS, PANEL

from trading_core.cli import app
from trading_core.config import load_config
from trading_core.execution import OrderRouter, PaperExecutor
from trading_core.ledger import Ledger
from trading_core.model import Side
from trading_core.run.certificates import certificates_folder, certified, permits_of, quick_check
from trading_core.run.cycle import run_cycle
from trading_core.run.runner import run_job
from trading_core.strategies import Certificate, Strategy, UncertifiedError, load_strategy
from trading_core.strategies.causal import Permits

RULES = """
from trading_core.strategies import Strategy

class Honest(Strategy):
    def signals(self, panel):
        return (panel.close > panel.close.shift()).astype(float)

class Shifted(Strategy):
    def signals(self, panel):
        return (~(panel.close.shift(-1) <= panel.close)).astype(float)
"""


class Up(Strategy):
    "Wants all there is."

    def signals(self, panel):
        return panel.observed.astype(float).where(panel.observed)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("TRADING_")]:
        monkeypatch.delenv(name)
    (tmp_path / "rules_for_runs.py").write_text(RULES)
    (tmp_path / "settings.ini").write_text(
        "[market]\nuniverse = crypto\nstart = 2024-01-01\n"
        "[strategies.mine]\nclass = rules_for_runs:Honest\n[jobs]\ndaily = trade\n"
    )
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("rules_for_runs", None)


def _run(folder: Path, *, dry_run: bool = False, **settings: str):
    config = load_config(folder / "settings.ini", **settings)
    result = run_job("daily", config=config, as_of="2024-06-28", dry_run=dry_run)
    return result, json.loads((result.folder / "run.json").read_text())


def _orders(folder: Path) -> int:
    config = load_config(folder / "settings.ini")
    with Ledger(config.ledger_url, account=config.account) as books:
        return len(books.orders())


def test_a_run_makes_the_certificate_that_is_missing_and_says_so_and_the_next_one_only_looks(folder):
    result, facts = _run(folder)
    assert result.status == "done", result.error
    made = facts["certificates"]["mine"]
    assert made["ok"]
    assert made["now"]
    assert made["days"] >= 30
    assert any(line.startswith("Checked for look-ahead: mine ✓ checked at ") for line in result.lines)
    assert made["line"] in result.report.read_text()
    assert len(list((folder / "outputs" / "certificates").glob("*.json"))) == 1
    result, facts = _run(folder)
    assert not facts["certificates"]["mine"]["now"]
    assert facts["seconds"]["certificates"] < 0.5
    assert not any("look-ahead" in line for line in result.lines)


def test_what_looks_ahead_is_refused_with_day_and_symbol_before_anything_is_sent(folder):
    result, facts = _run(folder, **{"strategies.mine.class": "rules_for_runs:Shifted"})
    assert (result.status, result.exit_code) == ("refused", 2)
    assert result.error.startswith("Strategy 'mine' may not open positions: Shifted looks ahead: for ")
    assert facts["error"]["type"] == "UncertifiedError"
    assert not facts["certificates"]["mine"]["ok"]
    assert _orders(folder) == 0


def test_on_paper_a_setting_makes_it_a_warning_that_the_report_shows(folder):
    setting = {"strategies.mine.class": "rules_for_runs:Shifted", "execution.certificate": "warn"}
    result, _ = _run(folder, **setting)
    assert result.status == "done", result.error
    assert any(line.startswith("! ✗ Shifted looks ahead") for line in result.lines)
    assert "Shifted looks ahead" in result.report.read_text()
    assert _orders(folder) > 0


def test_a_dry_run_is_not_refused_but_told(folder):
    result, _ = _run(folder, dry_run=True, **{"strategies.mine.class": "rules_for_runs:Shifted"})
    assert result.status == "done", result.error
    assert any("Shifted looks ahead" in line for line in result.lines)


def test_live_never_makes_do_with_a_warning(folder):
    shifted = load_strategy("rules_for_runs:Shifted")
    for settings, live in (({"execution.certificate": "warn"}, True), ({"execution.certificate": "require"}, False)):
        config = load_config(folder / "settings.ini", **settings)
        with pytest.raises(UncertifiedError):
            permits_of(config, {"mine": (shifted, 1.0)}, live=live).refuse("mine")
    real = {"execution.certificate": "warn", "execution.mode": "live", "execution.executor": "alpaca"}
    with pytest.raises(UncertifiedError):
        permits_of(load_config(folder / "settings.ini", **real), {"mine": (shifted, 1.0)}).refuse("mine")


def test_changed_code_needs_another_certificate(folder):
    config = load_config(folder / "settings.ini")
    honest = load_strategy("rules_for_runs:Honest")
    place = certificates_folder(config)
    certified({"mine": (honest, 1.0)}, PANEL, place)
    permits_of(config, {"mine": (honest, 1.0)}).refuse("mine")
    (folder / "rules_for_runs.py").write_text(RULES + "# changed\n")
    with pytest.raises(UncertifiedError, match="no certificate for its code as it is now"):
        permits_of(config, {"mine": (honest, 1.0)}).refuse("mine")


def test_a_cycle_with_permits_does_nothing_for_a_strategy_without_one(tmp_path):
    terms = {"panel": PANEL, "account": "small", "cash": 10_000, "costs": COSTS, "source_kind": "test"}
    url = tmp_path / "books.db"
    with pytest.raises(UncertifiedError):
        run_cycle(strategies={"up": (Up(), 1.0)}, ledger=url, permits=Permits({"up": None}), **terms)
    assert not url.exists()
    good = Permits({"up": Certificate("Up", code="x")})
    report = run_cycle(strategies={"up": (Up(), 1.0)}, ledger=url, permits=good, **terms)
    assert report.plan.orders


def test_the_router_sends_sales_of_a_strategy_without_a_certificate_and_no_purchase(tmp_path):
    terms = {"panel": PANEL, "account": "small", "cash": 10_000, "costs": COSTS, "source_kind": "test"}
    url = tmp_path / "books.db"
    days = PANEL.days
    run_cycle(strategies={"up": (Up(), 1.0)}, ledger=url, as_of=days[5], **terms)
    with Ledger.open(str(url), "small") as book:
        venue = PaperExecutor(book, PANEL, COSTS)
        router = OrderRouter(venue, book)
        router.permits = Permits({"up": None})
        sent = list(book.intents("daily", days[5]))
        assert sent
        with pytest.raises(UncertifiedError):
            router.permit(sent)
        router.permit([replace(order, side=Side.SELL) for order in sent])


def test_a_quick_look_at_a_long_history_takes_its_last_years_unless_a_rule_needs_more():
    from trading_core.data import SimulatedBars, load_panel

    market = SimulatedBars(seed=7)
    panel = load_panel(market, [s for s in market.symbols() if "/" in s], "2017-01-01", "2024-03-08")

    class Old(Strategy):
        "Has an opinion on days long ago alone."

        def signals(self, panel):
            return panel.observed.astype(float).mul(0.0).where((panel.days < "2018-01-01")[:, None] & panel.observed)

    quick = quick_check(Up(), panel, seconds=0.2)
    assert quick.ok
    assert quick.possible == len(panel.days) - 1
    assert min(quick.days) > panel.days[-801]
    assert quick_check(Old(), panel, seconds=0.2).compared > 0


def test_the_command_checks_keeps_and_returns_1_for_a_leak(folder, capsys):
    few = ["--seconds", "0", "--set", "market.start=2025-09-01"]
    assert app(["check", "mine", *few], standalone_mode=False) == 0
    assert capsys.readouterr().out.startswith("✓ Honest does not look ahead: checked at ")
    assert len(list((folder / "outputs" / "certificates").glob("Honest-*.json"))) == 1
    assert app(["check", "rules_for_runs:Shifted", "--json", *few], standalone_mode=False) == 1
    told = json.loads(capsys.readouterr().out)["checked"][0]
    assert not told["ok"]
    assert told["change"]["symbol"]
    assert app(["check", *few], standalone_mode=False) == 0
    assert "✓ Honest" in capsys.readouterr().out
