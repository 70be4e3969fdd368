"""EqualWeight: fractions of an account from strengths."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_core.errors import RefusedError
from trading_core.strategies import EqualWeight
from trading_core.strategies.sizing import WeightError

strength = st.one_of(st.just(float("nan")), st.floats(-1, 1))
rows = st.lists(strength, max_size=40).map(np.array)
sizers = st.builds(EqualWeight, gross=st.floats(0.01, 1), max_weight=st.none() | st.floats(0.01, 1))


@given(rows, sizers)
def test_weights_never_exceed_gross_nor_cap_nor_the_wish(strengths, sizer):
    weights = sizer.weights(strengths)
    assert weights.shape == strengths.shape
    assert (weights >= 0).all()
    assert weights.sum() <= sizer.gross * (1 + 1e-12)
    assert (weights <= np.where(strengths > 0, strengths, 0) + 1e-15).all()
    if sizer.max_weight is not None:
        assert (weights <= sizer.max_weight).all()


@given(rows, sizers)
def test_only_a_positive_strength_weighs(strengths, sizer):
    assert ((sizer.weights(strengths) > 0) <= (strengths > 0)).all()


@given(st.lists(rows.filter(lambda row: len(row) == 5), min_size=1, max_size=5).map(np.array), sizers)
def test_a_row_weighs_the_same_alone_and_in_a_table(table, sizer):
    together = sizer.weights(table)
    assert all(np.array_equal(sizer.weights(row), weighed) for row, weighed in zip(table, together, strict=True))
    assert np.array_equal(sizer.weights(np.asfortranarray(table)), together)


def test_the_formula_of_the_semantics_holds_on_an_example():
    sizer = EqualWeight(gross=0.9, max_weight=0.4)
    np.testing.assert_allclose(sizer.weights(np.array([1, 0.5, -1, np.nan])), [0.4, 0.3, 0, 0])
    np.testing.assert_allclose(EqualWeight().weights(np.array([0.2, np.nan])), [0.2, 0])


@pytest.mark.parametrize("wrong", [{"gross": 0}, {"gross": 1.5}, {"max_weight": 10}, {"max_weight": -0.1}, {"gross": "1"}, {"gross": True}, {"gross": None}, {"max_weight": float("nan")}])  # fmt: skip
def test_a_weight_that_is_no_fraction_is_refused(wrong):
    with pytest.raises(WeightError, match=r"^EqualWeight\.\w+ needs a fraction") as refused:
        EqualWeight(**wrong)
    assert isinstance(refused.value, RefusedError)
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)
