import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from trading_core.report import DayReport, failed_page, index_page, live_lines, render_page, report_page, run_facts
from trading_core.report.day import NoOrder, OrderLine, Warned
from trading_core.report.pages import harmless
from trading_core.report.sections import headline_of, honest_section
from trading_core.run.context import EQUAL_PARTS

NASTY = '<script>alert(1)</script><img src="//evil.example/x" onerror=alert(1)>"&'


class Page(HTMLParser):
    "The elements of a page with their attributes, and its text outside style."

    def __init__(self, markup: str):
        super().__init__(convert_charrefs=True)
        self.elements, self.text, self.inside = [], "", ""
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside != "style":
            self.text += data


def notebook(*outputs: dict) -> dict:
    cells = [{"cell_type": "markdown", "source": "# Trade\n\n> promise", "metadata": {}}]
    cells += [{"cell_type": "code", "source": "x", "metadata": {}, "outputs": [output]} for output in outputs]
    return {"cells": cells}


def html(text: str) -> dict:
    return {"output_type": "execute_result", "data": {"text/html": text, "text/plain": "x"}, "metadata": {}}


@pytest.fixture
def every_page(run, remembered, first_day) -> dict[str, str]:
    failed = run | {
        "status": "failed",
        "error": {"type": "ValueError", "message": NASTY, "page": "backtest", "cell": 6},
    }
    course = pd.Series([100_000.0, 100_500.0], pd.date_range("2019-06-27", periods=2, tz="UTC"))
    return {
        "report": report_page(run, remembered),
        "report of a first day": report_page(run, {"trade": first_day.to_dict()}),
        "report without a trade page": report_page(run, {}),
        "failed": failed_page(failed),
        "refused": failed_page(failed | {"status": "refused", "as_of": None, "pages": []}),
        "killed": failed_page(run | {"status": "running"}, remembered),
        "page": render_page(notebook(html(NASTY + "<b>ok</b>")), page="trade", run=run, pages=["backtest", "trade"]),
        "index": index_page([run, failed | {"run_id": "x"}], {"simulated": course}, written="2019-06-29T00:10:28Z"),
        "empty index": index_page([]),
    }


def test_no_page_asks_anybody_for_anything(every_page):
    for name, text in every_page.items():
        read = Page(text)
        assert not {tag for tag, _ in read.elements} & {"script", "iframe", "object", "embed", "base"}, name
        for tag, attributes in read.elements:
            assert not [key for key in attributes if key.startswith("on")], (name, tag)
            for key in ("src", "href", "xlink:href", "srcset", "action", "poster"):
                target = attributes.get(key) or "#"
                assert re.match(r"data:|#|[\w./-]+$", target), (name, tag, target)
                assert "//" not in target, (name, tag, target)
        assert not re.search(r"@import|url\((?!#)", text), name
        assert "Content-Security-Policy" in text, name
        assert "default-src 'none'" in text, name


def test_every_page_of_a_simulated_market_says_so(every_page):
    for name, text in every_page.items():
        assert "SIMULATED" in text or name == "empty index", name


def test_a_page_of_real_data_does_not_say_simulated(run, remembered, day):
    real = run | {"account": "csv", "data": run["data"] | {"source": "csv"}}
    assert "SIMULATED" not in report_page(real, {"trade": replace(day, simulated=False).to_dict()})


def test_text_from_outside_is_shown_and_never_interpreted(run, day):
    order = OrderLine("2019-07-01T13:30:00Z", "equity", NASTY, "buy", NASTY, "1", 1.0, "signal", NASTY)
    dirty = replace(
        day, account=NASTY, benchmark=NASTY, orders=[order], silent=[NoOrder("refused", NASTY, NASTY, NASTY)],
        warnings=[Warned(NASTY, NASTY)], decisions=[NASTY], movers={NASTY: 1.0},
        positions=[replace(day.positions[0], symbol=NASTY)], fills=[replace(day.fills[0], symbol=NASTY, reason=NASTY)],
    )  # fmt: skip
    facts = run | {"account": NASTY, "job": NASTY, "commit": NASTY, "run_id": NASTY, "data": {"source": NASTY}}
    pages = [{"name": "trade", "status": "done", "seconds": 1}]
    for text in (
        report_page(facts, {"trade": dirty.to_dict(), "backtest": {"headline": NASTY, "trades": 0}}),
        failed_page(
            facts
            | {"status": "failed", "pages": pages, "error": {"type": NASTY, "message": NASTY, "page": NASTY, "cell": 1}}
        ),
        index_page([facts | {"status": "failed", "error": {"message": NASTY}}]),
    ):
        read = Page(text)
        assert not [tag for tag, _ in read.elements if tag in ("script", "img")]
        assert "alert(1)" in read.text


