"""Whole runs through papermill: what they leave behind, and what happens when something goes wrong."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest

from trading_core.backtest import backtest
from trading_core.config import TradingConfig, load_config
from trading_core.data import as_source
from trading_core.ledger import Ledger, account_lock
from trading_core.run import context, open_run, pages, run_job
from trading_core.run.pages import PageKernel, execute_page

TRADING = [sys.executable, "-c", "from trading_core.cli import main; main()"]
MARKET = """
[market]
symbols = AQVA, AXOR, BAQO, BOGU, BRYO, BTC/USD, ETH/USD, SOL/USD
start = 2023-01-03
[strategies.equity]
class = EquityReversal
share = 0.5
[strategies.crypto]
class = CryptoReversal
share = 0.5
"""
ONE_PAGE = "\n[jobs]\n{job} = {job}\n"


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TRADING_")}


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    "A folder with settings for a small market."
    for name in list(os.environ):
        if name.startswith("TRADING_"):
            monkeypatch.delenv(name)
    (tmp_path / "settings.ini").write_text(MARKET, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pages, "WARM", "pass")  # these pages import little
    return tmp_path


def page(book: Path, name: str, *cells: str, parameters: str = 'as_of: str = ""') -> None:
    "A template, and a job that consists of it."
    made = [nbformat.v4.new_code_cell(source, id=f"c{i}") for i, source in enumerate((parameters, *cells))]
    made[0].metadata.tags = ["parameters"]
    kernel = {"name": "python3", "language": "python", "display_name": "python3"}
    (book / "runs").mkdir(exist_ok=True)
    nbformat.write(
        nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": kernel}), book / "runs" / f"{name}.ipynb"
    )
    text = (book / "settings.ini").read_text()
    (book / "settings.ini").write_text(
        text + (f"{name} = {name}\n" if "[jobs]" in text else ONE_PAGE.format(job=name)), encoding="utf-8"
    )


def facts_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


def books(book: Path) -> Ledger:
    return Ledger(load_config(book / "settings.ini").ledger_url, account="simulated")


def only_run(book: Path) -> Path:
    (found,) = (book / "outputs").glob("*-*-*")
    return found


@pytest.fixture(scope="session")
def two_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "Two daily runs on consecutive days, as one types them; made once, for all processes that test. Not to be changed."
    base = tmp_path_factory.getbasetemp()
    book = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "two_days"
    with open(f"{book}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not book.exists():
            _make_two_days(book)
    return book


def _make_two_days(book: Path) -> None:
    draft = book.with_name("two_days_draft")
    draft.mkdir()
    (draft / "settings.ini").write_text(MARKET, encoding="utf-8")
    for day, names in (("2024-03-07", "trade"), ("2024-03-08", "backtest, signals, trade")):
        command = [*TRADING, "run", "daily", "--as-of", day, "--set", f"jobs.daily={names}"]
        done = subprocess.run(command, cwd=draft, env=clean(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        (draft / f"said-{day}.txt").write_text(done.stdout.replace(str(draft), str(book)))
        (draft / f"err-{day}.txt").write_text(done.stderr)
    draft.rename(book)


@pytest.fixture
def copied(two_days: Path, tmp_path: Path) -> Path:
    "A book of one's own that begins with those two days."
    return Path(shutil.copytree(two_days, tmp_path / "copied"))


def runs_of(book: Path) -> list[Path]:
    return sorted((book / "outputs").glob("*-daily-*"))


def test_a_run_leaves_notebooks_pages_a_report_and_a_record(two_days: Path):
    folder = runs_of(two_days)[1]
    assert {path.name for path in folder.iterdir()} == {
        "run.json", "report.html", "backtest.ipynb", "backtest.html",
        "signals.ipynb", "signals.html", "trade.ipynb", "trade.html",
    }  # fmt: skip
    assert re.fullmatch(r"\d{8}T\d{6}Z-daily-[0-9a-f]{4}", folder.name)


def test_the_record_has_what_schema_1_promises(two_days: Path):
    facts = facts_of(runs_of(two_days)[1])
    assert facts["schema"] == 1
    assert (facts["job"], facts["account"], facts["as_of"], facts["status"]) == (
        "daily", "simulated", "2024-03-08", "done",
    )  # fmt: skip
    promised = "run_id pid started ended parameters settings versions commit data pages counts equity error"
    assert set(promised.split()) <= set(facts)
    assert set(facts["data"]) == {"source", "first", "last", "sha256"}
    assert [set(entry) for entry in facts["pages"]] == [{"name", "status", "seconds"}] * 3
    assert set(facts["counts"]) == {"signals", "orders", "refused", "fills"}
    assert facts["seconds"]["engine"] > 0
    assert facts["error"] is None
    for moment in (facts["started"], facts["ended"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", moment)


def test_the_pages_ask_no_other_host_and_say_simulated(two_days: Path):
    written = [*runs_of(two_days)[1].glob("*.html"), two_days / "outputs" / "index.html"]
    assert len(written) == 5
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?\s*(?:https?:)?//", text), path.name
        assert not re.search(r"<script|@import", text), path.name
        assert "SIMULATED" in text.upper(), path.name


def test_the_terminal_says_where_the_report_is_and_a_log_shows_no_bar(two_days: Path):
    said = (two_days / "said-2024-03-08.txt").read_text()
    assert f"Report: {runs_of(two_days)[1] / 'report.html'}" in said
    assert "SIMULATED" in said
    assert "\r" not in said + (two_days / "err-2024-03-08.txt").read_text()


def test_the_index_lists_both_runs_newest_first(two_days: Path):
    text = (two_days / "outputs" / "index.html").read_text()
    first, second = (folder.name for folder in runs_of(two_days))
    assert -1 < text.index(f"{second}/report.html") < text.index(f"{first}/report.html")


def test_two_daily_runs_leave_what_one_backtest_does(two_days: Path):
    run = open_run(as_of="2024-03-08", run_folder=str(runs_of(two_days)[1]))
    alone = backtest(run.strategies, run.panel, cash=100_000, costs=run.costs, limits=run.limits, start="2024-03-07")
    with books(two_days) as ledger:
        equity, fills = ledger.equity(), ledger.fills_frame()
    assert equity.round(2).tolist() == alone.equity.round(2).tolist()
    assert [(str(f.symbol), str(f.side), float(f.quantity)) for f in fills.itertuples()] == [
        (f.symbol, f.side, f.quantity) for f in alone.fills.itertuples()
    ]


def test_the_same_day_again_places_no_order_twice(copied: Path):
    with books(copied) as ledger:
        before = ledger.orders()
    done = subprocess.run(
        [*TRADING, "run", "daily", "--as-of", "2024-03-08", "--json", "--set", "jobs.daily=trade"],
        cwd=copied, env=clean(), capture_output=True, text=True,
    )  # fmt: skip
    facts = json.loads(done.stdout)
    with books(copied) as ledger:
        after = ledger.orders()
    assert (done.returncode, facts["status"]) == (0, "done")
    assert len(before) > 0
    pd.testing.assert_frame_equal(before, after)


def test_a_past_trade_notebook_run_by_hand_places_no_order(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in [name for name in os.environ if name.startswith("TRADING_")]:
        monkeypatch.delenv(name)
    folder = runs_of(copied)[1]
    assert "dry_run = False" in (folder / "trade.ipynb").read_text()
    with books(copied) as ledger:
        before = (ledger.orders(), ledger.cycles(), ledger.fills_frame(), len(ledger.runs()))
    kernel = PageKernel(tmp_path, 0, {}, folder)
    try:
        execute_page(folder / "trade.ipynb", tmp_path / "by_hand.ipynb", {}, kernel)
    finally:
        kernel.stop()
    with books(copied) as ledger:
        after = (ledger.orders(), ledger.cycles(), ledger.fills_frame(), len(ledger.runs()))
    assert before[3] == after[3]
    for one, other in zip(before[:3], after[:3], strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_an_older_trade_notebook_shows_what_was_decided_then(two_days: Path):
    older = open_run(as_of="2024-03-07", run_folder=str(runs_of(two_days)[0]))
    with books(two_days) as ledger:
        then = [order.client_id for order in ledger.intents("daily", older.as_of)]
    with pytest.warns(UserWarning, match="No order is placed"):
        cycle = older.cycle(dry_run=False)
    assert (cycle.as_of, cycle.dry_run, cycle.resumed) == (older.as_of, True, True)
    assert [order.client_id for order in cycle.plan.orders] == then


def test_a_past_day_is_refused_before_any_kernel_starts(copied: Path):
    config = load_config(copied / "settings.ini")
    result = run_job("daily", config=config, as_of="2024-03-07")
    assert (result.status, result.exit_code) == ("refused", 2)
    assert "2024-03-08" in result.error
    assert [entry["status"] for entry in facts_of(result.folder)["pages"]] == []


def test_a_dry_run_writes_nothing_into_the_books(book: Path):
    result = run_job("daily", config=load_config(**{"jobs.daily": "trade"}), as_of="2024-03-08", dry_run=True)
    assert (result.status, result.error) == ("done", "")
    assert facts_of(result.folder)["dry_run"] is True
    assert not (book / "outputs" / "ledger.db").exists()


def test_a_dry_run_counts_no_try_in_the_books(book: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TRADING_TRIALS", raising=False)
    page(book, "odd", "import os", "where = os.environ.get('TRADING_TRIALS')", "assert where == 'memory', where")
    assert run_job("odd", config=load_config(), as_of="2024-03-08", dry_run=True).status == "done"
    assert run_job("odd", config=load_config(), as_of="2024-03-08").status == "failed"  # here it would be counted


@pytest.mark.parametrize(
    ("cells", "timeout", "kind"),
    [
        (("prices = {}", "prices['close']"), 600, "KeyError"),
        (("import time", "time.sleep(60)"), 1, "Timeout"),
        (("import os", "os._exit(1)"), 600, "KernelDied"),
    ],
)
def test_a_page_that_fails_is_told_in_the_record_the_report_and_the_index(
    book: Path, cells: tuple[str, ...], timeout: int, kind: str
):
    page(book, "odd", *cells)
    config = load_config(**{"run.cell_timeout": timeout})
    result = run_job("odd", config=config, as_of="2024-03-08")
    facts = facts_of(result.folder)
    assert (result.status, result.exit_code, facts["status"]) == ("failed", 1, "failed")
    assert (facts["error"]["type"], facts["error"]["page"], facts["error"]["cell"]) == (kind, "odd", 4)
    assert facts["pages"][0]["status"] == "failed"
    assert kind in result.error
    assert "trading run odd --as-of 2024-03-08" in result.next_step
    report, index = (result.folder / "report.html").read_text(), (book / "outputs" / "index.html").read_text()
    assert "failed" in report.lower()
    assert "failed" in index.lower()
    assert kind in (result.folder / "odd.ipynb").read_text()


def start(book: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*TRADING, "run", *arguments], cwd=book, env=clean(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(path: Path, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, f"{path.name} did not appear"
        time.sleep(0.05)


SLEEPS = ("from pathlib import Path\nPath('begun').touch()", "import time\ntime.sleep(60)")


def test_a_killed_run_is_marked_by_the_next_one(book: Path):
    page(book, "slow", *SLEEPS, parameters='as_of: str = ""\ndry_run: bool = True')
    page(book, "quick", "1 + 1", parameters='as_of: str = ""\ndry_run: bool = True')
    process = start(book, "slow", "--as-of", "2024-03-08")
    wait_for(book / "begun")
    process.kill()
    process.wait()
    killed = only_run(book)
    assert facts_of(killed)["status"] == "running"
    assert run_job("quick", config=load_config(), as_of="2024-03-08").status == "done"
    facts = facts_of(killed)
    assert (facts["status"], facts["error"]["type"]) == ("failed", "KilledError")
    assert "trading run slow --as-of 2024-03-08" in facts["next_step"]
    assert "failed" in (killed / "report.html").read_text().lower()


def test_a_notebook_torn_by_a_kill_does_not_stop_the_next_run(book: Path):
    page(book, "quick", "1 + 1", parameters='as_of: str = ""\ndry_run: bool = True')
    killed = book / "outputs" / "20240309T001000Z-slow-0a0a"
    killed.mkdir(parents=True)
    facts = {"schema": 1, "run_id": killed.name, "job": "slow", "account": "simulated", "as_of": "2024-03-08"}
    facts |= {"status": "running", "pid": 2**22 + 1, "started": "2024-03-09T00:10:00Z", "parameters": {}, "counts": {}}
    facts |= {"pages": [{"name": "slow", "status": "running", "seconds": None}], "seconds": {}, "settings": {}}
    (killed / "run.json").write_text(json.dumps(facts))
    (killed / "slow.ipynb").write_text("")  # papermill had opened it for writing
    assert run_job("quick", config=load_config(), as_of="2024-03-08").status == "done"
    assert facts_of(killed)["status"] == "failed"
    assert "killed" in (killed / "report.html").read_text()


def test_a_polite_kill_ends_the_run_and_its_kernels(book: Path):
    page(book, "slow", *SLEEPS)
    process = start(book, "slow", "--as-of", "2024-03-08")
    wait_for(book / "begun")
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    facts = facts_of(only_run(book))
    assert (process.returncode, facts["status"], facts["error"]["type"]) == (1, "failed", "InterruptedRunError")
    assert "Stopped by hand" in said


def test_two_runs_at_once_the_second_gives_way(book: Path):
    with account_lock(load_config().ledger_url, "simulated"):
        result = run_job("daily", config=load_config(), as_of="2024-03-08")
    assert (result.status, result.exit_code) == ("refused", 3)
    assert str(os.getpid()) in result.error
    with books(book) as ledger:
        assert ledger.cycles().empty


def test_an_account_of_another_source_is_refused_with_the_way_out(book: Path):
    with Ledger.open(load_config().ledger_url, "simulated") as ledger:
        ledger.bind("csv", "paper", Decimal(100_000))
    result = run_job("daily", config=load_config(), as_of="2024-03-08")
    assert (result.status, result.exit_code) == ("refused", 2)
    assert "--set ledger.account=" in result.error


@pytest.mark.parametrize(
    ("changes", "options", "sentence"),
    [
        ({}, {"as_of": "2999-01-01"}, "is over in UTC"),
        ({}, {"as_of": "March"}, "written as 2019-06-28"),
        ({}, {"as_of": "2022-01-01"}, "2023-01-03"),
        ({}, {"params": {"fsat": "1"}}, "'fsat' is not known"),
        ({}, {"params": {"start": 5}}, "start needs text"),
        ({}, {"params": {"dry_run": "false"}}, "--dry-run"),
        ({"market.source": "yahooo"}, {}, "Did you mean 'yahoo'"),
        ({"market.source": "csv"}, {}, "market.path"),
        ({"market.symbols": "BTC/UDS"}, {}, "Did you mean 'BTC/USD'"),
        ({"market.benchmark": "SPYY"}, {}, "SPYY"),
        ({"strategies.equity.class": "EquityReversa"}, {}, "Did you mean 'EquityReversal'"),
        ({"strategies.equity.stop_los": "0.1"}, {}, "Did you mean 'stop_loss'"),
        ({"strategies.equity.share": "0", "strategies.crypto.share": "0"}, {}, "share above 0"),
        ({"execution.executor": "alpacca"}, {}, "Did you mean 'alpaca'"),
        ({"execution.executor": "alpaca"}, {}, "ALPACA_API_KEY and ALPACA_SECRET_KEY are not set"),
        ({"execution.mode": "live"}, {}, "executor = paper has none"),
    ],
)
def test_bad_input_is_refused_in_a_sentence_and_leaves_a_record(
    book: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], options: dict[str, Any], sentence: str
):
    for name in ("ALPACA_API_KEY", "ALPACA_SECRET_KEY", "ALPACA_API_SECRET"):
        monkeypatch.delenv(name, raising=False)
    options = {"as_of": "2024-03-08"} | options
    result = run_job("daily", config=load_config(**changes), **options)
    assert (result.status, result.exit_code) == ("refused", 2)
    assert sentence in result.error
    facts = facts_of(result.folder)
    assert (facts["status"], facts["error"]["message"]) == ("refused", result.error)
    assert (result.folder / "report.html").is_file()
    assert not list(result.folder.glob("*.ipynb"))


def test_a_source_that_ends_too_early_is_refused_with_its_last_day(book: Path):
    rows = "\n".join(f"{day:%Y-%m-%d},1,1,1,1,1" for day in pd.bdate_range("2024-01-02", "2024-01-12"))
    (book / "ABC.csv").write_text(f"date,open,high,low,close,volume\n{rows}\n")
    given = {"market.source": "csv", "market.path": "ABC.csv", "market.symbols": "ABC"}
    result = run_job("daily", config=load_config(**given, **{"market.start": "2024-01-02"}), as_of="2024-03-08")
    assert result.exit_code == 2
    assert "--as-of 2024-01-12" in result.error


def test_templates_of_the_project_come_before_those_of_the_package(book: Path):
    page(book, "backtest", "6 * 7")
    config = load_config(**{"jobs.own": "backtest"})
    result = run_job("own", config=config, as_of="2024-03-08")
    assert result.status == "done"
    assert "42" in (result.folder / "backtest.ipynb").read_text()


def test_secrets_reach_no_file_of_a_run(book: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALPACA_API_KEY", "key-one")
    monkeypatch.setenv("ALPACA_SECRET_KEY", "secret-two")
    page(book, "look", "from trading_core.run import open_run\nopen_run().config")
    result = run_job("look", config=load_config(), as_of="2024-03-08")
    assert result.status == "done"
    for path in result.folder.iterdir():
        text = path.read_text()
        assert "secret-two" not in text
        assert "key-one" not in text


class Unlisted:
    "A source that has bars and no list of them, as vendors on the internet are."

    name, simulated = "vendor", False

    def symbols(self) -> list[str]:
        return []

    def bars(self, symbol: str, start: Any = None, end: Any = None) -> pd.DataFrame:
        days = pd.DatetimeIndex(pd.bdate_range("2024-01-02", "2024-03-08", tz="UTC"))
        rising = [100.0 + place for place in range(len(days))]  # the same bar each day would not be trusted
        prices = {"open": rising, "high": [p + 1 for p in rising], "low": [p - 1 for p in rising], "close": rising}
        return pd.DataFrame({**prices, "volume": 1000.0}, days)


def test_a_source_without_a_list_starts_with_well_known_names(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(context, "source_of", lambda *_: as_source(Unlisted()))
    config = TradingConfig(market={"source": "yahoo", "universe": "equity"})
    market = context.load_market(config)
    assert {"AAPL", "MSFT"} < set(market.panel.symbols)
    assert not [symbol for symbol in market.panel.symbols if "/" in symbol]
    assert market.benchmark.name == "SPY"


def test_a_sweep_of_which_nothing_can_be_run_is_refused_with_the_first_reason_and_not_done(book: Path):
    wrong = {"strategy": "SmaCross", "grid": {"fast": [60, 70], "slow": [20, 50]}}
    result = run_job("sweep", config=load_config(), as_of="2024-03-08", params=wrong)
    assert (result.status, result.exit_code) == ("refused", 2)
    assert "None of the 4 combinations of SmaCross can be run. The first one says: SmaCross.fast needs" in result.error
    assert facts_of(result.folder)["status"] == "refused"
