"""What a page says about the prices it stands on."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pandas as pd

from trading_core.data.findings import Finding, quality_facts
from trading_core.report import quality_section, report_page
from trading_core.report.quality import quality_fact, quality_title

DAY = pd.Timestamp("2024-06-26", tz="UTC")
BAD = Finding("<MERL>", DAY, "hundredfold", 100.0, "fatal", "Mend <it>.", DAY)
GAP = Finding("NEXQ", DAY, "missing", 2.0, "warn", "Get the bars.")
NEWS = Finding("AMD", DAY, "jump", 0.52, "note", "Look for the news.")


class Words(HTMLParser):
    def __init__(self, markup: str):
        super().__init__()
        self.found: list[str] = []
        self.feed(markup)

    def handle_data(self, data: str) -> None:
        self.found.append(data)


def words(markup: str) -> str:
    return " ".join(" ".join(Words(markup).found).split())


def facts(*findings: Finding, refuse: str = "fatal") -> dict[str, object]:
    return json.loads(json.dumps(quality_facts(findings, 12, refuse)))


def test_it_names_symbol_day_fault_and_cure_and_escapes_them() -> None:
    shown = quality_section(facts(BAD, GAP, NEWS), held=[])
    assert "<MERL>" not in shown
    said = words(shown)
    for part in (
        "<MERL> is not traded",
        "2024-06-26",
        "100 times the one before",
        "Mend <it>.",
        "1 warning",
        "1 note",
        "+52.0%",
    ):
        assert part in said, part


def test_what_is_said_of_a_position_depends_on_whether_there_is_one() -> None:
    assert "stays untouched" in words(quality_section(facts(BAD), held=["<MERL>"]))
    assert "nothing of it is held" in words(quality_section(facts(BAD), held=["NEXQ"]))
    assert "Nothing on this page is about it" in words(quality_section(facts(BAD)))


def test_a_quiet_page_says_nothing_of_small_things() -> None:
    assert quality_section(facts(GAP, NEWS), quiet=True) == ""
    assert quality_section(facts(BAD, refuse="none"), quiet=True) == ""
    assert quality_section(None) == ""
    assert "1 fault, 1 warning" in quality_title(facts(BAD, GAP, refuse="none"))
    assert quality_title(facts()) == "12 symbols checked, nothing is wrong with the prices"


def test_many_symbols_are_counted() -> None:
    many = [Finding(f"S{n}", DAY, "split", 0.5, "fatal", "Mend it.") for n in range(30)]
    assert quality_title(facts(*many)) == "S0, S1, S10 and 27 more are not traded: their prices cannot be right"
    assert len(facts(*many * 10)["findings"]) == 200


def test_it_stands_on_the_front_page_of_a_run_and_at_the_foot() -> None:
    run = {"status": "done", "job": "daily", "account": "demo", "as_of": "2024-06-28", "quality": facts(BAD)}
    page = words(report_page(run, {}))
    assert "<MERL> is not traded" in page
    assert "12 symbols checked, 1 fault; not traded: <MERL>" in page
    assert "symbols checked" not in words(report_page({**run, "quality": None}, {}))
    assert quality_fact({}) == []