@pytest.mark.parametrize(
    "markup",
    [
        "<script>x()</script>",
        "<SCRIPT src=//e></SCRIPT>",
        '<iframe src="//e"></iframe>',
        '<link rel=stylesheet href="//e">',
        "<svg onload='x()'></svg>",
        '<img src="https://e/x.png">',
        "<img srcset='//e/x 2x'>",
        "<style data-notebook>p{}</style>",
        "<meta http-equiv=refresh content=0>",
    ],
)
def test_outputs_lose_whatever_could_run_or_fetch(markup):
    cleaned = harmless(f"<p>a</p>{markup}<p>b</p>")
    assert cleaned.startswith("<p>a</p>")
    assert cleaned.endswith("<p>b</p>")
    assert not re.search(r"script|iframe|link|onload|//e|srcset|data-notebook|meta", cleaned, re.I)


def test_a_failed_run_shows_the_red_band_first_and_what_to_do_next(run):
    error = {"type": "CellTimeoutError", "message": "no answer within 600 s\nlong story", "page": "backtest", "cell": 6}
    pages = [
        {"name": "backtest", "status": "failed", "seconds": 600.0},
        {"name": "trade", "status": "waiting", "seconds": None},
    ]
    text = failed_page(run | {"status": "failed", "error": error, "pages": pages})
    body = text[text.index("<main>") :]
    assert body.index("note bad") < body.index("What is certain") < body.index("long story")
    assert "backtest, cell [6]: no answer within 600 s" in body
    assert "No order was sent" in body
    assert "trading run daily --as-of 2019-06-28" in body
    assert 'href="trade.html"' not in body


def test_a_failed_run_is_repeated_with_its_own_account_and_parameters(run):
    asked = {"as_of": None, "dry_run": False, "since": "90d", "fast": "5"}
    given = {"settings": {"given": ["--settings", "my own.ini", "--set", "ledger.account=int1"]}, "parameters": asked}
    failed = (
        run | given | {"status": "failed", "next_step": "", "error": {"type": "InterruptedRunError", "message": "x"}}
    )
    command = (
        "trading run daily --as-of 2019-06-28 --since 90d -p fast=5 --settings 'my own.ini' --set ledger.account=int1"
    )
    for text in (failed_page(failed), index_page([failed])):
        assert command in Page(text).text


def test_only_a_job_that_trades_is_told_that_it_cannot_trade_twice(run):
    failed = run | {
        "status": "failed",
        "next_step": "run it again: no order goes out twice.",
        "error": {"message": "x"},
    }
    swept = failed | {"job": "sweep", "pages": [{"name": "sweep", "status": "failed", "seconds": 1.0}]}
    assert "cannot trade twice" in failed_page(failed)
    for text in (failed_page(swept), index_page([swept]), failed_page(failed | {"dry_run": True})):
        assert "twice" not in text


def test_a_refused_run_says_that_nothing_was_done(run):
    text = failed_page(
        run | {"status": "refused", "pages": [], "data": None, "error": {"type": "DataError", "message": "too short"}}
    )
    assert "Nothing was done" in text
    assert "REFUSED" in text


