"""Feeds that move when they are asked, against backtrader's own loop and its own feeds: the same account, day by day."""

from __future__ import annotations

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_panels import thin_panel
from sizes import size

from trading_core.backtest.event import Account, ClockFeed, PanelCerebro, create_bt_feeds, ordinals_of, run_panel
from trading_core.model import ExitRules
from trading_core.portfolio import Costs, RiskLimits
from trading_core.strategies import Strategy


class Drawn(Strategy):
    exits = ExitRules(stop_loss=0.04, time_stop=6)

    def signals(self, panel):
        raise NotImplementedError  # given in the test


def account_on(panel, seed, costs, limits=None):
    rng = np.random.default_rng(seed)
    table = np.where(rng.random(panel.shape) < 0.3, rng.choice([0.0, 0.5, 1.0], panel.shape), np.nan)
    return Account(panel, {"drawn": (Drawn(), 1.0)}, {"drawn": table}, costs, 20_000.0, limits, 0.1)


def plain(panel, start):
    frames = {s: panel.own(s)[start:].tz_localize(None) for s in panel.symbols}
    return {s: bt.feeds.PandasData(dataname=frame) for s, frame in frames.items() if len(frame)}


@settings(max_examples=size(6, 100), deadline=None)
@given(seed=st.integers(0, 10_000), part=st.sampled_from([None, 0.1]), first=st.sampled_from([0, 60]))
def test_an_account_is_the_same_in_backtraders_own_loop(seed, part, first):
    panel = thin_panel(seed)
    start, costs = panel.days[first], Costs(slippage_bps=3.0, volume_share=part)
    limits = RiskLimits(max_positions=4) if seed % 2 else None
    ours, stock, bulk = (
        run_panel(account_on(panel, seed, costs, limits), start, feeds)
        for feeds in (None, plain(panel, start), create_bt_feeds(panel, start))
    )
    assert ours == stock
    assert ours == bulk
    assert len(ours.days) == len(panel.days) - first


def test_at_the_end_every_feed_stands_on_its_last_bar():
    panel = thin_panel(4)
    feeds, cerebro = create_bt_feeds(panel), PanelCerebro(stdstats=False)
    for symbol, feed in feeds.items():
        cerebro.adddata(feed, name=symbol)
    cerebro.adddata(ClockFeed(columns={}, ordinals=ordinals_of(panel.days)), name="clock")
    seen = []

    class Quiet(bt.Strategy):
        def prenext(self):
            seen.append([len(feed) for feed in self.datas[:-1]])

        next = prenext

    cerebro.addstrategy(Quiet)
    cerebro.run()
    assert len(seen) == len(panel.days)
    assert set(map(tuple, seen)) == {(0,) * len(feeds)}  # nobody asked, so none moved
    assert [len(feed) for feed in feeds.values()] == panel.real.sum(axis=0).tolist()
    assert [feed.close[0] for feed in feeds.values()] == [panel.own(symbol)["close"].iloc[-1] for symbol in feeds]


def test_a_feed_that_is_asked_late_has_moved_over_all_that_it_missed():
    panel = thin_panel(11)
    symbol = panel.symbols[0]
    feed, own = create_bt_feeds(panel)[symbol], panel.own(symbol)
    feed.preload()
    at = {day: ordinals_of(pd.DatetimeIndex([day]))[0] for day in panel.days}
    assert not feed.catch_up(at[own.index[0]] - 1)
    assert len(feed) == 0
    for day in (own.index[2], own.index[2], own.index[-1]):
        assert feed.catch_up(at[day])
        assert (len(feed), feed.open[0]) == (own.index.get_loc(day) + 1, own.loc[day, "open"])
    assert not feed.catch_up(at[own.index[-1]] + 1)
    assert feed.open[-1] == pytest.approx(own["open"].iloc[-2], abs=0)
