"""A halted account is red on every page, with what to do about it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from trading_core.report import DayReport, index_page, report_page
from trading_core.report.today import live_lines, run_facts

SENTENCE = "Halted since 2019-06-27 by max_drawdown: 80.00 is 20 % below the highest evening. trading resume"


def test_the_days_report_says_so_in_red_before_everything_else(day: DayReport, run: dict[str, Any]) -> None:
    halted = json.loads(json.dumps(replace(day, halted=SENTENCE).to_dict()))
    page = report_page(run, {"trade": halted})
    assert page.count(SENTENCE) == 1
    assert "■ HALTED" in page
    assert "ALL WELL" not in page
    assert page.index("Trading is halted") < page.index("What changed")
    assert f"■ {SENTENCE}" in live_lines(run, {"trade": halted})
    assert run_facts({"trade": halted})["halted"] == SENTENCE


def test_the_overview_marks_the_account_and_its_run(day: DayReport, run: dict[str, Any]) -> None:
    facts = run_facts({"trade": replace(day, halted=SENTENCE).to_dict()})
    page = index_page([run | facts])
    assert "Trading is halted: simulated needs you" in page
    assert page.count("■ HALTED") == 2
    assert SENTENCE in page


def test_a_report_of_an_earlier_version_and_a_free_account_show_nothing(day: DayReport, run: dict[str, Any]) -> None:
    stored = day.to_dict()
    del stored["halted"]
    assert DayReport.from_dict(stored).halted == ""
    for page in (report_page(run, {"trade": stored}), index_page([run | run_facts({"trade": stored})])):
        assert "alted" not in page