@pytest.mark.parametrize("changes", [{"status": "refused"}, {"status": "failed", "parameters": {"since": "90d"}}])
def test_a_run_that_stopped_in_a_page_does_not_say_that_the_books_are_as_they_were(run, changes):
    pages = [{"name": "backtest", "status": "failed", "seconds": 1.0}, {"name": "trade", "status": "waiting"}]
    error = {"type": "ConfigError", "message": "x", "page": "backtest", "cell": 1}
    text = failed_page(run | {"pages": pages, "error": error} | changes)
    assert "No order was sent" in text
    assert "in the ledger" in text
    for untrue in ("Nothing was done", "nothing was done", "nothing was written", "The account is as it was"):
        assert untrue not in text


def test_a_run_that_stopped_after_its_trade_page_lists_the_orders_that_are_known(run, remembered):
    pages = [{"name": "trade", "status": "done", "seconds": 3.0}, {"name": "extra", "status": "failed", "seconds": 1.0}]
    text = failed_page(
        run | {"status": "failed", "pages": pages, "error": {"message": "x", "page": "extra", "cell": 1}}, remembered
    )
    assert "2 orders wait in the ledger" in text
    assert "YARW" in text


def test_a_run_that_stopped_while_trading_does_not_claim_to_know_what_was_sent(run):
    pages = [{"name": "trade", "status": "failed", "seconds": 3.0}]
    text = failed_page(
        run | {"status": "failed", "pages": pages, "error": {"message": "x", "page": "trade", "cell": 3}}
    )
    assert "No order was sent" not in text
    assert "the next run looks it up first" in text


def test_the_front_page_has_its_parts_in_the_order_in_which_they_are_wanted(run, remembered):
    text = report_page(run, remembered)
    body = text[text.index("<main>") :]
    parts = [
        "PAPER", "<h1>", "<dt>Equity", 'class="note"', "What changed since", "wait for the next open: ", "points", "invested", "2 positions",
        "Next decision", "Could this be luck", "Backtest →", "sha256",
    ]  # fmt: skip
    places = [body.index(part) for part in parts]
    assert places == sorted(places)
    for said in (
        "time-stop after 5 bars",
        "cut to what cash could pay",
        "Sat 29 Jun, 00:00 UTC",
        "Mon 1 Jul, 13:30 UTC",
        "8,095.80478",
    ):
        assert said in body


def test_a_first_day_has_sentences_instead_of_lines(run, first_day):
    text = report_page(run, {"trade": first_day.to_dict()})
    for said in (
        "First day of the account; no order today",
        "The account begins today",
        "No open position",
        "Nobody can know yet",
    ):
        assert said in text
    assert "nan" not in Page(text).text.lower().replace("finance", "")


def test_a_first_hour_is_called_a_bar_and_not_a_day(run, first_day):
    hour = "2019-06-28T15:00"
    history = first_day.history | {"days": [hour]}
    begun = replace(first_day, as_of=hour, started=hour, history=history, benchmark="MKT")
    facts = run | {"as_of": hour, "data": run["data"] | {"last": hour}}
    text = Page(report_page(facts, {"trade": begun.to_dict()})).text
    for said in ("First bar of the account; no order", "its first bar", "from the second bar on", "2019-06-28 15:00"):
        assert said in text
    assert "first day" not in text.lower()


@pytest.mark.parametrize(("hours", "days"), [(59 * 24, 60), (1200, 51)])
def test_an_account_in_hours_is_as_old_as_its_days(day, hours, days):
    index = pd.date_range("2019-01-01", periods=hours, freq="h", tz="UTC")
    worth = (100_000 + 100 * np.random.default_rng(1).standard_normal(hours).cumsum()).tolist()
    history = {"days": index.strftime("%Y-%m-%dT%H:%M").tolist(), "account": worth, "benchmark": None}
    text = str(honest_section(replace(day, history=history), {}))
    assert (f"The account is {days} days old" in text) is (days < 60)
    assert ("over 0.2 years" in text) is (days == 60)


def test_an_account_without_a_benchmark_has_no_points_to_compare(run, day):
    history = day.history | {"benchmark": []}
    text = report_page(run, {"trade": replace(day, benchmark=None, history=history).to_dict()})
    assert "none is set" in text
    assert "\u202fpts" not in text


