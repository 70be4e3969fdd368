import pytest
from worked_examples import NAMES, assert_same_fills, load_example

from trading_core.backtest import backtest


@pytest.mark.realdata
@pytest.mark.parametrize("engine", ["fast", "backtrader"])
@pytest.mark.parametrize("name", NAMES)
def test_the_worked_example_comes_out_in_both_engines(real_data, name, engine):
    example = load_example(real_data, name)
    terms = {"cash": example.cash, "costs": example.costs, "resize": example.resize}
    result = backtest(example.strategy, example.panel, engine=engine, **terms)
    assert_same_fills(result.fills, example.fills, example.panel)
    assert (result.equity - example.equity).abs().max() < 0.005
    assert len(result.equity) == len(example.equity)
