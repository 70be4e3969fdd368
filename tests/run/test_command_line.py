"""The program `trading`: sentences, exit codes, JSON, and a quick start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from trading_core import cli
from trading_core.config import load_config

SMALL = "[market]\nsymbols = AQVA, AXOR, BTC/USD\nstart = 2023-01-03\n"


@pytest.fixture(autouse=True)
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("TRADING_"):
            monkeypatch.delenv(name)
    (tmp_path / "settings.ini").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # it is the program's, not this process's, to set
    return tmp_path


class Said:
    "What `trading` printed in this process, and how it ended."

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str):
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        self.code, (self.out, self.err) = ended.value.code, capsys.readouterr()


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]):
    said = Said(capsys, "--help")
    assert said.code == 0
    for name in [
        "init",
        "run",
        "schedule",
        "runs",
        "backtest",
        "signals",
        "positions",
        "ledger",
        "data",
        "lab",
        "resume",
        "approve",
        "cancel",
        "undo",
        "why",
        "monitor",
    ]:
        assert f"\n  {name} " in said.out


def test_help_imports_nothing_heavy():
    program = "import sys, trading_core.cli; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.split())
    assert not loaded & {
        "pandas",
        "numpy",
        "matplotlib",
        "pydantic",
        "sqlalchemy",
        "papermill",
        "backtrader",
        "rich.progress",
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "dayly"], "Did you mean 'daily'?"),
        (["run", "daily", "--set", "market.sorce=csv"], "Did you mean 'source'?"),
        (["run", "daily", "--set", "market=csv"], "section.key=value"),
        (["run", "daily", "-p", "fast"], "name=value"),
        (["run", "daily", "--as-of", "yesterday"], "written as 2019-06-28"),
        (["run", "daily", "--as-of", "2019-13-01"], "written as 2019-06-28"),
        (["run", "daily", "--settings", "nowhere.ini"], "nowhere.ini"),
        (["signals", "--as-of", "2999-01-01"], "is over in UTC"),
        (["data", "--set", "market.source=csv"], "market.path"),
        (["backtest", "--strategy", "SmaCros"], "Did you mean 'SmaCross'?"),
        (["backtest", "--strategy", "SmaCross", "-p", "fsat=20"], "Did you mean 'fast'?"),
        (["backtest", "--strategy", "SmaCross", "-p", "fast=many"], "a whole number"),
        (["backtest", "-p", "fast=20"], "--strategy"),
        (["backtest", "--start", "2199-01-01"], "2199-01-01"),
        (["backtest", "--start", "2026-13-01"], "'2026-13-01'"),
        (["backtest", "--end", "tomorow"], "'tomorow'"),
        (["data", "fetch", "--start", "2026-99-99", "--set", "market.store=bars"], "'2026-99-99'"),
        (["ledger", "filles"], "Did you mean 'fills'?"),
        (["positions", "--set", "ledger.account=a/b"], "account"),
        (["schedule", "--set", "schedule.daily=0 0 * * 1"], "by name"),
        (["schedule", "--set", "schedule.weekly=0 0 * * *"], "'weekly' is not known"),
        (["rum"], "Did you mean 'run', 'resume'? `trading --help` lists commands"),
        (["runs", "--last", "-1"], "'--last': Input should be greater than or equal to 1"),
        (["trials", "--last", "0"], "'--last': Input should be greater than or equal to 1"),
        (
            ["positions", "--set", "market.source=yahho"],
            "market.source: 'yahho' is not known here. Did you mean 'yahoo'?",
        ),
        (["data", "--set", "market.start=2015"], "start needs a day such as 2015-01-01, but '2015' arrived"),
        (["schedule", "--set", "schedule.daily=0 0 31 2 *"], "daily needs a time that comes, such as 10 0 * * *"),
        (["run", "--sett", "x"], "No such option"),
        (["chaos", "--seed", "x"], "as an integer. `trading --help` lists commands"),
    ],
)
def test_a_slip_ends_with_2_and_a_sentence(capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str):
    said = Said(capsys, *arguments)
    assert (said.code, sentence in said.err) == (2, True), said.err
    assert "Traceback" not in said.err + said.out


def test_of_a_family_that_was_never_tried_in_books_without_any_try_there_is_nothing(
    capsys: pytest.CaptureFixture[str], book: Path
):
    said = Said(capsys, "trials", "--family", "SmaCross")
    assert (said.code, said.out) == (0, "Nothing of SmaCross was tried yet.\n"), said.err


def test_a_fault_of_the_program_ends_with_1_and_says_how_to_see_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cli, "config_of", lambda *_: 1 / 0)
    said = Said(capsys, "runs")
    assert said.code == 1
    assert said.err.startswith("ZeroDivisionError")
    assert "Traceback" not in said.err
    monkeypatch.setenv("TRADING_DEBUG", "1")
    assert "Traceback" in Said(capsys, "runs").err


@pytest.mark.parametrize("arguments", [["backtest"], ["run", "daily"], ["sweep", "SmaCross", "-g", "fast=5,10"]])
def test_a_folder_that_cannot_be_written_is_named_and_is_no_fault_of_the_program(
    capsys: pytest.CaptureFixture[str], book: Path, arguments: list[str]
):
    (book / "taken").write_text("a file where a folder is needed")
    books = f"ledger.database_url=sqlite:///{book / 'books.db'}"
    said = Said(capsys, *arguments, "--set", "paths.outputs=taken", "--set", books)
    assert said.code == 1
    assert f"{book / 'taken'}" in said.err
    assert "not a directory. Make it readable and writable, or name another place" in said.err
    assert "should not happen" not in said.err


def test_init_writes_what_is_missing_and_touches_nothing_else(book: Path, capsys: pytest.CaptureFixture[str]):
    (book / "runs").mkdir()
    (book / "runs" / "trade.ipynb").write_text("mine")
    said = Said(capsys, "init")
    assert said.code == 0
    assert (book / "settings.ini").read_text() == SMALL
    assert (book / "runs" / "trade.ipynb").read_text() == "mine"
    assert json.loads((book / "runs" / "signals.ipynb").read_text())["nbformat"] == 4
    assert said.out.count("kept") == 2


def test_init_in_another_folder_makes_settings_that_load(book: Path, capsys: pytest.CaptureFixture[str]):
    Said(capsys, "init", "new")
    assert load_config(book / "new" / "settings.ini").jobs["daily"] == ("backtest", "signals", "trade")


def test_a_backtest_prints_a_summary_and_saves_the_result(book: Path, capsys: pytest.CaptureFixture[str]):
    given = ["--strategy", "SmaCross", "-p", "fast=5", "-p", "slow=20", "--start", "2023-06-01", "--end", "2024-03-08"]
    said = Said(capsys, "backtest", *given)
    assert said.code == 0
    assert "SmaCross" in said.out
    (folder,) = (book / "outputs" / "backtests").iterdir()
    assert f"Saved: {folder}" in said.out
    setup = json.loads((folder / "setup.json").read_text())
    assert setup["strategies"]["SmaCross"]["params"] == {"fast": 5, "slow": 20}
    assert (folder / "equity.csv").read_text().splitlines()[1].startswith("2023-06-01")


def test_a_strategy_of_the_settings_can_be_backtested_alone(capsys: pytest.CaptureFixture[str]):
    said = Said(capsys, "backtest", "--strategy", "crypto", "-p", "stop_loss=0.1", "--start", "2024-01-02", "--json")
    setup = json.loads(said.out)["setup"]
    assert list(setup["strategies"]) == ["crypto"]
    assert setup["strategies"]["crypto"]["params"]["stop_loss"] == 0.1


def test_looking_prints_json_for_programs(capsys: pytest.CaptureFixture[str]):
    asked = (["signals", "--as-of", "2024-03-08"], ["data", "--as-of", "2024-03-08"], ["positions"], ["runs"])
    answers = [json.loads(Said(capsys, *arguments, "--json").out) for arguments in asked]
    assert {row["strategy"] for row in answers[0]} == {"equity"}
    assert [row["symbol"] for row in answers[1]] == ["AQVA", "AXOR", "BTC/USD"]
    assert (answers[2], answers[3]) == ([], {"runs": []})


@pytest.mark.parametrize("table", cli.books_commands.TABLES)
def test_every_table_of_empty_books_can_be_printed(capsys: pytest.CaptureFixture[str], table: str, book: Path):
    said = Said(capsys, "ledger", table)
    assert (said.code, said.out) == (0, f"Account simulated: no {table} yet.\n")
    assert not (book / "outputs").exists()


def a_busy_book(url: str, days: int = 7) -> None:
    "A line of every history on each of some days."
    from trading_core.ledger import Ledger
    from trading_core.model import Fill, OrderRequest, Side

    with Ledger.open(url, "simulated") as books:
        books.bind("simulated", "paper", Decimal(10_000))
        for n in range(days):
            day, plan = (
                pd.Timestamp("2024-03-01", tz="UTC") + pd.Timedelta(days=n),
                {"targets": {}, "cancels": [], "refusals": []},
            )
            books.start_run(f"2024030{n + 1}T001000Z-daily-aaaa", "daily", day)
            buy = OrderRequest(f"o{n}", f"S{n}", Side.BUY, Decimal(1), strategy="demo")
            money = {"equity": Decimal(10_000), "cash": Decimal(10_000)}
            signals = {"demo": {f"S{n}": 1.0}}
            books.store_plan(
                "daily",
                day,
                orders=[buy],
                plan=plan,
                signals=signals,
                run_id=f"2024030{n + 1}T001000Z-daily-aaaa",
                **money,
            )
            books.add_fills([Fill(f"f{n}", f"o{n}", f"S{n}", Side.BUY, Decimal(1), Decimal(1), Decimal(0), day)])
            books.set_equity(day, **money)
            books.note("noted", f"n{n}")


HISTORIES = {
    "fills": "day", "orders": "client_id", "equity": "day", "cycles": "as_of", "runs": "as_of", "signals": "as_of",
    "lots": "entry_day", "realised": "symbol", "events": "subject",
}  # fmt: skip


def test_the_last_rows_of_a_table_are_the_newest_ones_in_their_order(book: Path, capsys: pytest.CaptureFixture[str]):
    a_busy_book(load_config(book / "settings.ini").ledger_url)
    for table, column in HISTORIES.items():
        told = {n: json.loads(Said(capsys, "ledger", table, "--last", n, "--json").out) for n in ("2", "99")}
        everything = [row[column] for row in told["99"]]
        assert everything == sorted(everything), table
        assert len(everything) >= 7, table
        assert [row[column] for row in told["2"]] == everything[-2:], table
    assert Said(capsys, "ledger", "cycles", "--last", "3").out.splitlines()[-1].startswith("The last 3 of 7 rows;")
    assert Said(capsys, "ledger", "cycles", "--last", "0").code == 2


def test_output_that_nobody_reads_to_its_end_is_no_error():
    program = [sys.executable, "-c", "from trading_core.cli import main; main()", "data"]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait()


def test_a_run_without_an_account_has_a_dash_for_its_equity(book: Path, capsys: pytest.CaptureFixture[str]):
    from trading_core.errors import ConfigError
    from trading_core.run.runner import RunRecord

    config = load_config("settings.ini", None)
    RunRecord.begin(config, "daily", {}).end(ConfigError("no"))
    known = RunRecord.begin(config, "weekly", {})
    known.facts |= {"as_of": "2024-03-04", "equity": 100_250.5}
    known.end()
    said = Said(capsys, "runs").out
    assert "None" not in said
    assert "nan" not in said.lower()
    rows = {line.split()[0].split("-")[1]: line.split()[1:] for line in said.splitlines()[1:]}
    assert rows["daily"] == ["–", "refused", "–", "simulated", "0"]
    assert rows["weekly"] == ["2024-03-04", "done", "100,250.50", "simulated", "0"]


def test_a_run_that_ends_with_an_order_of_unknown_fate_says_so_in_its_record_and_exit_code(book: Path):
    from contextlib import ExitStack

    from trading_core.errors import TradingError
    from trading_core.run.runner import RunRecord, UnresolvedOrdersError, WholeRun

    config = load_config(book / "settings.ini")
    record, scratch = RunRecord.begin(config, "daily", {}), book / "scratch"
    scratch.mkdir()
    day = {"venue": {"executor": "alpaca", "unknown": ["20240304-AQVA-b-1", "20240304-AXOR-b-2"]}}
    run = WholeRun(config, record, {}, scratch, ExitStack())
    for dry_run, kind in ((False, UnresolvedOrdersError), (True, type(None))):
        (scratch / "page-trade.json").write_text(json.dumps(A_DAY | day | {"dry_run": dry_run}))
        stopped = run.unfinished()
        assert isinstance(stopped, kind)
        if isinstance(stopped, TradingError):
            assert stopped.exit_code == 1
            record.end(stopped)
    assert record.facts["status"] == "failed"
    assert record.facts["error"]["message"].endswith("venue has them: 20240304-AQVA-b-1, 20240304-AXOR-b-2.")
    assert "no order goes out twice" in record.facts["next_step"]


A_DAY = {
    "account": "simulated", "job": "daily", "as_of": "2024-03-04", "simulated": True, "dry_run": False, "resumed": False,
    "equity": 1.0, "cash": 1.0, "started": "2024-03-04", "initial": 1.0, "previous_day": None, "previous_equity": None,
    "previous_cash": None, "benchmark": None, "history": {"days": ["2024-03-04"], "account": [1.0], "benchmark": []},
    "exposure": {}, "exposure_after": {}, "targets": {}, "movers": {},
}  # fmt: skip
