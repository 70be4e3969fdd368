"""The schedule: times, missed runs, overlaps and a clean end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_core.config import SettingError, TradingConfig
from trading_core.errors import ConfigError
from trading_core.run.scheduler import GRACE, Runner, cron_time, job_times, make_scheduler, next_runs, overdue

MIDNIGHT = datetime(2024, 3, 5, tzinfo=UTC)


def at(hours: float) -> datetime:
    return MIDNIGHT + timedelta(hours=hours)


def run(job: str, moment: datetime) -> dict[str, Any]:
    return {"job": job, "started": moment.isoformat().replace("+00:00", "Z")}


@pytest.mark.parametrize("line", ["0 0 * * 1", "0 0 * * 1-5", "0 0 * * mon,3"])
def test_days_of_the_week_by_number_are_refused(line: str):
    with pytest.raises(SettingError, match="by name"):
        cron_time("daily", line)


@pytest.mark.parametrize("line", ["", "0 0", "61 0 * * *", "0 0 * * moon", "0 0 31 feb", "a b c d e"])
def test_a_line_that_is_no_time_is_refused_with_an_example(line: str):
    with pytest.raises(SettingError, match=r"such as 10 0 \* \* \*"):
        cron_time("daily", line)


def test_times_are_in_utc():
    times = next_runs(TradingConfig(schedule={"daily": "10 0 * * *"}), at(3))
    assert times == {"daily": at(24 + 1 / 6)}


def test_a_job_that_does_not_exist_cannot_be_scheduled():
    with pytest.raises(ConfigError, match="'weekly' is not known"):
        job_times(TradingConfig(schedule={"weekly": "0 0 * * sat"}))


def test_an_empty_schedule_is_refused():
    with pytest.raises(ConfigError, match="no job to wait for"):
        job_times(TradingConfig(schedule={}))


@given(st.floats(0.2, 30))
def test_a_missed_run_is_made_up_for_within_six_hours_only(hours: float):
    trigger = cron_time("daily", "10 0 * * *")
    since = (hours - 1 / 6) % 24
    expected = timedelta(hours=since) <= GRACE
    assert overdue("daily", trigger, [run("daily", at(-23.8))], at(hours)) is (expected if hours > 1 / 6 else False)


def test_a_run_of_another_job_does_not_count():
    trigger = cron_time("daily", "10 0 * * *")
    assert overdue("daily", trigger, [run("weekly", at(0.2))], at(1))
    assert not overdue("daily", trigger, [run("daily", at(0.2))], at(1))


def test_overlaps_and_crowds_of_missed_runs_are_handled(tmp_path: Path):
    config = TradingConfig(schedule={"daily": "* * * * *"}, paths={"outputs": str(tmp_path)})
    (job,) = make_scheduler(config, Runner()).get_jobs()
    assert (job.coalesce, job.max_instances, job.misfire_grace_time) == (True, 1, 6 * 3600)


def test_a_run_that_was_refused_because_the_account_was_in_use_is_still_due():
    trigger, inside = cron_time("daily", "10 0 * * *"), run("daily", at(0.2))
    locked = inside | {"status": "refused", "error": {"type": "AccountLockedError", "message": "in use"}}
    assert overdue("daily", trigger, [locked], at(1))
    assert not overdue("daily", trigger, [inside, locked], at(1))
    assert not overdue("daily", trigger, [locked | {"error": {"type": "ConfigError"}}], at(1))


def shell(program: str, tmp_path: Path) -> tuple[Runner, list[str]]:
    "A runner whose program is a line of a shell; its job is $1."
    said: list[str] = []
    runner = Runner(program=["/bin/sh", "-c", f"cd '{tmp_path}'; {program}"], say=lambda text: said.append(text[25:]))
    runner.pause = 0.05
    return runner, said


def test_jobs_of_one_account_that_are_due_at_once_run_one_after_the_other_and_none_is_lost(tmp_path: Path):
    runner, said = shell("mkdir held || exit 3; sleep 0.2; echo $1 >> done; rmdir held", tmp_path)
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda job=job: codes.append(runner(job, True)))  # type: ignore[misc]
        for job in ("daily", "scan", "more")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert codes == [0, 0, 0]
    assert sorted((tmp_path / "done").read_text().split()) == ["daily", "more", "scan"]
    assert sum("starts" in line for line in said) == 3
    assert sum("waits, as another job trades the account" in line for line in said) == 2


def test_a_job_that_does_not_trade_waits_for_nobody(tmp_path: Path):
    runner, _ = shell("case $1 in look) touch seen;; *) until test -e seen; do sleep 0.02; done;; esac", tmp_path)
    trading = threading.Thread(target=runner, args=("daily", True))
    trading.start()
    assert runner("look") == 0
    trading.join(10)
    assert not trading.is_alive()


def test_a_run_that_finds_the_account_in_use_is_tried_again_until_it_is_free(tmp_path: Path):
    runner, said = shell("echo x >> tries; test $(wc -l < tries) -ge 3 || exit 3", tmp_path)
    assert runner("daily", True) == 0
    assert [line.split()[-1] for line in said if "exit code" in line] == ["3)", "3)", "0)"]


def test_a_run_that_waits_for_the_account_ends_with_the_schedule(tmp_path: Path):
    runner, said = shell("exit 3", tmp_path)
    runner.pause = 60.0
    threads = [threading.Thread(target=runner, args=(job, True)) for job in ("daily", "scan")]
    for thread in threads:
        thread.start()
    while not any("tried again" in line for line in said):
        time.sleep(0.01)
    runner.stop()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_only_jobs_that_look_at_the_account_wait_for_it(tmp_path: Path):
    jobs = {"daily": ("backtest", "signals", "trade"), "look": ("backtest",)}
    config = TradingConfig(schedule=dict.fromkeys(jobs, "* * * * *"), jobs=jobs, paths={"outputs": str(tmp_path)})
    scheduled = {job.id: job.args for job in make_scheduler(config, Runner()).get_jobs()}
    assert scheduled == {"daily": ("daily", True), "look": ("look", False)}


@pytest.fixture
def book(tmp_path: Path) -> Path:
    "A folder whose daily job is overdue and waits for a file called go."
    waits = (
        "import time, pathlib\npathlib.Path('begun').touch()\nwhile not pathlib.Path('go').exists(): time.sleep(0.05)"
    )
    (tmp_path / "runs").mkdir()
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "python3"}}
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(waits, id="a")], metadata=kernel),
        tmp_path / "runs" / "wait.ipynb",
    )
    due = datetime.now(UTC) - timedelta(minutes=5)
    (tmp_path / "settings.ini").write_text(
        "[market]\nsymbols = BTC/USD\nstart = 2024-01-02\n[jobs]\ndaily = wait\n"
        f"[schedule]\ndaily = {due.minute} {due.hour} * * *\n"
    )
    return tmp_path


def start(book: Path) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TRADING_")}
    program = [sys.executable, "-u", "-c", "from trading_core.cli import main; main()", "schedule"]
    return subprocess.Popen(
        program,
        cwd=book,
        env=clean,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < until
        time.sleep(0.05)


def status(book: Path) -> str:
    (record,) = (book / "outputs").glob("*/run.json")
    return str(json.loads(record.read_text())["status"])


def test_an_overdue_job_is_run_by_the_program_itself(book: Path):
    process = start(book)
    wait_for(book / "begun", process)
    (book / "go").touch()
    lines = []
    assert process.stdout is not None
    watchdog = threading.Timer(90, process.kill)
    watchdog.start()
    for line in process.stdout:
        lines.append(line)
        if "exit code" in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    watchdog.cancel()
    assert (process.returncode, status(book)) == (0, "done"), lines
    assert lines[0].startswith("daily: next at ")


def test_ctrl_c_ends_the_running_job_cleanly(book: Path):
    process = start(book)
    wait_for(book / "begun", process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, status(book)) == (0, "failed")
    assert "Stopping." in said
    assert "Traceback" not in said
