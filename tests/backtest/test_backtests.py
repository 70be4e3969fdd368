import json
import re
from functools import partial

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from trading_core.backtest import backtest, create_bt_feeds, sweep
from trading_core.backtest.edge import break_even_cost
from trading_core.backtest.terms import CashError, PeriodError, SharesError, TermsError
from trading_core.data import HybridDataNormalizer, SimulatedBars, load_panel
from trading_core.errors import UnknownNameError
from trading_core.portfolio import Costs, RiskLimits
from trading_core.sessions import sessions
from trading_core.strategies import CryptoReversal, EquityReversal, MacdTrend, Momentum, SmaCross, Strategy
from trading_core.strategies.strategy import BrokenSignalsError

BOTH = {"equity": (EquityReversal(), 0.5), "crypto": (CryptoReversal(), 0.5)}


@pytest.fixture(scope="module")
def panel():
    market = SimulatedBars(seed=11)
    return load_panel(market, [*market.symbols()[:15], "BTC/USD", "ETH/USD"], "2020-06-01", "2021-12-31")


@pytest.fixture(scope="module")
def result(panel):
    return backtest(BOTH, panel, start="2020-09-01")


def test_no_fill_happens_on_a_day_without_a_bar(panel, result):
    assert len(result.fills) > 50
    for fill in result.fills.itertuples():
        assert panel.observed.at[fill.day, fill.symbol]


def test_an_equity_decision_on_friday_never_fills_before_the_next_session(panel, result):
    buys = result.fills[(result.fills["side"] == "buy") & (result.fills["strategy"] == "equity")]
    calendar = sessions("XNYS", panel.first, panel.last)
    decided = EquityReversal().decision_days(panel, panel.first, panel.last)
    next_session = {calendar[calendar.searchsorted(day, side="right")] for day in decided[:-1]}
    assert set(buys["day"]) <= next_session


def test_equity_is_flat_over_closed_markets_when_no_coin_is_held(panel):
    shares = panel.select([s for s in panel.symbols if "/" not in s])
    both = backtest(EquityReversal(), panel, start="2020-09-01")
    closed = ~both.equity.index.isin(sessions("XNYS", panel.first, panel.last))
    assert both.equity.diff()[closed].abs().max() == 0.0
    alone = backtest(EquityReversal(), shares, start="2020-09-01")
    pd.testing.assert_frame_equal(both.fills, alone.fills)


def test_account_value_is_cash_plus_positions_every_day(panel, result):
    fills = result.fills.assign(
        cash=np.where(result.fills["side"] == "buy", -1, 1) * result.fills["quantity"] * result.fills["price"]
        - result.fills["fee"]
    )
    cash = 100_000 + fills.groupby("day")["cash"].sum().reindex(result.equity.index, fill_value=0.0).cumsum()
    held = result.positions
    worth = (held * panel.close.loc[held.index, held.columns].fillna(0.0)).sum(axis=1)
    assert (cash + worth - result.equity).abs().max() < 1e-4
    assert cash.min() > -1e-6


def test_a_backtest_is_the_same_each_time(panel, result):
    again = backtest(BOTH, panel, start="2020-09-01")
    pd.testing.assert_frame_equal(again.fills, result.fills)
    pd.testing.assert_series_equal(again.equity, result.equity)


def test_a_backtest_that_ends_earlier_is_a_prefix_of_the_longer_one(panel, result):
    short = backtest(BOTH, panel, start="2020-09-01", end="2021-03-31")
    pd.testing.assert_series_equal(short.equity, result.equity[: short.equity.index[-1]])
    until = result.fills[result.fills["day"] <= short.equity.index[-1]].reset_index(drop=True)
    pd.testing.assert_frame_equal(short.fills, until)


def test_an_asset_without_a_bar_for_ten_sessions_is_closed_as_delisted():
    days = sessions("XNYS", "2024-01-02", "2024-02-29")
    price = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 10.0), days).assign(volume=1.0)
    market = HybridDataNormalizer().normalize({"GONE": price.iloc[:10], "STAYS": price})

    class Hold(Strategy):
        def signals(self, panel):
            return pd.DataFrame(0.4, panel.days, list(panel.symbols)).where(panel.observed)

    fills = backtest(Hold(), market, costs=Costs(rate=0.01)).fills
    gone = fills[fills["symbol"] == "GONE"]
    assert gone["reason"].tolist() == ["signal", "delisted"]
    assert gone["day"].iloc[-1] == days[19]
    assert gone["fee"].iloc[-1] == pytest.approx(0.01 * 10.0 * gone["quantity"].iloc[-1])


