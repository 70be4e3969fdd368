"""The strategy contract: what signals may be, and how strategies are found and made."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from random_panels import random_panel

from trading_core.errors import ConfigError, RefusedError, StrategyError, UnknownNameError
from trading_core.model import AssetClass, ExitRules
from trading_core.strategies import (
    CryptoReversal,
    EqualWeight,
    EquityReversal,
    ParameterError,
    SignalError,
    SmaCross,
    Strategy,
    checked_signals,
    explain,
    load_strategy,
)
from trading_core.strategies.strategy import BrokenSignalsError, StrategyLoadError, signed_percent


@pytest.fixture(scope="module")
def panel():
    return random_panel(5)


@dataclass(frozen=True)
class Given(Strategy):
    "Returns what it was given."

    answer: object = None

    def signals(self, panel):
        return self.answer(panel) if callable(self.answer) else self.answer


def full(panel, value):
    return pd.DataFrame(value, panel.days, list(panel.symbols))


def with_one(panel, value):
    table = full(panel, np.nan)
    row = int(np.flatnonzero(panel.real[:, 2])[4])
    table.iloc[row, 2] = value
    return table, panel.days[row]


@pytest.mark.parametrize("value", [1.5, -1.0001, float("inf"), float("-inf")])
def test_a_strength_outside_its_range_is_refused_by_strategy_day_symbol_and_value(panel, value):
    table, day = with_one(panel, value)
    with pytest.raises(SignalError, match=r"from -1 to 1, or NaN") as refused:
        checked_signals(Given(table), panel)
    assert (refused.value.strategy, refused.value.day, refused.value.symbol) == ("Given", day, panel.symbols[2])
    assert refused.value.value == value
    assert f"{day:%Y-%m-%d}" in str(refused.value)
    assert isinstance(refused.value, StrategyError)
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def test_the_ends_of_the_range_are_allowed(panel):
    for value in (-1.0, 1.0, 0.0):
        table, day = with_one(panel, value)
        assert checked_signals(Given(table), panel).loc[day, panel.symbols[2]] == value


@pytest.mark.parametrize(
    "answer",
    [
        None,
        lambda panel: panel.close.to_numpy(),
        lambda panel: panel.close["E0"],
        lambda panel: full(panel, 0.5).iloc[:-1],
        lambda panel: full(panel, 0.5).tz_localize(None),
        lambda panel: full(panel, 0.5).drop(columns="E0"),
        lambda panel: full(panel, 0.5).assign(EXTRA=1.0),
        lambda panel: full(panel, "buy"),
    ],
)
def test_an_answer_that_is_not_the_panels_table_is_refused_with_a_cure(panel, answer):
    with pytest.raises(
        SignalError, match=r"^Given\.signals: .*index panel\.days and columns panel\.symbols"
    ) as refused:
        checked_signals(Given(answer), panel)
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def test_columns_in_another_order_are_put_in_the_panels(panel):
    shuffled = full(panel, 0.5)[list(reversed(panel.symbols))]
    assert list(checked_signals(Given(shuffled), panel).columns) == list(panel.symbols)


def test_booleans_and_integers_become_strengths(panel):
    assert set(np.unique(checked_signals(Given(panel.observed), panel).to_numpy())) - {1.0} != set()
    assert checked_signals(Given(full(panel, 1)), panel).max().max() == 1.0


def test_an_opinion_on_a_carried_price_is_dropped_but_one_before_the_first_bar_stays(panel):
    checked = checked_signals(Given(full(panel, 1.0)), panel)
    assert np.array_equal(checked.notna().to_numpy(), panel.real | (panel.missed < 0))


def test_a_strategy_without_signals_cannot_be_made():
    class Lazy(Strategy):
        pass

    with pytest.raises(TypeError, match="signals"):
        Lazy()


def test_exits_and_sizer_may_be_class_attributes():
    @dataclass(frozen=True)
    class Mine(Given):
        exits = ExitRules(trailing_stop=0.08)
        sizer = EqualWeight(max_weight=0.2)

    assert Mine().exits.trailing_stop == 0.08
    assert Mine().parameters == {"answer": None}


@pytest.mark.parametrize("strategy", [EquityReversal(), CryptoReversal(), SmaCross()])
def test_strategies_are_hashable_picklable_and_comparable(strategy):
    assert pickle.loads(pickle.dumps(strategy)) == strategy
    assert hash(strategy) == hash(type(strategy)())
    assert strategy.name == type(strategy).__name__
    assert type(strategy)(**strategy.parameters) == strategy


def test_the_next_decision_depends_on_what_is_covered(panel):
    friday = pd.Timestamp("2024-01-12", tz="UTC")
    named = {s.name: s.next_decision(panel, friday) for s in (EquityReversal(), CryptoReversal(), SmaCross())}
    assert {name: f"{day:%m-%d}" for name, day in named.items()} == {
        "EquityReversal": "01-19",
        "CryptoReversal": "01-13",
        "SmaCross": "01-13",
    }
    coins = panel.select([s for s in panel.symbols if panel.assets[s].asset_class is AssetClass.CRYPTO])
    assert EquityReversal().next_decision(coins, friday) is None


def test_every_covered_symbol_gets_a_phrase_even_before_it_is_listed(panel):
    for strategy in (EquityReversal(), CryptoReversal(), SmaCross()):
        for day in (panel.first, panel.days[40], panel.last):
            phrases = explain(strategy, panel, day)
            assert set(phrases) == {s for s in panel.symbols if strategy.covers(panel.assets[s])}
            assert all(phrases.values())


def test_a_stale_symbol_is_explained_by_the_age_of_its_price():
    ended = random_panel(0)
    stale = {s for place, s in enumerate(ended.symbols) if ended.missed[-1, place] > 1}
    phrases = explain(SmaCross(), ended)
    assert stale
    assert all(phrases[symbol].endswith("sessions old") for symbol in stale)


@pytest.mark.parametrize(("value", "text"), [(-0.0771, "−7.7 %"), (0.0, "0.0 %"), (-0.0004, "0.0 %"), (0.01, "+1.0 %")])
def test_percentages_carry_a_real_minus_and_no_sign_on_zero(value, text):
    assert signed_percent(value) == text


# Finding a strategy


def test_short_and_long_names_find_the_same_strategy():
    assert load_strategy("SmaCross", fast=5) == load_strategy("trading_core.strategies:SmaCross", fast="5")
    assert load_strategy("trading_core.strategies.sma:SmaCross", fast="5") == SmaCross(fast=5)
    assert load_strategy(" EquityReversal ") == EquityReversal()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ({"lowest": "0.2", "stop_loss": "none"}, EquityReversal(lowest=0.2, stop_loss=None)),
        ({"stop_loss": "", "time_stop": "7"}, EquityReversal(stop_loss=None, time_stop=7)),
        ({"lookback": 3}, EquityReversal(lookback=3)),
        ({"lookback": np.int64(3)}, EquityReversal(lookback=3)),
    ],
)
def test_text_from_a_settings_file_becomes_what_the_hints_say(text, expected):
    loaded = load_strategy("EquityReversal", **text)
    assert loaded == expected
    assert all(
        type(a) is type(b) for a, b in zip(loaded.parameters.values(), expected.parameters.values(), strict=True)
    )


@pytest.mark.parametrize(
    "wrong", [{"fast": "ten"}, {"fast": "10.5"}, {"fast": 10.0}, {"fast": True}, {"fast": None}, {"fast": [10]}]
)
def test_a_parameter_of_another_type_is_refused(wrong):
    with pytest.raises(ParameterError, match=r"^SmaCross\.fast needs a whole number, but got"):
        load_strategy("SmaCross", **wrong)


def test_an_unknown_parameter_is_refused_with_the_nearest_one():
    with pytest.raises(UnknownNameError, match=r"SmaCross's parameters: 'fats' .* Did you mean 'fast'\?"):
        load_strategy("SmaCross", fats=3)


def test_a_script_that_ends_itself_is_refused_and_does_not_end_us(tmp_path, monkeypatch):
    (tmp_path / "ends_itself.py").write_text("import sys\n\nsys.exit(7)\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StrategyLoadError, match=r"could not be imported \(SystemExit: 7\)"):
        load_strategy("ends_itself:Mine")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("no_such_module_here:Thing", "could not be imported"),
        ("trading_core.strategies:", "no name of a class"),
        ("", "no name of a class"),
        ("trading_core.strategies.sma", "no name of a class"),
        ("trading_core.strategies:Strategy", "lacks signals"),
        ("trading_core.strategies:EqualWeight", "does not derive from"),
        ("trading_core.strategies:load_strategy", "no class"),
        ("backtrader:Strategy", "backtrader strategy"),
    ],
)
def test_what_is_no_strategy_is_refused_with_an_example_of_one(spec, words):
    with pytest.raises(StrategyLoadError, match=words) as refused:
        load_strategy(spec)
    assert "trading_core.strategies:SmaCross" in str(refused.value)
    assert isinstance(refused.value, RefusedError)
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def test_an_unknown_class_is_refused_with_the_nearest_strategy():
    with pytest.raises(UnknownNameError, match=r"Did you mean 'CryptoReversal'\?"):
        load_strategy("CryptoReversl")


OWN = """
from dataclasses import dataclass
from trading_core.strategies import Strategy