@pytest.mark.parametrize(("name", "held"), [("SPY", "bought and held"), (EQUAL_PARTS, "rebalanced daily")])
def test_a_benchmark_is_told_as_what_it_is(run, day, name, held):
    text = report_page(run, {"trade": replace(day, benchmark=name).to_dict()})
    assert [words for words in ("bought and held", "rebalanced daily") if words in text] == [held]


def test_a_day_goes_through_json_unchanged(day):
    assert DayReport.from_dict(json.loads(json.dumps(day.to_dict()))) == day


def test_a_day_stored_by_a_later_version_is_still_read(day):
    assert DayReport.from_dict(day.to_dict() | {"something_new": 1}) == day


def test_the_terminal_gets_the_same_head_as_the_page(run, remembered, day):
    lines = live_lines(run, remembered)
    assert headline_of(day) in lines
    assert "SIMULATED MARKET" in lines[0]
    assert any("YARW" in line for line in lines)
    assert run_facts(remembered)["counts"] == {"signals": 7, "orders": 2, "refused": 1, "fills": 2}


def test_the_terminal_says_how_many_warnings_it_leaves_out(run, day):
    warned = [Warned(f"{symbol} is odd", "") for symbol in ("AAA", "BBB", "CCC", "DDD", "EEE")]
    for number, told in ((3, []), (4, ["! and 1 more warning"]), (5, ["! and 2 more warnings"])):
        lines = live_lines(run, {"trade": replace(day, warnings=warned[:number]).to_dict()})
        assert [line for line in lines if line.startswith("! and")] == told


def test_an_interrupted_notebook_still_makes_a_page(run):
    broken = {
        "output_type": "error",
        "ename": "KeyError",
        "evalue": "'X'",
        "traceback": ["\x1b[31mTrace\x1b[0m <cell>"],
    }
    failed = run | {"status": "failed", "error": {"type": "KeyError", "message": "'X'", "page": "trade", "cell": 2}}
    text = render_page(notebook(html("<b>before</b>"), broken), page="trade", run=failed, pages=["trade"])
    assert text.index("note bad") < text.index("<b>before</b>") < text.index("KeyError: &#x27;X&#x27;")
    assert "\x1b" not in text


def test_a_notebook_is_read_from_its_file(run, tmp_path):
    path = tmp_path / "trade.ipynb"
    path.write_text(json.dumps(notebook(html("<b>hello</b>"))), encoding="utf-8")
    assert "<b>hello</b>" in render_page(path, page="trade", run=run, pages=["trade"])


def many_runs(run: dict, number: int) -> list[dict]:
    moments = pd.date_range("2019-01-01 00:10", periods=number, tz="UTC")
    return [
        run | {"run_id": f"{m:%Y%m%dT%H%M%SZ}-daily-{i:04x}", "started": f"{m:%Y-%m-%dT%H:%M:%SZ}"}
        for i, m in enumerate(moments)
    ]


def test_the_overview_of_120_runs_shows_fifty_and_folds_the_rest_by_month(run):
    runs = many_runs(run, 120)
    runs[-2] |= {"status": "failed", "error": {"message": "boom", "page": "signals", "cell": 3}}
    np.random.default_rng(0).shuffle(runs)
    text = index_page(runs)
    shown, folded = text[: text.index("Older runs (70)")], text[text.index("Older runs (70)") :]
    assert shown.count('class="c-st"') == 50
    assert folded.count('class="c-st"') == 70
    assert "50 of 120 shown; 1 failed" in text
    assert re.findall(r"<summary>(2019-\d\d: \d+ runs)", folded) == [
        "2019-03: 11 runs",
        "2019-02: 28 runs",
        "2019-01: 31 runs",
    ]
    stamps = re.findall(r'href="(2019[^/"]+)/report.html', shown[shown.index("Runs, newest first") :])
    assert stamps == sorted(stamps, reverse=True)
    assert "signals, cell [3]: boom" in shown


