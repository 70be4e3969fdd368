"""AlpacaBars against the embedded venue, and against bad days, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from trading_core.data.alpaca_bars import AlpacaBars, AlpacaSaidNoError, NoKeysError, TurningError, actions_table
from trading_core.data.answers import BadAnswerError
from trading_core.data.fetching import fetch_bars
from trading_core.data.intervals import grid
from trading_core.data.loopback import Answer, Loopback
from trading_core.data.normalizer import HybridDataNormalizer
from trading_core.data.patience import Manners, SourceError
from trading_core.data.promises import check_source
from trading_core.data.sources import BadBarsError, IntervalError, NoBarsError
from trading_core.execution.venue.book import PaperVenue
from trading_core.execution.venue.market import ManualClock, PanelMarket
from trading_core.execution.venue.server import VenueServer
from trading_core.sessions import as_day, sessions

QUICK = Manners(attempts=4, pause=0.001, timeout=2.0)


def made(symbol: str, start: str, end: str, price: float = 100.0) -> pd.DataFrame:
    days = sessions("24/7" if "/" in symbol else "XNYS", start, end)
    close = price + np.arange(len(days), dtype=float)
    table = {"open": close - 0.5, "high": close + 1, "low": close - 1, "close": close, "volume": 39_000.0}
    return pd.DataFrame(table, days)


ACME, COIN = made("ACME", "2023-11-01", "2024-03-28"), made("COIN/USD", "2023-11-01", "2024-03-28", 500.0)
ACTIONS = pd.DataFrame(
    {"split": [1.0, 0.25], "dividend": [0.5, 0.0]}, pd.DatetimeIndex(["2024-02-08", "2024-03-04"], tz="UTC")
)
NOW = "2024-03-27 18:00"  # in a session


@pytest.fixture(scope="module")
def venue() -> Iterator[AlpacaBars]:
    panel = HybridDataNormalizer().normalize({"ACME": ACME, "COIN/USD": COIN})
    paper = PaperVenue(PanelMarket(panel, {"ACME": ACTIONS}), clock=ManualClock(NOW))
    with VenueServer(paper) as server:
        source = AlpacaBars(paper.key, paper.secret, server.url, today=NOW, manners=QUICK)
        yield source
        source.close()


def test_sessions_of_a_stock_are_those_of_the_market(venue: AlpacaBars):
    bars = check_source(venue, "ACME")
    columns = ["open", "high", "low", "close", "volume"]
    pd.testing.assert_frame_equal(bars[columns], ACME[: as_day("2024-03-26")], check_freq=False)


def test_splits_and_dividends_stand_on_their_ex_days_wherever_they_were_paid(venue: AlpacaBars):
    bars = venue.bars("ACME", "2024-02-01", "2024-03-10")
    assert bars["dividend"][bars["dividend"] != 0].to_dict() == {as_day("2024-02-08"): 0.5}
    assert bars["split"][bars["split"] != 1].to_dict() == {as_day("2024-03-04"): 0.25}
    assert venue.bars("ACME", "2024-02-09", "2024-03-01")[["split", "dividend"]].drop_duplicates().values.tolist() == [
        [1, 0]
    ]


def test_days_of_a_coin_are_utc_days_though_it_is_asked_for_hours(venue: AlpacaBars):
    bars = venue.bars("COIN/USD", "2024-03-08", "2024-03-12")  # the clocks of New York change in between
    wanted = COIN["2024-03-08":"2024-03-12"]
    assert bars.index.equals(wanted.index)
    assert bars[["open", "close"]].to_numpy() == pytest.approx(wanted[["open", "close"]].to_numpy())
    assert bars["volume"].to_numpy() == pytest.approx(wanted["volume"].to_numpy())
    assert bars.index[-1] == as_day("2024-03-12")


@pytest.fixture(scope="module")
def halted() -> Iterator[AlpacaBars]:
    "A venue at which ACME is not traded on the days of its dividend and its split."
    bars = {"ACME": ACME.drop(ACTIONS.index), "COIN/USD": COIN}
    paper = PaperVenue(PanelMarket(HybridDataNormalizer().normalize(bars), {"ACME": ACTIONS}), clock=ManualClock(NOW))
    with VenueServer(paper) as server:
        source = AlpacaBars(paper.key, paper.secret, server.url, today=NOW, manners=QUICK)
        yield source
        source.close()


@pytest.mark.parametrize("interval", ["1d", "5m", "1h"])
def test_a_bar_tells_the_same_whatever_day_the_window_begins_with(halted: AlpacaBars, interval: str):
    whole = halted.bars("ACME", "2024-02-01", "2024-03-15", interval)
    told = whole[(whole["split"] != 1) | (whole["dividend"] != 0)]
    assert told.index.strftime("%m-%d").tolist() == ["02-09", "03-05"]
    for start in ("2024-02-07", "2024-02-08", "2024-02-09", "2024-02-12", "2024-03-04", "2024-03-05", "2024-03-06"):
        part = halted.bars("ACME", start, "2024-03-15", interval)
        pd.testing.assert_frame_equal(part, whole[start:], check_freq=False)


@pytest.mark.parametrize("symbol", ["ACME", "COIN/USD"])
def test_the_day_of_today_is_left_out(venue: AlpacaBars, symbol: str):
    assert venue.bars(symbol).index[-1] == as_day("2024-03-26")
    with pytest.raises(NoBarsError, match="The last complete day is 2024-03-26"):
        venue.bars(symbol, "2024-03-27")


@pytest.mark.parametrize("interval", ["5m", "15m", "30m", "1h"])
def test_short_bars_of_a_stock_end_at_the_marks_of_the_session(venue: AlpacaBars, interval: str):
    bars = venue.bars("ACME", "2023-11-22", "2023-11-27", interval)  # closed on the 23rd, a half-day on the 24th
    assert bars.index.equals(grid("XNYS", interval, "2023-11-22", "2023-11-27"))
    day = bars["2023-11-24":"2023-11-24"]
    assert day["close"].iloc[-1] == pytest.approx(ACME.loc[as_day("2023-11-24"), "close"])
    assert day["volume"].sum() == pytest.approx(ACME.loc[as_day("2023-11-24"), "volume"], abs=len(day))


def test_a_bar_that_is_not_over_is_left_out(venue: AlpacaBars):
    bars = replace(venue, feed="iex").bars("ACME", "2024-03-27", interval="1h")
    assert bars.index[-1] == pd.Timestamp("2024-03-27 17:30", tz="UTC")
    coin = venue.bars("COIN/USD", "2024-03-27", interval="1h")
    assert coin.index[[0, -1]].tolist() == [pd.Timestamp(f"2024-03-27 {h}:00", tz="UTC") for h in ("01", "18")]


def test_the_split_is_told_by_the_first_short_bar_of_its_day(venue: AlpacaBars):
    bars = venue.bars("ACME", "2024-03-01", "2024-03-05", "1h")
    assert bars["split"][bars["split"] != 1].to_dict() == {pd.Timestamp("2024-03-04 15:30", tz="UTC"): 0.25}


def test_the_last_fifteen_minutes_of_all_the_market_are_refused_with_the_way_out(venue: AlpacaBars):
    with pytest.raises(AlpacaSaidNoError, match=r"ends 15 minutes ago\. .*market\.feed=iex") as refused:
        venue.bars("ACME", "2024-03-27", interval="5m")
    assert refused.value.exit_code == 2
    assert len(replace(venue, feed="iex").bars("ACME", "2024-03-27", interval="5m")) == 54


def test_daily_bars_of_all_the_market_need_no_subscription_just_after_midnight():
    now = "2024-03-27 00:01"  # a minute after the day of the 26th, four hours after its session
    paper = PaperVenue(PanelMarket(HybridDataNormalizer().normalize({"ACME": ACME})), clock=ManualClock(now))
    with VenueServer(paper) as server:
        source = AlpacaBars(paper.key, paper.secret, server.url, today=now, manners=QUICK)
        assert source.bars("ACME").index[-1] == as_day("2024-03-26")
        source.close()


@contextmanager
def venue_at(now: str) -> Iterator[AlpacaBars]:
    paper = PaperVenue(PanelMarket(HybridDataNormalizer().normalize({"ACME": ACME})), clock=ManualClock(now))
    with VenueServer(paper) as server, AlpacaBars(paper.key, paper.secret, server.url, today=now, manners=QUICK) as one:
        yield one


@pytest.mark.parametrize("interval", ["5m", "1h"])
@pytest.mark.parametrize(
    ("now", "end", "last"),
    [
        ("2024-03-27 00:01", "2024-03-26", "2024-03-26 20:00"),  # four hours after the session
        ("2024-03-27 00:10", None, "2024-03-26 20:00"),
        ("2024-03-26 20:16", None, "2024-03-26 20:00"),
        ("2024-03-27 12:00", None, "2024-03-26 20:00"),  # before the opening
        ("2024-02-18 00:05", None, "2024-02-16 21:00"),  # on a weekend of three days
    ],
)
def test_short_bars_of_all_the_market_need_no_subscription_when_the_session_is_over(
    now: str, end: str | None, last: str, interval: str
):
    with venue_at(now) as source:
        bars = source.bars("ACME", as_day(last[:10]) - pd.Timedelta(days=3), end, interval)
    assert bars.index[-1] == pd.Timestamp(last, tz="UTC")
    assert (bars.index.normalize() == as_day(last[:10])).sum() == {"5m": 78, "1h": 7}[interval]


@pytest.mark.parametrize(
    ("now", "extended"), [("2024-03-26 14:00", False), ("2024-03-26 20:15", False), ("2024-03-26 22:00", True)]
)
def test_no_trade_that_is_wanted_is_cut_off_for_want_of_a_subscription(now: str, extended: bool):
    with venue_at(now) as source, pytest.raises(AlpacaSaidNoError, match="ends 15 minutes ago"):
        replace(source, extended=extended).bars("ACME", "2024-03-25", interval="5m")


def test_a_day_that_has_just_begun_has_no_short_bars_yet():
    with venue_at("2024-03-27 00:10") as source, pytest.raises(NoBarsError, match="Alpaca has no bars of ACME"):
        source.bars("ACME", "2024-03-27", interval="5m")


def test_a_dividend_that_is_paid_after_the_window_is_in_it(venue: AlpacaBars):
    bars = venue.bars("ACME", "2024-02-05", "2024-02-09")  # paid on the 23rd
    assert bars["dividend"].to_dict()[as_day("2024-02-08")] == 0.5


def test_latest_has_stocks_and_coins_and_says_nothing_of_strangers(venue: AlpacaBars):
    latest = venue.latest(["COIN/USD", "NONE", "ACME"])
    assert latest.index.tolist() == ["COIN/USD", "NONE", "ACME"]
    assert latest["price"].notna().tolist() == [True, False, True]
    assert (latest["time"].dropna() <= pd.Timestamp(NOW, tz="UTC")).all()


def test_an_unknown_symbol_and_an_unknown_length_are_refused(venue: AlpacaBars):
    with pytest.raises(NoBarsError, match="Alpaca has no bars of NONE"):
        venue.bars("NONE")
    with pytest.raises(IntervalError, match="alpaca has no bars of 2h; it offers 1m, 5m"):
        venue.bars("ACME", interval="2h")


@pytest.mark.parametrize(("key", "secret", "status"), [("wrong", "wrong", 403)])
def test_a_wrong_key_is_said_so_and_not_shown(venue: AlpacaBars, key: str, secret: str, status: int):
    with pytest.raises(AlpacaSaidNoError, match=f"HTTP {status}.*ALPACA_API_KEY") as refused:
        replace(venue, key=key, secret="hush-hush").bars("ACME")
    assert "hush-hush" not in str(refused.value) + repr(replace(venue, secret="hush-hush"))


def test_keys_come_from_the_environment(venue: AlpacaBars, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ALPACA_API_KEY", raising=False)
    with pytest.raises(NoKeysError, match=r"in the environment or in \.env"):
        AlpacaBars(url=venue.url, today=NOW).bars("ACME")
    monkeypatch.setenv("ALPACA_API_KEY", venue.key)
    monkeypatch.setenv("ALPACA_SECRET_KEY", venue.secret)
    assert len(AlpacaBars(url=venue.url, today=NOW).bars("ACME", "2024-03-25")) == 2


NOTHING = {"corporate_actions": {}, "next_page_token": None}  # has happened


def bars_answer(symbol: str, days: pd.DatetimeIndex, token: str | None = None) -> dict:
    stamps = days.tz_localize(None).tz_localize("America/New_York").tz_convert("UTC")
    rows = [
        {"t": f"{t:%Y-%m-%dT%H:%M:%SZ}", "o": 10, "h": 11, "l": 9, "c": 10 + n / 100, "v": 5}
        for n, t in enumerate(stamps)
    ]
    return {"bars": {symbol: rows} if rows else {}, "next_page_token": token}


@pytest.fixture
def service() -> Iterator[Loopback]:
    "An Alpaca that says what `pages` says, by page token."
    days = sessions("XNYS", "2024-01-02", "2024-02-29")

    def say(path: str, query: dict[str, str]) -> object:
        if "corporate" in path:
            return NOTHING
        place = int(query.get("page_token", 0))
        part = days[(days >= query["start"]) & (days <= query["end"])]
        return bars_answer("ACME", part[place : place + 7], str(place + 7) if place + 7 < len(part) else None)

    with ExitStack() as stack:
        yield stack.enter_context(Loopback(say))


def source_of(service: Loopback, **manners: float) -> AlpacaBars:
    return AlpacaBars("key", "secret", service.url, today="2024-03-01", manners=replace(QUICK, **manners))


def test_pages_are_read_to_the_end_without_doubles(service: Loopback):
    bars = source_of(service).bars("ACME")
    assert bars.index.equals(sessions("XNYS", "2024-01-02", "2024-02-29"))
    assert len([path for path, _ in service.asked if path == "/v2/stocks/bars"]) == 6
    assert {query["adjustment"] for path, query in service.asked if path == "/v2/stocks/bars"} == {"raw"}


TROUBLES = {
    "busy": Answer({"message": "too many requests."}, 429, {"Retry-After": "0"}),
    "html": Answer("<html>502</html>", 502),
    "html with 200": Answer("<html>log in</html>"),
    "a list": Answer("not json"),
    "half an answer": Answer(bars_answer("ACME", sessions("XNYS", "2024-01-02", "2024-01-12")), cut=60),
    "gateway": Answer({"message": "internal server error"}, 500),
    "silence": Answer("", after=30),
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("page", [0, 2])
def test_trouble_in_the_middle_of_the_pages_costs_nothing(service: Loopback, trouble: str, page: int):
    source, say = source_of(service, timeout=0.3), service.say
    left = [TROUBLES[trouble]] * 2

    def moody(path: str, query: dict[str, str]) -> object:
        if "corporate" not in path and int(query.get("page_token", 0)) == 7 * page and left:
            return left.pop()
        return say(path, query)

    service.say = moody
    assert len(source.bars("ACME")) == 41
    assert not left


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_that_stays_is_an_error_and_no_shorter_history(service: Loopback, trouble: str):
    source, say = source_of(service, timeout=0.1, attempts=2), service.say
    service.say = lambda path, query: TROUBLES[trouble] if "page_token" in query else say(path, query)
    with pytest.raises(SourceError, match="Alpaca gave no answer about ACME in 2 attempts") as failed:
        source.bars("ACME")
    assert failed.value.exit_code == 1
    assert "127.0.0.1" not in str(failed.value)


def test_a_wrong_answer_is_not_taken_for_bars(service: Loopback):
    source = source_of(service)
    service.say = lambda path, query: {"bars": None, "next_page_token": None}
    with pytest.raises(NoBarsError):
        source.bars("ACME")
    service.say = lambda path, query: {"bars": {}, "next_page_token": "again"}
    with pytest.raises(TurningError, match="page 2 of ACME is followed by one that was already read"):
        source.bars("ACME")


def test_a_page_that_comes_twice_is_refused_for_its_doubles(service: Loopback):
    days = sessions("XNYS", "2024-01-02", "2024-01-12")
    service.say = lambda path, query: (
        bars_answer("ACME", days, None if "page_token" in query else "2") if "stocks" in path else NOTHING
    )
    with pytest.raises(BadBarsError):
        source_of(service).bars("ACME")


def test_a_bar_from_tomorrow_is_refused(service: Loopback):
    days = sessions("XNYS", "2024-02-26", "2024-03-05")
    service.say = lambda path, query: bars_answer("ACME", days) if "stocks" in path else NOTHING
    with pytest.raises(
        BadBarsError, match="ACME, 2024-03-04: it is 2024-03-01 00:00 UTC, and there is a bar from the future"
    ):
        source_of(service).bars("ACME")


@pytest.mark.parametrize(
    "day", ["", "\0", "nan", "NaT", "now", "today", "2024", "2024-03-05\0", "2024-03-05T09:30:00Z", None, 5]
)
def test_a_dividend_without_a_day_is_refused_and_does_not_vanish(day: object):
    event = {"symbol": "ACME", "ex_date": day, "rate": 0.25}
    with pytest.raises(ValueError, match="is no day"):
        actions_table({"cash_dividends": [event]}, "ACME")


def test_events_of_one_day_are_multiplied_and_added_and_others_symbols_left_out():
    told = {
        "forward_splits": [{"symbol": "A", "ex_date": "2024-01-02", "new_rate": 3, "old_rate": 1}],
        "stock_dividends": [{"symbol": "A", "ex_date": "2024-01-02", "rate": 0.05}],
        "reverse_splits": [{"symbol": "A", "ex_date": "2024-01-03", "new_rate": 1, "old_rate": 50}],
        "cash_dividends": [
            {"symbol": s, "ex_date": "2024-01-02", "rate": r} for s, r in (("A", 0.1), ("A", 0.2), ("B", 9.0))
        ],
    }
    table = actions_table(told, "A")
    assert table["split"].tolist() == pytest.approx([3.15, 0.02])
    assert table["dividend"].tolist() == pytest.approx([0.3, 0.0])


FOUR = {"id": "s1", "symbol": "ACME", "ex_date": "2024-01-10", "new_rate": 4, "old_rate": 1}
PAID = {"id": "d1", "symbol": "ACME", "ex_date": "2024-01-08", "rate": 0.5, "special": False, "foreign": False}


def with_events(service: Loopback, *pages: dict[str, list[dict[str, object]]]) -> AlpacaBars:
    "A source of the service, which tells the events of these pages."
    say = service.say

    def telling(path: str, query: dict[str, str]) -> object:
        if "corporate" not in path:
            return say(path, query)
        place = int(query.get("page_token") or 0)
        more = str(place + 1) if place + 1 < len(pages) else None
        return {"corporate_actions": pages[place], "next_page_token": more}

    service.say = telling
    return source_of(service)


def test_an_event_that_comes_on_two_pages_happened_once(service: Loopback):
    page = {"cash_dividends": [PAID], "forward_splits": [FOUR]}
    bars = with_events(service, page, page).bars("ACME")
    assert bars["split"][bars["split"] != 1].to_dict() == {as_day("2024-01-10"): 4.0}
    assert bars["dividend"][bars["dividend"] != 0].to_dict() == {as_day("2024-01-08"): 0.5}


def test_an_event_with_two_values_is_refused(service: Loopback):
    source = with_events(service, {"forward_splits": [FOUR]}, {"forward_splits": [FOUR | {"new_rate": 5}]})
    with pytest.raises(BadBarsError, match=r"^ACME, 2024-01-10: the event s1 is there twice, with two values"):
        source.bars("ACME")


def test_a_dividend_in_another_currency_is_not_taken_for_dollars(service: Loopback):
    paid = PAID | {"currency": "EUR", "foreign": True}
    source = with_events(service, {"cash_dividends": [paid]})
    with pytest.raises(BadBarsError, match=r"^ACME, 2024-01-08: a dividend is 0\.5 EUR, but .* market\.raw=false"):
        source.bars("ACME")
    assert len(source.bars("ACME", "2024-02-08")) > 10  # of days with which it has nothing to do
    assert len(replace(source, raw=False).bars("ACME")) == 41


@pytest.mark.parametrize("currency", ["", "USD", None])
def test_a_dividend_in_dollars_may_say_so(service: Loopback, currency: str | None):
    source = with_events(service, {"cash_dividends": [PAID | {"currency": currency}]})
    assert source.bars("ACME")["dividend"].sum() == 0.5


def test_a_reverse_split_that_gave_the_share_its_ticker_is_told(service: Loopback):
    event = {"id": "r", "symbol": "OLD", "new_symbol": "ACME", "ex_date": "2024-01-10", "new_rate": 1, "old_rate": 50}
    bars = with_events(service, {"reverse_splits": [event]}).bars("ACME")
    assert bars["split"][bars["split"] != 1].to_dict() == {as_day("2024-01-10"): 0.02}


def test_a_dividend_of_nothing_changes_nothing(service: Loopback):
    events = {"cash_dividends": [PAID | {"rate": 0}], "stock_dividends": [PAID | {"id": "d2", "rate": 0.0}]}
    bars = with_events(service, events).bars("ACME")
    assert (bars["split"].eq(1).all(), bars["dividend"].sum()) == (True, 0)


@pytest.mark.parametrize("ex_date", ["2024-01-10", "2024-06-05"])
def test_a_figure_that_is_none_costs_the_days_that_it_is_about_and_no_others(service: Loopback, ex_date: str):
    source = with_events(service, {"forward_splits": [FOUR | {"old_rate": 0, "ex_date": ex_date}]})
    if ex_date < "2024-03":
        with pytest.raises(BadAnswerError, match=f"old_rate is 0 on '{ex_date}'"):
            source.bars("ACME")
    else:
        assert len(source.bars("ACME")) == 41


@pytest.mark.realdata
def test_recorded_answers_are_read(service: Loopback, real_data):
    import json

    recorded = json.loads((real_data / "raw/alpaca_json/historical_stock_data__test_get_bars_1.json").read_text())
    service.say = lambda path, query: {**recorded, "next_page_token": None} if "stocks" in path else NOTHING
    bars = replace(source_of(service), today="2022-03-01").bars("AAPL", "2022-02-01", "2022-02-02")
    assert bars["close"].tolist() == [174.61, 175.84]
    assert bars.index.strftime("%m-%d").tolist() == ["02-01", "02-02"]


def test_many_symbols_are_one_question_and_the_same_bars(venue: AlpacaBars):
    wanted = ["COIN/USD", "ACME", "NONE"]
    many = fetch_bars(venue, wanted, "2024-01-02")
    assert list(many.bars) == ["COIN/USD", "ACME"]
    for symbol, bars in many.bars.items():
        pd.testing.assert_frame_equal(bars, venue.bars(symbol, "2024-01-02"))
    assert isinstance(many.failed["NONE"], NoBarsError)


class Hundreds:
    "An Alpaca of many stocks; it refuses a question in which one of `bad` is named."

    def __init__(self, bad: tuple[str, ...] = ()):
        self.bad = bad

    def __call__(self, path: str, query: dict[str, str]) -> object:
        symbols, place = query["symbols"].split(","), int(query.get("page_token", 0))
        if set(symbols) & set(self.bad):
            return Answer({"message": "invalid symbol"}, 400)
        if "corporate" in path:
            return {
                "corporate_actions": {
                    "cash_dividends": [{"symbol": s, "ex_date": "2024-01-03", "rate": 1.0} for s in symbols[:1]]
                },
                "next_page_token": None,
            }
        rows = [(s, day) for s in symbols for day in sessions("XNYS", "2024-01-02", "2024-01-05")]
        found: dict[str, list[object]] = {}
        for symbol, day in rows[place : place + 70]:  # a page may end in the middle of a symbol
            found.setdefault(symbol, []).append(
                {"t": f"{day:%Y-%m-%d}T05:00:00Z", "o": 1, "h": 1, "l": 1, "c": 1, "v": 1}
            )
        return {"bars": found, "next_page_token": str(place + 70) if place + 70 < len(rows) else None}


def test_five_hundred_symbols_are_five_questions_and_their_pages(service: Loopback):
    service.say = Hundreds()
    symbols = [f"S{n:03d}" for n in range(500)]
    found = source_of(service).bars_many(symbols, "2024-01-02", "2024-01-05")
    assert list(found.bars) == symbols
    assert all(len(bars) == 4 for bars in found.bars.values())
    assert {symbol for symbol, bars in found.bars.items() if bars["dividend"].any()} == {
        "S000",
        "S100",
        "S200",
        "S300",
        "S400",
    }
    asked = [query for path, query in service.asked if path == "/v2/stocks/bars"]
    assert len([query for query in asked if "page_token" not in query]) == 5
    assert len(service.asked) == 5 * 6 + 5


def test_a_symbol_that_spoils_the_question_is_found_and_left_out(service: Loopback):
    service.say = Hundreds(("S007", "S250"))
    found = source_of(service).bars_many([f"S{n:03d}" for n in range(300)], "2024-01-02", "2024-01-05")
    assert sorted(found.failed) == ["S007", "S250"]
    assert len(found.bars) == 298
    assert all(isinstance(error, AlpacaSaidNoError) for error in found.failed.values())
