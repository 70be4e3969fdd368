"""The tear sheet: self-contained, the same on every run, for every account, and a sentence without quantstats."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

from trading_core.backtest import tearsheet as sheet
from trading_core.backtest.more_metrics import QuantstatsMissingError, compared
from trading_core.backtest.tearsheet import tearsheet

DAYS = pd.date_range("2019-01-01", periods=400, tz="UTC")
MOVES = np.random.default_rng(6).normal(0.0005, 0.01, 400)
ACCOUNT = pd.Series(100_000 * np.cumprod(1 + MOVES), DAYS)
FUND = pd.Series(100 * np.cumprod(1 + np.random.default_rng(7).normal(0.0003, 0.01, 400)), DAYS)
LEAVES = r"https?:|//\w|@import|<script|<link|<img|<iframe|url\((?!#)|\bon[a-z]+=|/tmp"


def test_the_page_needs_nothing_from_outside_and_prints_nothing(capsys: pytest.CaptureFixture[str]):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = tearsheet(ACCOUNT, 365, FUND, title="<b>Mine</b>")
    assert re.findall(LEAVES, page) == []
    assert "<b>Mine" not in page
    assert "&lt;b&gt;Mine" in page
    assert page.count("<svg") == page.count("</svg>") >= 13
    assert "Periods/Year: 365" in page
    out = capsys.readouterr()
    assert (out.out, out.err) == ("", "")


def test_hours_are_told_as_their_days():
    hours = pd.date_range("2024-01-01 01:00", periods=24 * 60, freq="h", tz="UTC")
    account = pd.Series(100 * np.cumprod(1 + np.random.default_rng(3).normal(0, 0.002, len(hours))), hours)
    page = tearsheet(account, 8760, account.rolling(5, min_periods=1).mean())
    of_days = account.groupby((hours - pd.Timedelta(1, "ns")).normalize()).last()
    told = sheet._plain(account)
    assert len(told) == 60
    assert told.iloc[1:].tolist() == pytest.approx(of_days.pct_change().iloc[1:].tolist())
    assert "Periods/Year: 365" in page


def test_two_processes_write_the_same_bytes():
    program = (
        "import hashlib, numpy as np, pandas as pd; from trading_core.backtest.tearsheet import tearsheet;"
        "e = pd.Series(100 * np.cumprod(1 + np.random.default_rng(1).normal(0, .01, 90)), pd.date_range('2024-01-01', periods=90, tz='UTC'));"
        "print(hashlib.sha256(tearsheet(e, 365).encode()).hexdigest())"
    )
    other = os.environ | {"PYTHONHASHSEED": "2"}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=other)
    assert run.returncode == 0, run.stderr
    moves = np.random.default_rng(1).normal(0, 0.01, 90)
    here = tearsheet(pd.Series(100 * np.cumprod(1 + moves), pd.date_range("2024-01-01", periods=90, tz="UTC")), 365)
    assert run.stdout.strip() == hashlib.sha256(here.encode()).hexdigest()


@pytest.mark.parametrize(
    ("account", "against"),
    [
        (ACCOUNT[:12], None), (ACCOUNT[:40], FUND[:40]), (ACCOUNT * 0 + 1, FUND), (ACCOUNT, FUND * 0 + 1),
        (pd.Series(100 * np.cumprod(1 - np.abs(MOVES)), DAYS), None), (ACCOUNT.tz_localize(None), FUND.tz_localize(None)),
        (ACCOUNT, FUND[200:]), (ACCOUNT.where(ACCOUNT.index != DAYS[50]), None),
    ],
    ids=["twelve days", "forty days", "never moved", "benchmark never moved", "all losses", "no zone", "half a benchmark", "a hole"],
)  # fmt: skip
def test_any_account_has_a_page(account: pd.Series, against: pd.Series | None):
    page = tearsheet(account, 365, against)
    assert "<svg" in page
    assert re.findall(LEAVES, page) == []


@pytest.mark.parametrize(
    "account", [ACCOUNT[:0], ACCOUNT[:1], ACCOUNT[:10], ACCOUNT * np.nan], ids=["none", "one", "ten", "nan"]
)
def test_too_few_days_make_a_page_that_says_so(account: pd.Series):
    page = tearsheet(account, 252)
    assert re.search(r"needs 10 days with a return, and there are \d\.", page)


def test_without_the_extra_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "quantstats", None)
    with pytest.raises(QuantstatsMissingError, match=r"Install it: pip install 'trading-core\[tearsheet\]'"):
        tearsheet(ACCOUNT, 365)
    table = compared(ACCOUNT, 365)
    assert table["quantstats"].isna().all()
    assert table.loc["sharpe", "ours"] == pytest.approx(table.loc["sharpe", "empyrical"])


def test_settings_of_other_figures_are_as_before_and_no_figure_stays_open():
    import matplotlib.pyplot as plt
    from matplotlib import rcParams

    before = dict(rcParams)
    tearsheet(ACCOUNT[:60], 365)
    assert {name: value for name, value in rcParams.items() if before[name] != value} == {}
    assert plt.get_fignums() == []


def test_numbers_between_tags_keep_their_digits():
    assert (
        sheet._shorter('<svg><path d="1.23456 7"/><text>0.0025</text></svg>')
        == '<svg><path d="1.23 7"/><text>0.0025</text></svg>'
    )