@dataclass(frozen=True)
class Hold(Strategy):
    strength: float
    loud: bool = False
    label: str = "x"

    def __post_init__(self):
        if self.strength > 1:
            raise ValueError("strength must be 1 or less")

    def signals(self, panel):
        return panel.close.notna() * self.strength
"""


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    (tmp_path / "ideas_of_a_test.py").write_text(OWN)
    (tmp_path / "broken_of_a_test.py").write_text("import no_such_library_at_all")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "ideas_of_a_test", raising=False)
    return tmp_path


def test_a_strategy_of_the_current_folder_is_found_and_the_path_left_as_it_was(own_folder, panel):
    import sys

    before = list(sys.path)
    mine = load_strategy("ideas_of_a_test:Hold", strength="0.5", loud="yes", label="12")
    assert sys.path == before
    assert mine.parameters == {"strength": 0.5, "loud": True, "label": "12"}
    assert checked_signals(mine, panel).max().max() == 0.5


def test_a_users_own_refusal_becomes_a_refusal_of_the_parameters(own_folder):
    with pytest.raises(ConfigError, match=r"Hold refused its parameters .* strength must be 1 or less"):
        load_strategy("ideas_of_a_test:Hold", strength=2)


UNTYPED = """
from __future__ import annotations
from dataclasses import dataclass
from typing import TYPE_CHECKING
from trading_core.strategies import Strategy

