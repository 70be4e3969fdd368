"""Real money takes three switches, and each of them alone ends a run before anything begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from trading_core.config import load_config
from trading_core.execution import opening
from trading_core.execution.guards import TooFewPaperDays
from trading_core.ledger import Ledger
from trading_core.run import run_job
from trading_core.run.runner import parameters_of, template

KEYS = {"ALPACA_API_KEY": "PKTEST", "ALPACA_SECRET_KEY": "secret"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "settings.ini").write_text("[market]\nsymbols = AQVA\nstart = 2023-01-03\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("mode", "live", "sentence"),
    [("live", False, "say --live on the command line"), ("paper", True, "execution.mode is paper")],
    ids=["the setting alone", "the command alone"],
)
def test_one_switch_refuses_the_run_before_a_kernel_starts(folder: Path, mode: str, live: bool, sentence: str):
    changed = {"execution.executor": "alpaca", "execution.mode": mode}
    config = load_config(folder / "settings.ini", None, **changed)
    result = run_job("daily", config=config, as_of="2024-03-08", live=live)
    assert (result.status, result.exit_code) == ("refused", 2)
    assert sentence in result.error
    assert not list(result.folder.glob("*.ipynb"))


def test_two_switches_without_thirty_days_on_paper_are_not_enough(folder: Path):
    config = load_config(folder / "settings.ini", None, **{"execution.executor": "alpaca", "execution.mode": "live"})
    with Ledger(folder / "ledger.db", account="alpaca-live") as ledger, pytest.raises(TooFewPaperDays):
        opening.open_executor(config, ledger, None, live=True, sleep=lambda seconds: None)  # type: ignore[arg-type]


def test_the_trade_notebook_itself_asks_for_no_real_money(folder: Path):
    known = parameters_of(template("trade", load_config(folder / "settings.ini", None)))
    assert (known["live"].default, known["dry_run"].default) == ("False", "True")