def test_the_overview_puts_the_latest_run_of_each_account_on_top_and_says_who_needs_you(run):
    runs = many_runs(run, 3)
    runs += [
        runs[0]
        | {
            "account": "csv",
            "run_id": "z",
            "status": "refused",
            "error": {"message": "ends early"},
            "data": None,
            "pages": [],
        }
    ]
    text = index_page(runs)
    assert "csv needs you" in text
    top = text[: text.index("Runs, newest first")]
    assert top.count('<section class="sta') == 2
    assert "ends early" in top


def slip(run: dict, kind: str, message: str, **changes: object) -> dict:
    refused = {
        "status": "refused",
        "pages": [],
        "data": None,
        "equity": None,
        "error": {"type": kind, "message": message},
    }
    return run | refused | {"started": "2030-01-01T09:00:00Z", "run_id": f"slip-{kind}"} | changes


def test_a_slip_in_a_command_takes_no_account_its_card(run):
    runs = many_runs(run, 3)
    mistyped = slip(run, "SinceError", "--since needs a day, but '90' arrived.")
    text = index_page([*runs, mistyped, slip(run, "UnknownNameError", "yaho is not known", account="yaho")])
    top, rows = text[: text.index("Runs, newest first")], text[text.index("Runs, newest first") :]
    assert top.count('<section class="sta') == 1
    assert f"${run['equity']:,.2f}" in top
    assert "needs you" not in top
    assert "yaho" not in top
    assert "the latest command for simulated was refused" in top
    assert "A later command was" in top
    assert "&#x27;90&#x27; arrived" in top
    assert "yaho is not known" in rows
    mended = index_page([mistyped, *(early | {"started": "2031-01-01T00:10:00Z"} for early in runs[:1])])
    assert "command" not in Page(mended[: mended.index("Runs, newest first")]).text


def test_what_is_wrong_with_a_market_or_amid_a_rehearsal_is_no_slip(run):
    runs = many_runs(run, 3)
    for refused in (slip(run, "DataEndsError", "ends early"), slip(run, "RehearsalError", "wanted by both")):
        assert "simulated needs you" in index_page([*runs, refused])
    begun = [{"name": "trade", "status": "failed", "seconds": 1.0}]
    assert "simulated needs you" in index_page([*runs, slip(run, "ConfigError", "no key", pages=begun)])


def test_an_overview_of_slips_alone_has_no_card(run):
    text = index_page([slip(run, "UnknownNameError", "yaho is not known", account="yaho")])
    assert '<section class="sta' not in text
    assert "Nothing has run yet; the latest command for yaho was refused" in text


def test_an_empty_overview_says_how_to_begin():
    assert "trading run daily" in index_page([])


def test_tables_on_a_phone_are_cards_or_scroll_in_their_own_frame(every_page):
    for name, text in every_page.items():
        for table in re.finditer(r"<table[^>]*>", text):
            cards = "stack" in table[0]
            before = text[: table.start()]
            assert cards or before.endswith('<div class="scroll">'), (name, table[0], before[-60:])
        for width in re.findall(r"style=\"[^\"]*(?:min-)?width:\s*(\d+)px", text):
            assert int(width) <= 330, name


@pytest.mark.skipif(
    shutil.which("chromium") is None, reason="needs chromium to measure a page; the static check above always runs"
)
def test_no_page_scrolls_sideways_on_a_phone(every_page, tmp_path):
    script = "<script>document.title='W'+document.documentElement.scrollWidth+'of'+innerWidth+'W'</script>"
    for name, text in every_page.items():
        path = tmp_path / "page.html"
        measured = re.sub(r"<meta http-equiv[^>]*>", "", text).replace("</body>", f"{script}</body>")
        framed = measured.replace("<details>", "<details open>")
        path.write_text(framed, encoding="utf-8")
        command = [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--window-size=390,900",
        ]
        command += [
            f"--user-data-dir={tmp_path / 'profile'}",
            "--disable-background-networking",
            "--dump-dom",
            path.as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        width = re.search(r"<title>W(\d+)of(\d+)W", done.stdout)
        assert width is not None, name
        assert int(width[1]) <= int(width[2]) <= 500, name
