"""VotingEnsemble: the vote by a slow second opinion, members as text, and what is refused."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_panels import panels, random_panel

from trading_core.config import load_config
from trading_core.errors import UnknownNameError
from trading_core.model import ExitRules, plain
from trading_core.strategies import (
    CryptoReversal,
    EquityReversal,
    MacdTrend,
    MeanReversion,
    Member,
    Momentum,
    ParameterError,
    RsiReversion,
    SmaCross,
    Strategy,
    VotingEnsemble,
    check_causal,
    checked_signals,
    explain,
    load_strategy,
)
from trading_core.strategies.strategy import StrategyLoadError
from trading_core.strategies.voting import split_outside, written

POOL = [
    SmaCross(2, 7),
    MacdTrend(3, 8, 4),
    Momentum(12, 2, every="week"),
    Momentum(10, 0, top=0.4),
    RsiReversion(5, 35, 55),
    MeanReversion(8, 1.2, time_stop=4),
    EquityReversal(lookback=3),
    CryptoReversal(period=3, max_adx=60.0),
]


@dataclass(frozen=True)
class Noise(Strategy):
    "Any opinion at any time, the same for the same day and symbol."

    seed: int = 0

    def signals(self, panel):
        def opinions(symbol):
            key = [self.seed, *map(ord, symbol)]
            drawn = np.random.default_rng(key).uniform(-1, 1, (400, 2))[: len(panel.days)]
            return np.where(drawn[:, 0] > 0.2, np.round(drawn[:, 1], 1), np.nan)

        return pd.DataFrame({symbol: opinions(symbol) for symbol in panel.symbols}, panel.days)


members = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(POOL), st.integers(0, 9).map(Noise)), st.sampled_from([0.1, 0.2, 0.3, 1, 2.5, 7])
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda member: written(member[0]),
)


def by_hand(ensemble, panel):
    "Strengths by walking through each asset's bars."
    said = [(member, checked_signals(member.strategy, panel)) for member in ensemble.voters]
    result = pd.DataFrame(np.nan, panel.days, list(panel.symbols))
    for symbol in panel.symbols:
        asset = panel.assets[symbol]
        on = set(ensemble.calendar_days(asset.calendar, panel.first, panel.last))
        voters = [(member, table[symbol]) for member, table in said if member.strategy.covers(asset)]
        word, age = {}, {}
        for day in panel.days[panel.observed[symbol]]:
            for member, column in voters:
                age[member] = age.get(member, 0) + 1
                if not math.isnan(column[day]):
                    word[member], age[member] = column[day], 0
            if not word:
                continue
            total = 0.0
            for member in word:
                ends = [bars for bars in (ensemble.memory, member.strategy.exits.time_stop) if bars is not None]
                total += member.weight * word[member] * (age[member] < min(ends, default=10**9))
            mean = total / sum(member.weight for member, _ in voters)
            if day in on:
                result.loc[day, symbol] = mean if mean >= ensemble.threshold - 1e-9 else 0.0
    return result


@settings(max_examples=8, deadline=None)
@given(panels, members, st.sampled_from([0.01, 0.3, 0.5, 1.0]), st.sampled_from([None, 1, 3, 10]))
def test_the_vote_agrees_with_walking_through_the_bars(panel, chosen, threshold, memory):
    ensemble = VotingEnsemble(chosen, threshold=threshold, memory=memory)
    got = checked_signals(ensemble, panel)
    np.testing.assert_allclose(got, by_hand(ensemble, panel), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(7, 3), (4, 0), (0, 3)])
def test_no_answer_changes_when_the_future_is_hidden(shape):
    panel = random_panel(3, *shape)
    for ensemble in (VotingEnsemble(POOL), VotingEnsemble(POOL[2:], threshold=0.2, memory=3)):
        assert check_causal(ensemble, panel, seconds=2).ok


def test_a_cheat_among_the_members_is_still_caught():
    class Tomorrow(Strategy):
        def signals(self, panel):
            return (panel.close.shift(-1) > panel.close).astype(float).where(panel.observed)

    assert not check_causal(VotingEnsemble([SmaCross(2, 7), Tomorrow()]), random_panel(3)).ok


def test_one_member_alone_decides_like_itself_on_its_own_days():
    panel = random_panel(6)
    for strategy in POOL[:3]:
        alone, voted = (checked_signals(each, panel) for each in (strategy, VotingEnsemble([strategy])))
        assert voted.where(alone.notna()).equals(alone)


def test_weights_matter_by_their_ratio_only():
    panel = random_panel(6)
    once = checked_signals(VotingEnsemble([(POOL[0], 1), (POOL[1], 3)], threshold=0.2), panel)
    twice = checked_signals(VotingEnsemble([(POOL[0], 0.1), (POOL[1], 0.3)], threshold=0.2), panel)
    np.testing.assert_allclose(once, twice, rtol=1e-12)
    assert set(once.stack().dropna().round(9)) == {0.0, 0.25, 0.75, 1.0}


def test_a_full_agreement_is_never_more_than_one():
    panel = random_panel(2)
    weights = [0.1, 0.2, 0.3, 0.7, 1.1]
    ensemble = VotingEnsemble([(Constant(number), weight) for number, weight in enumerate(weights)])
    assert checked_signals(ensemble, panel).max().max() == 1.0


@dataclass(frozen=True)
class Constant(Strategy):
    number: int = 0

    def signals(self, panel):
        return panel.observed.astype(float)


def test_members_may_be_given_in_any_form():
    forms = [
        "SmaCross:1, MacdTrend(fast=5):2",
        "SmaCross\nMacdTrend( fast = 5 ) : 2",
        "(SmaCross, MacdTrend(fast=5):2.0)",
        ["SmaCross", "MacdTrend(fast=5):2"],
        [SmaCross(), (MacdTrend(fast=5), 2)],
        (Member(SmaCross()), Member(MacdTrend(fast=5), 2)),
        {SmaCross(): 1, MacdTrend(fast=5): 2},
        "trading_core.strategies:SmaCross:1, trading_core.strategies.macd:MacdTrend(fast=5):2",
    ]
    made = [VotingEnsemble(form) for form in forms]
    assert all(each == made[0] for each in made)
    assert all(hash(each) == hash(made[0]) for each in made)
    assert pickle.loads(pickle.dumps(made[0])) == made[0]


def test_what_is_written_can_be_read_again_nested_and_all():
    inner = VotingEnsemble([(SmaCross(3, 9), 1 / 3), Momentum(top=0.2)], threshold=0.4)
    outer = VotingEnsemble([(inner, 2), MacdTrend(stop_loss=0.1), EquityReversal(stop_loss=None)], memory=5)
    text = [str(member) for member in outer.voters]
    assert VotingEnsemble(text, memory=5) == outer
    assert VotingEnsemble(", ".join(text), memory=5) == outer
    stored = json.loads(json.dumps(plain(outer.parameters)))
    assert load_strategy("VotingEnsemble", **stored) == outer


def test_text_is_cut_outside_parentheses_only():
    assert split_outside("A, B(x=1, y=(2, 3)):4,\n C(z=5)") == ["A", "B(x=1, y=(2, 3)):4", "C(z=5)"]
    assert split_outside(" , ") == []


def test_a_strategy_of_ones_own_can_be_a_member(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_votes_26e.py").write_text(
        "from dataclasses import dataclass\n"
        "from trading_core.strategies import Strategy\n"
        "@dataclass(frozen=True)\n"
        "class Mine(Strategy):\n"
        "    days: int = 3\n"
        "    def signals(self, panel):\n"
        "        return panel.observed.astype(float)\n"
    )
    ensemble = VotingEnsemble("my_votes_26e:Mine(days=5):2, SmaCross")
    assert [str(member) for member in ensemble.voters] == ["my_votes_26e:Mine(days=5):2", "SmaCross:1"]
    assert VotingEnsemble("my_votes_26e:Mine").voters[0].strategy.days == 3


def test_settings_make_an_ensemble(tmp_path):
    (tmp_path / "settings.ini").write_text(
        "[strategies.vote]\nclass = VotingEnsemble\nshare = 1\n"
        "members = SmaCross:1, MacdTrend(fast=5):2,\n  RsiReversion(low=25, stop_loss=0.05)\n"
        "threshold = 0.6\nmemory =\nstop_loss = 0.08\n"
    )
    chosen = load_config(tmp_path / "settings.ini").strategies["vote"]
    ensemble = load_strategy(chosen.class_, **chosen.params)
    expected = VotingEnsemble(
        [SmaCross(), (MacdTrend(fast=5), 2), RsiReversion(low=25, stop_loss=0.05)], threshold=0.6, stop_loss=0.08
    )
    assert ensemble == expected
    assert ensemble.exits == ExitRules(stop_loss=0.08)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "one strategy or more"),
        ([], "one strategy or more"),
        ("SmaCross, SmaCross:2", "each of them once"),
        ([SmaCross], "strategies, such as SmaCross"),
        ([(SmaCross(), 0)], r"The weight of SmaCross needs a number above 0"),
        ("SmaCross:-1", r"The weight of SmaCross needs a number above 0"),
        ("SmaCross:nan", r"The weight of SmaCross needs a number above 0"),
        ("SmaCross(10, 20)", "members such as SmaCross:1"),
        ("SmaCross(fast=10", "members such as SmaCross:1"),
        ("SmaCross(fast=60)", "SmaCross.fast needs fewer bars"),
        (7, "such as SmaCross:1"),
    ],
)
def test_members_that_make_no_sense_are_refused(given, said):
    with pytest.raises(ParameterError, match=said):
        VotingEnsemble(given)


def test_a_misspelt_member_is_offered_the_right_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'SmaCross'"):
        VotingEnsemble("SmaCros:1")
    with pytest.raises(UnknownNameError, match="Did you mean 'fast'"):
        VotingEnsemble("SmaCross(fats=10)")
    with pytest.raises(StrategyLoadError, match="no_such_module"):
        VotingEnsemble("no_such_module:Mine:1")


@pytest.mark.parametrize(("name", "value"), [("threshold", 0), ("threshold", 1.1), ("memory", 0), ("memory", 2.5)])
def test_other_parameters_are_refused_by_name(name, value):
    with pytest.raises(ParameterError, match=rf"^VotingEnsemble\.{name} needs"):
        load_strategy("VotingEnsemble", members="SmaCross", **{name: value})


def test_an_ensemble_without_members_is_asked_for_them():
    with pytest.raises(ParameterError, match=r"^VotingEnsemble\.members needs a value"):
        load_strategy("VotingEnsemble")


def test_an_asset_that_no_member_covers_has_no_opinion():
    panel = random_panel(1)
    ensemble = VotingEnsemble([EquityReversal(lookback=3)])
    coins = [symbol for symbol in panel.symbols if "/" in symbol]
    assert checked_signals(ensemble, panel)[coins].isna().all(axis=None)
    assert not set(coins) & set(explain(ensemble, panel))


def test_a_phrase_names_each_vote_and_agrees_with_the_signal():
    panel = random_panel(4)
    ensemble = VotingEnsemble(POOL, threshold=0.3)
    decided = checked_signals(ensemble, panel)
    for day in panel.days[60::9]:
        for symbol, phrase in explain(ensemble, panel, day).items():
            if decided.loc[day, symbol] > 0:
                assert "≥ 0.3" in phrase
                assert "SmaCross(fast=2, slow=7)" in phrase
            elif decided.loc[day, symbol] == 0:
                assert "< 0.3" in phrase