def test_limits_are_the_same_object_in_a_backtest_and_their_refusals_are_kept(panel):
    tight = backtest(BOTH, panel, start="2020-09-01", limits=RiskLimits(max_positions=1))
    assert (tight.positions > 0).sum(axis=1).max() <= 2  # a sale at the open and a buy at the next may overlap
    assert "max_positions" in set(tight.refusals["reason"])


def test_bulk_feeds_and_pandas_feeds_lead_to_the_same_fills(panel):
    from trading_core.backtest.event import Account, run_panel
    from trading_core.strategies import checked_signals

    strategies = {"sma": (SmaCross(fast=5, slow=20), 1.0)}
    signals = {"sma": checked_signals(strategies["sma"][0], panel).to_numpy()}
    plain = {s: bt.feeds.PandasData(dataname=panel.own(s).tz_localize(None)) for s in panel.symbols}
    one, other = (
        run_panel(Account(panel, strategies, signals, Costs(), 50_000.0), panel.first, feeds) for feeds in (None, plain)
    )
    assert one.fills == other.fills
    assert one.equity == other.equity


class Crossing(bt.Strategy):
    "A backtrader strategy of a user's own."

    params = (("fast", 5), ("slow", 20))

    def __init__(self):
        self.cross = bt.ind.CrossOver(bt.ind.SMA(period=self.p.fast), bt.ind.SMA(period=self.p.slow))

    def next(self):
        if not self.position and self.cross[0] > 0:
            self.buy(size=10)
        elif self.position and self.cross[0] < 0:
            self.close()


def test_a_users_own_backtrader_strategy_runs_as_it_is(panel):
    alone = panel.select(["BTC/USD"])
    result = backtest(Crossing, alone, costs=Costs(rate=0.001), cash=10_000_000)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=alone.own("BTC/USD").tz_localize(None)))
    cerebro.addstrategy(Crossing)
    cerebro.broker.setcash(10_000_000)
    cerebro.broker.setcommission(0.001)
    cerebro.run()
    assert len(result.fills) > 4
    assert result.equity.iloc[-1] == pytest.approx(cerebro.broker.getvalue(), abs=0.01)
    assert result.trades["pnl"].notna().all()


def test_a_late_listing_is_announced_to_a_backtrader_strategy():
    days = sessions("XNYS", "2024-01-02", "2024-02-29")
    price = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 10.0), days).assign(volume=1.0)
    market = HybridDataNormalizer().normalize({"LATE": price.iloc[20:], "STAYS": price})
    with pytest.warns(UserWarning, match=r"1 of 2 assets list late, the last one LATE on 2024-01-31"):
        backtest(Crossing, market)


def test_feeds_hold_only_real_bars(panel):
    feeds = create_bt_feeds(panel)
    assert {s: len(f.p.ordinals) for s, f in feeds.items()} == panel.observed.sum().to_dict()


def test_a_result_becomes_json_and_csv(result, tmp_path):
    text = json.dumps(result.to_dict(), allow_nan=False)
    assert json.loads(text)["setup"]["engine"] == "fast"
    folder = result.to_csv(tmp_path / "out")
    assert len(pd.read_csv(folder / "fills.csv")) == len(result.fills)


def test_a_result_displays_as_a_table_with_its_figures(result):
    html = result._repr_html_()
    assert "Sharpe ratio" in html
    assert "<svg" in html


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"engine": "vector"}, UnknownNameError, "'vector' is not known"),
        ({"cash": 0}, CashError, "cash above 0"),
        ({"cash": "1000"}, CashError, "got '1000'"),
        ({"start": "2030-01-01"}, PeriodError, "the bars reach from 2020-06-01"),
        ({"start": "2021-03-01", "end": "2021-02-01"}, PeriodError, "from 2021-03-01 to 2021-02-01, which is earlier"),
    ],
)
def test_a_wrong_option_is_refused_with_what_is_needed(panel, options, error, words):
    with pytest.raises(error, match=words):
        backtest(SmaCross(), panel, **options)


