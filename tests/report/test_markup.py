from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_core.figures import day_text, dollars, percent, short
from trading_core.report.markup import change, count, el, gained, joined, points, price_text, quantity_text, safe, table


class Read(HTMLParser):
    "What a browser would read."

    def __init__(self, markup: str):
        super().__init__(convert_charrefs=True)
        self.text, self.tags, self.values = "", [], []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.values += [value for _, value in attrs]

    def handle_data(self, data):
        self.text += data


# html.parser drops NUL and normalises line ends, as browsers do
words = st.text(st.characters(exclude_characters="\r\x00", exclude_categories=("Cs",)))


@given(words, words)
def test_whatever_text_goes_in_comes_out_as_text_and_never_as_a_tag(inside, attribute):
    read = Read(el("p", inside, title=attribute))
    assert (read.text, read.tags, read.values) == (inside, ["p"], [attribute])


@given(st.lists(words, max_size=4))
def test_joined_texts_stay_texts(items):
    assert Read(el("p", joined(items, " & "))).text == " & ".join(items)


def test_markup_is_not_escaped_twice():
    assert safe(safe("a < b")) == "a &lt; b"
    assert el("p", el("b", "a & b")) == "<p><b>a &amp; b</b></p>"


def test_a_table_escapes_headers_and_cells():
    read = Read(table([["<i>", 1]], {"<b>": "", "n": "n"}))
    assert "<b>" in read.text
    assert "<i>" in read.text
    assert "i" not in read.tags


def test_none_and_false_attributes_are_left_out_and_true_is_bare():
    assert el("a", "x", href=None, hidden=True, cls=False) == "<a hidden>x</a>"


def test_a_minus_is_a_real_minus_and_no_change_has_no_sign():
    assert percent(-0.0045, 2, signed=True) == "−0.45\u202f%"
    assert percent(-0.0000001, signed=True) == "0.0\u202f%"
    assert dollars(-0.004, signed=True) == "$0.00"
    assert dollars(1234567.891) == "$1,234,567.89"


@given(st.floats(-1e6, 1e6, allow_nan=False))
def test_a_signed_amount_has_the_sign_of_its_value_unless_it_shows_as_zero(value):
    text = dollars(value, signed=True)
    if any(digit in text for digit in "123456789"):
        assert text[0] == ("+" if value > 0 else "−")
        assert ("gain" in gained(value)) == (value > 0)
    else:
        assert text == "$0.00"
        assert "class" not in gained(value)


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_what_is_not_known_is_a_dash(unknown):
    assert {str(change(unknown)), str(gained(unknown)), str(points(unknown))} == {"–"}
    assert percent(float("inf")) == "–"


@given(st.decimals(min_value=0, max_value=10**9, places=6))
def test_a_quantity_has_no_trailing_zeros_and_the_same_value(quantity):
    text = quantity_text(quantity)
    assert float(text.replace(",", "")) == float(quantity)
    assert "." not in text or text[-1] not in "0."


@pytest.mark.parametrize(
    ("price", "text"),
    [
        (13.76, "$13.76"),
        (0.6339, "$0.6339"),
        (2.5, "$2.500"),
        (0.00002, "$0.00002000"),
        (0.0, "$0.00"),
        (72486.2, "$72,486.20"),
    ],
)
def test_prices_have_the_digits_that_they_need(price, text):
    assert price_text(price) == text


def test_counts_and_days_read_as_english():
    assert [count(0, "order"), count(1, "order"), count(2, "order"), count(3311, "trade")] == [
        "no order",
        "1 order",
        "2 orders",
        "3,311 trades",
    ]
    assert day_text(pd.Timestamp("2019-06-28", tz="UTC")) == "Fri 28 Jun 2019"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(150_000, "$", "$150k"), (-0.05, "%", "−5\u202f%"), (0.1, "+%", "+10\u202f%"), (2_500_000, "", "2.5m")],
)
def test_axis_numbers_are_short(value, unit, text):
    assert short(value, unit) == text
