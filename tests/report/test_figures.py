import re
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_core import figures

days = pd.date_range("2020-01-01", periods=300, tz="UTC")
walk = pd.Series(100_000 * np.cumprod(1 + np.random.default_rng(1).normal(0.0004, 0.01, 300)), days)


@given(st.lists(st.floats(0, 300), max_size=8), st.floats(1, 30))
def test_labels_end_up_apart_and_in_their_order(wanted, gap):
    placed = figures.spread(wanted, gap)
    ordered = [placed[i] for i in np.argsort(wanted, kind="stable")]
    assert all(b - a >= gap * (1 - 1e-9) - 1e-9 for a, b in pairwise(ordered))
    assert np.isclose(sum(placed), sum(wanted), atol=1e-6)


def test_importing_figures_does_not_import_matplotlib():
    code = "import sys, trading_core.figures; print('matplotlib' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )


def test_an_svg_has_every_palette_colour_as_a_variable_and_keeps_its_texts():
    fig = figures.line_chart(
        pd.DataFrame({"ours": walk, "MKT": walk[::-1].to_numpy()}), "Sharpe 1.2345 <b>", unit="$", last=True
    )
    text = figures.svg(fig, 'a "quoted" alt')
    assert not re.findall(r"#[0-9a-fA-F]{6}(?!\))", text)
    assert "Sharpe 1.2345 &lt;b&gt;" in text
    assert 'aria-label="a &quot;quoted&quot; alt"' in text
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "<style" not in text


def test_a_figure_is_the_same_on_every_drawing():
    first, second = (figures.equity_figure(walk, walk * 0.9) for _ in range(2))
    assert figures.svg(first) == figures.svg(second)
    assert figures.png(first) == figures.png(second)


def test_ids_of_two_figures_on_a_page_do_not_meet():
    one, two = figures.svg(figures.sparkline(walk)), figures.svg(figures.sparkline(walk.iloc[:50]))
    ids = [set(re.findall(r'id="([^"]+)"', text)) for text in (one, two)]
    assert ids[0]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize(
    "make",
    [
        lambda: figures.equity_figure(walk.iloc[:1]),
        lambda: figures.change_figure(walk.iloc[:1]),
        lambda: figures.change_figure(walk, walk.iloc[150:]),
        lambda: figures.sparkline(walk.iloc[:2]),
        lambda: figures.exposure_figure(pd.DataFrame({"equity": 0.0, "crypto": 0.0, "cash": 1.0}, days[:3])),
        lambda: figures.exposure_figure(pd.DataFrame({"equity": 1.2, "crypto": 0.0, "cash": -0.2}, days)),
        lambda: figures.bar_chart(pd.Series({"A": np.nan, "B": 0.0})),
        lambda: figures.bar_chart(pd.Series({"A": -1.0}), unit="%", signed=True),
        lambda: figures.line_chart(pd.Series([1.0, np.nan, 3.0]), "gaps"),
        lambda: figures.line_chart(pd.DataFrame({"a": walk, "b": np.nan})),
        lambda: figures.heat_figure(pd.DataFrame({"a": [0.0]})),
    ],
)
def test_a_figure_of_almost_nothing_is_drawn(make):
    assert figures.svg(make()).startswith("<svg")


def test_an_account_that_more_than_doubles_gets_a_log_axis_with_round_numbers():
    doubled = pd.Series(np.geomspace(100_000, 250_000, 300), days)
    assert figures.equity_figure(doubled).axes[0].get_yscale() == "log"
    assert figures.equity_figure(walk.clip(90_000, 150_000)).axes[0].get_yscale() == "linear"
    assert figures.round_numbers(100_000, 250_000) == [100_000, 125_000, 150_000, 200_000, 250_000]


def test_the_drawdown_title_says_depth_month_and_recovery():
    fall = pd.Series([100.0, 90, 95, 100, 101], pd.date_range("2020-03-02", periods=5, tz="UTC"))
    assert figures.drawdown_title(fall) == "Worst drawdown −10.0\u202f%, Mar 2020, recovered in 2 days"
    assert figures.drawdown_title(fall.iloc[:3]).endswith("not recovered yet")
    assert figures.drawdown_title(fall.iloc[:1]) == "Never below its last high"


def test_colours_keep_their_meaning_whatever_the_order():
    assert figures.colours_of(["Cash", "Crypto", "mine"])["Crypto"] == figures.PALETTE["crypto"]
    assert figures.colours_of(["mine", "other"])["mine"] == figures.PALETTE["ours"]


@pytest.mark.parametrize("hours", [30, 60, 100, 130, 400, 4000])
@pytest.mark.parametrize("width", [300, 358, 760])
def test_dates_under_an_axis_stand_apart_on_a_phone_and_on_a_desk(width, hours):
    index = pd.date_range("2026-11-15 01:00", periods=hours, freq="h", tz="UTC")
    fig = figures.line_chart(pd.DataFrame({"Account": np.linspace(1, 2, hours)}, index), "", size=(width, 230))
    fig.draw_without_rendering()
    [axis] = fig.axes
    boxes = [label.get_window_extent() for label in axis.get_xticklabels() if label.get_text()]
    assert len(boxes) >= 2
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


@pytest.mark.parametrize("rows", [2901, 122_000])
def test_a_figure_of_many_bars_keeps_every_extreme_and_few_bytes(rows):
    index = pd.date_range("2015-01-01", periods=rows, freq="h", tz="UTC")
    walk = np.random.default_rng(3).normal(size=(rows, 2)).cumsum(axis=0)
    table = pd.DataFrame(1000 + walk, index, ["a", "b"])
    table.iloc[rows // 2 : rows // 2 + 50, 1] = np.nan
    few = figures.thinned(table, 600)
    assert len(few) <= 4 * 600 + 6
    assert few.min().equals(table.min())
    assert few.max().equals(table.max())
    assert few.index[[0, -1]].equals(table.index[[0, -1]])
    assert few["b"].isna().any()
    cuts = np.arange(rows) * 600 // rows
    for name in table:
        whole, seen = (part[name].groupby(pd.Series(cuts, index)[part.index]) for part in (table, few))
        pd.testing.assert_frame_equal(seen.agg(["min", "max"]), whole.agg(["min", "max"]))
    assert len(figures.svg(figures.equity_figure(table["a"], table["b"], size=(1120, 440)))) < 300_000


def test_a_figure_of_eleven_years_of_days_shows_each_of_them():
    table = pd.DataFrame({"a": np.arange(2900.0)}, pd.date_range("2015-01-01", periods=2900))
    assert figures.thinned(table, 1000) is table
    flat = pd.DataFrame({"a": np.ones(50_000)})
    assert len(figures.thinned(flat, 500)) <= 502


def test_a_benchmark_that_rests_at_weekends_is_a_line_without_gaps_and_ends_where_it_ended():
    days = pd.date_range("2024-01-01", "2024-03-31", tz="UTC")
    equity = pd.Series(np.linspace(100, 120, len(days)), days)
    fund = pd.Series(np.linspace(100, 90, len(days)), days)[days.day_of_week < 5]["2024-01-10":"2024-02-29"]
    lines = figures.equity_figure(equity, fund).axes[0].lines
    (drawn,) = (line.get_ydata() for line in lines if line.get_color() == figures.PALETTE["benchmark"])
    known = np.flatnonzero(~np.isnan(np.asarray(drawn, dtype=float)))
    assert (known[0], known[-1]) == (days.get_loc("2024-01-10"), days.get_loc("2024-02-29"))
    assert len(known) == known[-1] - known[0] + 1