if TYPE_CHECKING:
    from nowhere import Model

class Loose(Strategy):
    def __init__(self, days=5, level=0.5, loud=False, label="x", stop=None, size=None, *more, **others):
        assert days != 13, "thirteen is not a good number of days"
        self.kept = days, level, loud, label, stop, size, others

    def signals(self, panel):
        return panel.close * 0

@dataclass(frozen=True)
class Partly(Strategy):
    model: Model | None = None
    days: int = 5

    def signals(self, panel):
        return panel.close * 0
"""


def test_text_for_a_parameter_without_a_type_becomes_what_its_default_is(own_folder):
    (own_folder / "loose_of_a_test.py").write_text(UNTYPED)
    text = {"days": "7", "level": "1", "loud": "yes", "label": "12", "stop": "0.1", "size": "none", "odd": "3"}
    assert load_strategy("loose_of_a_test:Loose", **text).kept == (7, 1.0, True, "12", 0.1, None, {"odd": 3})
    assert load_strategy("loose_of_a_test:Loose", days="7.5", stop="tight").kept[::4] == (7.5, "tight")
    with pytest.raises(ParameterError, match=r"Loose\.days needs a whole number or a number, but got 'many'"):
        load_strategy("loose_of_a_test:Loose", days="many")
    with pytest.raises(ConfigError, match=r"Loose refused its parameters .* thirteen is not a good number"):
        load_strategy("loose_of_a_test:Loose", days="13")


def test_a_type_that_is_only_there_for_a_type_checker_costs_no_other_its_type(own_folder):
    (own_folder / "loose_of_a_test.py").write_text(UNTYPED)
    assert load_strategy("loose_of_a_test:Partly", days="7").days == 7
    with pytest.raises(ParameterError, match="a whole number"):
        load_strategy("loose_of_a_test:Partly", days="7.5")


def test_a_parameter_without_a_default_is_asked_for(own_folder):
    with pytest.raises(ParameterError, match=r"Hold\.strength needs a value, as it has no default"):
        load_strategy("ideas_of_a_test:Hold")


def test_a_module_that_does_not_import_is_refused_with_its_reason(own_folder):
    with pytest.raises(StrategyLoadError, match="no_such_library_at_all"):
        load_strategy("broken_of_a_test:Hold")


def test_a_strategy_without_indicators_says_so_and_not_that_one_has_no_value(panel):
    class Bare(Strategy):
        def signals(self, panel):
            return panel.close * 0

    assert "by its signals alone" in explain(Bare(), panel).values()
    assert Bare().why("ACME", {"average": float("nan")}) == "no indicator has a value"


def test_who_writes_into_the_panel_is_told_to_take_a_copy(panel):
    class Writes(Strategy):
        def signals(self, panel):
            panel.close.to_numpy()[:] = (
                1.0  # through a table it may be its own copy that is changed, which harms nobody
            )
            return panel.close

    with pytest.raises(BrokenSignalsError, match=r"read-only \(nothing can be written into a panel: change a copy"):
        checked_signals(Writes(), panel)
