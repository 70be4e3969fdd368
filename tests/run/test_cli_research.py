import contextlib
import io
import json

import pandas as pd
import pytest
import typer

from trading_core.backtest.sweep_table import NoCombinationError
from trading_core.cli import app, research
from trading_core.errors import ConfigError, UnknownNameError
from trading_core.sessions import sessions

SETTINGS = """[market]
start = 2023-01-01
symbols = AQVA, BTC/USD

[execution]
cash = 25000

[strategies.own]
class = SmaCross
share = 1
slow = 40
"""


@pytest.fixture
def ask(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.ini").write_text(SETTINGS)
    app = typer.Typer()
    research.add_to(app)

    def asked(*arguments):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            app([*arguments, "--as-of", "2024-12-31"], standalone_mode=False)
        return out.getvalue()

    return asked


def test_a_sweep_prints_the_best_first_and_saves_all(ask, tmp_path):
    facts = json.loads(ask("sweep", "SmaCross", "-g", "fast=5:15:5", "-g", "slow=10,30", "--json"))
    assert facts["count"] == 4  # 10/10 and 15/10 make no sense
    assert len(facts["failures"]) == 2
    ratios = [row["sharpe"] for row in facts["best"]]
    assert ratios == sorted(ratios, reverse=True)
    [saved] = tmp_path.glob("outputs/sweep/*/sweep.csv")
    assert len(pd.read_csv(saved)) == 4


def test_a_sweep_of_which_nothing_can_be_run_is_an_error(ask, tmp_path):
    with pytest.raises(
        NoCombinationError, match=r"None of the 2 combinations of SmaCross can be run. The first one says"
    ):
        ask("sweep", "SmaCross", "-g", "fast=60,70", "-g", "slow=20")
    assert not [*tmp_path.glob("outputs/sweep/*/sweep.csv")]


def test_a_strategy_of_the_settings_keeps_what_they_fix(ask):
    facts = json.loads(ask("sweep", "own", "-g", "fast=5,10", "--json"))
    assert {row["slow"] for row in facts["best"]} == {40}


def test_a_walk_prints_its_windows_and_what_it_means(ask, tmp_path):
    text = ask("walk-forward", "SmaCross", "-g", "fast=5,10", "-p", "slow=30", "--train", "1y", "--test", "6m")
    assert "Over 2 windows the choices had a mean Sharpe ratio of" in text
    assert "2024-01-01" in text
    [folder] = tmp_path.glob("outputs/walk_forward/*")
    windows = pd.read_csv(folder / "windows.csv")
    assert windows["test_start"].tolist() == ["2024-01-01", "2024-07-01"]
    assert pd.read_csv(folder / "equity.csv")["equity"].iloc[0] == 25_000


def test_sealed_days_of_the_settings_are_not_walked_into(ask, tmp_path):
    (tmp_path / "settings.ini").write_text(SETTINGS + "\n[research]\nholdout = 2024-07-01..\n")
    text = ask(
        "walk-forward", "SmaCross", "-g", "fast=5,10", "-p", "slow=30", "--train", "1y", "--test", "6m", "--json"
    )
    assert max(window["test_end"] for window in json.loads(text)["windows"]) < "2024-07-01"


def test_slips_are_sentences(ask):
    with pytest.raises(UnknownNameError, match="Did you mean 'fast'"):
        ask("sweep", "SmaCross", "-g", "fats=5")
    with pytest.raises(UnknownNameError, match="Did you mean 'sharpe'"):
        ask("sweep", "SmaCross", "-g", "fast=5", "--metric", "sharp")
    with pytest.raises(ConfigError, match="nothing to try: name values, such as -g fast=5,10,20"):
        ask("sweep", "SmaCross")
    with pytest.raises(ConfigError, match="half a range: first, last and step are needed, such as 5:60:5"):
        ask("sweep", "SmaCross", "-g", "fast=5:60")
    with pytest.raises(ConfigError, match="needs the form name=value"):
        ask("walk-forward", "SmaCross", "-g", "fast")


@pytest.mark.parametrize(
    ("text", "values"),
    [("1", [1]), ("0.5,1", [0.5, 1]), ("none", [None]), ("5:7:1", [5, 6, 7]), ("7:5:1", []), ("a:b:c", ["a:b:c"]), ("yes", ["yes"]), ("True", [True])],
)  # fmt: skip
def test_values_are_read_as_they_are_written(text, values):
    assert research.values_of(text) == values


AHEAD = """
from trading_core.strategies import Strategy


class KnowsTomorrow(Strategy):
    days: int = 1

    def __init__(self, days: int = 1):
        self.days = days

    @property
    def parameters(self):
        return {"days": self.days}

    def signals(self, panel):
        return (panel.close.shift(-self.days) > panel.close).astype(float).where(panel.close.notna())
"""


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    "A command of the program in a folder of its own; what it printed, and what it said on the error stream."
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        app([*arguments], standalone_mode=False)
        return capsys.readouterr()

    return run


@pytest.mark.parametrize(
    "given",
    [
        ("sweep", "tomorrows:KnowsTomorrow", "-g", "days=1,2"),
        ("walk-forward", "tomorrows:KnowsTomorrow", "-g", "days=1,2", "--train", "1y"),
        ("backtest", "--strategy", "tomorrows:KnowsTomorrow"),
    ],
    ids=lambda given: given[0],
)
def test_what_looks_ahead_is_told_where_its_gains_are(tmp_path, command, given):
    (tmp_path / "settings.ini").write_text(SETTINGS)
    (tmp_path / "tomorrows.py").write_text(AHEAD)
    said = command(*given).out
    assert "✗ KnowsTomorrow looks ahead" in said
    assert "What it earns on past days means nothing." in said
    assert "luck" not in said
    assert json.loads(command(*given, "--json").out)["looks_ahead"][0].startswith("✗ KnowsTomorrow looks ahead")


def test_symbols_that_are_not_traded_are_named_on_the_error_stream(tmp_path, command):
    days = sessions("XNYS", "2024-01-02", "2024-06-28")
    for name, factor in (("GOOD", 1.0), ("TORN", 100.0)):
        close = pd.Series(range(len(days)), days, dtype=float) / 10 + 50
        close.iloc[60] *= factor
        table = pd.DataFrame({"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 1000})
        table.tz_localize(None).to_csv(tmp_path / f"{name}.csv", index_label="date")
    (tmp_path / "settings.ini").write_text("[market]\nsource = csv\npath = .\nsymbols = GOOD, TORN\n")
    told = command("backtest", "--strategy", "SmaCross", "-p", "fast=3", "-p", "slow=9", "--json")
    assert "! 1 of 2 symbols is not traded: TORN. TORN: " in told.err
    assert list(json.loads(told.out)["not_traded"]) == ["TORN"]