def test_shares_beyond_the_whole_account_are_refused(panel):
    with pytest.raises(SharesError, match=r"a 0\.7, b 0\.7"):
        backtest({"a": (SmaCross(), 0.7), "b": (CryptoReversal(), 0.7)}, panel)


def test_trading_on_one_day_only_gives_one_day_of_equity(panel):
    result = backtest(SmaCross(), panel, start=panel.last)
    assert result.equity.tolist() == [100_000.0]
    assert len(result.fills) == 0
    assert "<table" in result._repr_html_()


def test_a_wish_for_an_asset_before_its_first_bar_is_kept_as_a_refusal():
    days = sessions("XNYS", "2024-01-02", "2024-01-31")
    price = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 10.0), days).assign(volume=1.0)
    market = HybridDataNormalizer().normalize({"LATE": price.iloc[5:], "STAYS": price})

    class Hold(Strategy):
        def signals(self, panel):
            return pd.DataFrame(0.4, panel.days, list(panel.symbols))

    result = backtest(Hold(), market)
    early = result.refusals[result.refusals["reason"] == "no_price"]
    assert early[["day", "symbol"]].to_numpy().tolist() == [[day, "LATE"] for day in days[:5]]
    assert result.fills["symbol"].tolist() == ["STAYS", "LATE"]


@pytest.mark.parametrize("run", [backtest, partial(sweep, SmaCross, {"fast": [20]})], ids=["backtest", "sweep"])
@pytest.mark.parametrize(
    ("mistaken", "sentence"),
    [
        ({"panel": None}, "A backtest's panel needs to be a Panel, as load_panel(source, symbols, start, end) makes one, but got None."),
        ({"costs": 0.001}, "A backtest's costs needs to be Costs, such as Costs(rate=0.001), but got 0.001."),
        ({"limits": {"max_weight": 0.1}}, "A backtest's limits needs to be RiskLimits, such as RiskLimits(max_weight=0.1), but got"),
        ({"resize": -0.1}, "A backtest's resize needs to be a fraction from 0 upwards, such as 0.2, or None for never, but got -0.1."),
        ({"resize": float("nan")}, "or None for never, but got nan."),
        ({"resize": "0.1"}, "or None for never, but got '0.1'."),
    ],
)  # fmt: skip
def test_terms_that_are_mistaken_for_each_other_are_refused_in_a_sentence(panel, run, mistaken, sentence):
    asked = partial(run, SmaCross()) if run is backtest else run
    with pytest.raises(TermsError, match=re.escape(sentence)):
        asked(**{"panel": panel} | mistaken)


class Broken(Strategy):
    "Fails on one asset of many, as a stranger's code does."

    def signals(self, panel):
        for symbol in panel.symbols:
            {"BTC/USD": {}}.get(symbol, {"ratio": 1})["ratio"]
        return panel.close * 0.0


@pytest.mark.parametrize("engine", ["fast", "backtrader"])
def test_a_strategy_that_raises_on_one_asset_is_refused_in_its_name_and_the_assets(panel, engine):
    with pytest.raises(
        BrokenSignalsError, match=r"^Broken\.signals raised an error for BTC/USD: KeyError: 'ratio'\. Mend"
    ):
        backtest({"other": (EquityReversal(), 0.5), "broken": (Broken(), 0.5)}, panel, engine=engine)
    rest = panel.select([symbol for symbol in panel.symbols if symbol != "BTC/USD"])
    assert len(backtest(Broken(), rest, engine=engine).fills) == 0


@pytest.mark.parametrize("strategy", [SmaCross(10, 40), Momentum(lookback=60, skip=5), MacdTrend()])
def test_a_backtest_that_pays_the_break_even_cost_ends_where_it_began(panel, strategy):
    first = backtest(strategy, panel, costs=Costs(rate=0.005))
    limit = break_even_cost(first.equity, first.fills)
    again = backtest(strategy, panel, costs=Costs(rate=0.005 + limit))
    assert first.metrics["total_return"] > 0.3
    assert again.metrics["total_return"] == pytest.approx(0, abs=0.025)  # by mean returns it would be -0.07 to -0.11
