"""Many symbols at once: bounds, order, failures, pace; the waits of one question. Network: this machine's loopback."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_core.data.alpaca_bars import AlpacaBars, NoKeysError
from trading_core.data.fetching import IN_A_ROW, NothingFetchedError, fetch_bars
from trading_core.data.loopback import Answer, Loopback
from trading_core.data.panel import UnknownSymbolError
from trading_core.data.patience import (
    LONGEST,
    Line,
    Manners,
    NoAnswerError,
    Pace,
    SaidNoError,
    SourceError,
    patiently,
    pauses,
)
from trading_core.data.simulated import SimulatedBars
from trading_core.data.sources import NoBarsError
from trading_core.data.store import BarStore
from trading_core.errors import ConfigError
from trading_core.sessions import sessions

DAYS = sessions("XNYS", "2024-01-02", "2024-01-31")
SYMBOLS = [f"S{n:03d}" for n in range(60)]


@dataclass(frozen=True)
class OneByOne(AlpacaBars):
    "Alpaca, asked for each symbol by itself."

    bars_many: ClassVar[Any] = None

    def bars(self, symbol: str, *days: Any, **more: Any) -> pd.DataFrame:
        found = super().bars_many([symbol], *days, **more)
        if symbol in found.failed:
            raise found.failed[symbol]
        return found.bars[symbol]


class Vendor:
    "An Alpaca that answers after a moment; what is `special` is told for a symbol."

    def __init__(self, after: float = 0.0):
        self.after, self.special = after, dict[str, Any]()

    def __call__(self, path: str, query: dict[str, str]) -> Any:
        symbol = query["symbols"]
        if "corporate" in path:
            return {"corporate_actions": {}, "next_page_token": None}
        if symbol in self.special:
            return self.special[symbol]
        rows = [{"t": f"{day:%Y-%m-%d}T05:00:00Z", "o": 1, "h": 1, "l": 1, "c": 1, "v": 1} for day in DAYS]
        return Answer({"bars": {symbol: rows}, "next_page_token": None}, after=self.after)


@pytest.fixture
def vendor() -> Iterator[Callable[..., tuple[Loopback, Vendor, AlpacaBars]]]:
    running: list[Loopback] = []

    def make(after: float = 0.0, **manners: float) -> tuple[Loopback, Vendor, AlpacaBars]:
        say = Vendor(after)
        server = Loopback(say).start()
        running.append(server)
        asking = Manners(**({"attempts": 2, "pause": 0.001, "timeout": 5.0} | manners))
        return server, say, OneByOne("key", "secret", server.url, today="2024-02-01", manners=asking)

    yield make
    for server in running:
        server.close()


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_no_more_questions_are_in_the_air_than_allowed(vendor: Any, workers: int):
    server, _, source = vendor(0.01)
    fetched = fetch_bars(source, SYMBOLS, workers=workers)
    assert list(fetched.bars) == SYMBOLS
    assert not fetched.failed
    assert server.most_at_once <= workers
    assert workers == 1 or server.most_at_once > 1


def test_symbols_that_fail_are_named_and_the_others_are_there(vendor: Any):
    _, say, source = vendor()
    say.special = {
        "S003": {"bars": {}, "next_page_token": None},
        "S010": Answer("<html>Bad Gateway</html>", 502),
        "S020": Answer({"message": "invalid symbol: S020"}, 400),
        "S030": Answer({"bars": {"S030": []}}, cut=5),
        "S040": {
            "bars": {"S040": [{"t": "2024-01-02T05:00:00Z", "o": 1, "h": 0.5, "l": 1, "c": 1, "v": 1}]},
            "next_page_token": None,
        },
    }
    fetched = fetch_bars(source, SYMBOLS, workers=6)
    assert list(fetched.failed) == list(say.special)
    assert len(fetched.bars) == 55
    kinds = [type(error).__name__ for error in fetched.failed.values()]
    assert kinds == ["NoBarsError", "SourceError", "AlpacaSaidNoError", "SourceError", "BadBarsError"]
    assert str(fetched).startswith("55 of 60 symbols were fetched.\nS003: Alpaca has no bars of S003")


def test_a_symbol_asked_for_twice_is_fetched_once(vendor: Any):
    server, _, source = vendor()
    assert list(fetch_bars(source, ["S001", "S000", "S001"]).bars) == ["S001", "S000"]
    assert sum(path == "/v2/stocks/bars" for path, _ in server.asked) == 2


def test_the_pace_holds_for_all_threads_together(vendor: Any):
    server, _, source = vendor()
    source.line.pace = Pace(20, seconds=0.5)
    began, moments = time.monotonic(), []
    say = server.say
    server.say = lambda path, query: moments.append(time.monotonic() - began) or say(path, query)
    fetched = fetch_bars(source, SYMBOLS[:30], workers=8)  # 60 questions, 20 in any half second
    assert len(fetched.bars) == 30
    assert time.monotonic() - began >= 0.95
    assert max(b - a for a, b in zip(moments, moments[20:], strict=False)) >= 0.4


def test_a_source_that_is_down_is_left_in_peace(vendor: Any):
    server, _, source = vendor()
    server.say = lambda path, query: Answer("<html>maintenance</html>", 503)
    fetched = fetch_bars(source, SYMBOLS, workers=4)
    assert not fetched.bars
    assert list(fetched.failed) == SYMBOLS
    asked = [error for error in fetched.failed.values() if not isinstance(error, NothingFetchedError)]
    assert IN_A_ROW <= len(asked) <= IN_A_ROW + 4
    assert "HTTP 503" in str(fetched.failed["S059"])
    assert len(server.asked) <= 2 * (IN_A_ROW + 4)


def test_a_bad_minute_in_the_middle_does_not_end_it(vendor: Any):
    _, say, source = vendor()
    say.special = {symbol: Answer("", 503) for symbol in SYMBOLS[20:26]}
    fetched = fetch_bars(source, SYMBOLS, workers=1)
    assert list(fetched.failed) == SYMBOLS[20:26]


def test_a_missing_key_is_an_error_at_once(vendor: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ALPACA_API_KEY", raising=False)
    server, _, _ = vendor()
    with pytest.raises(NoKeysError):
        fetch_bars(OneByOne(url=server.url, today="2024-02-01"), SYMBOLS)
    assert server.asked == []
    with pytest.raises(ConfigError, match="workers=0"):
        fetch_bars(AlpacaBars(), SYMBOLS, workers=0)


def test_a_source_of_one_method_can_be_asked_for_many():
    class Mine:
        def bars(self, symbol: str, start: Any = None, end: Any = None) -> pd.DataFrame:
            if symbol == "S001":
                raise ZeroDivisionError("a slip of its author's")
            return pd.DataFrame({"close": [1.0]}, DAYS[:1])

    fetched = fetch_bars(Mine(), SYMBOLS[:3])
    assert list(fetched.bars) == ["S000", "S002"]
    assert isinstance(fetched.failed["S001"], ZeroDivisionError)


def test_one_text_is_one_symbol_and_not_its_letters():
    class Mine:
        def bars(self, symbol: str, start: Any = None, end: Any = None) -> pd.DataFrame:
            return pd.DataFrame({"close": [1.0]}, DAYS[:1])

    assert list(fetch_bars(Mine(), "ACME").bars) == ["ACME"]


def test_an_interruption_ends_it_and_waits_for_what_is_in_the_air(vendor: Any):
    class Stopped:
        def bars(self, symbol: str, start: Any = None, end: Any = None) -> pd.DataFrame:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_bars(Stopped(), SYMBOLS, workers=2)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fetch")]


def test_the_progress_bar_is_silent_off_a_terminal(vendor: Any, capsys: pytest.CaptureFixture[str]):
    _, _, source = vendor()
    fetch_bars(source, SYMBOLS[:5])
    assert capsys.readouterr().err == ""
    fetch_bars(source, SYMBOLS[:5], progress=True)
    assert capsys.readouterr().out == ""


@given(st.integers(1, 60), st.floats(0, 10), st.floats(0, 1), st.one_of(st.none(), st.floats(-5, 1e6)))
@settings(max_examples=300, deadline=None)
def test_a_pause_is_never_negative_and_never_longer_than_the_bound(
    attempt: int, first: float, lot: float, asked: float | None
):
    assert 0 <= pauses(attempt, first, lot, asked) <= 1.5 * LONGEST + first


def test_pauses_differ_by_lot_so_that_not_all_come_back_together():
    rests: list[float] = []

    def never() -> None:
        raise NoAnswerError("busy")

    lots = iter([0.0, 0.5, 1.0, 1.0])
    with pytest.raises(SourceError, match="4 attempts"):
        patiently(never, "here", "SPY", attempts=4, sleep=rests.append, lot=lambda: next(lots))
    assert rests == [0.5, 2.0, 6.0]


@pytest.mark.parametrize(
    ("headers", "waited"),
    [
        ({"Retry-After": "2"}, 2.0),
        ({"Retry-After": "86400"}, 0.5),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.5),
    ],
)
def test_the_services_own_wait_counts_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], waited: float
):
    rests: list[float] = []
    monkeypatch.setattr(
        "trading_core.data.patience.patiently.__kwdefaults__",
        patiently.__kwdefaults__ | {"sleep": rests.append, "lot": lambda: 0.0},
    )
    with Loopback(lambda path, query: {}) as server:
        server.next = [Answer({"message": "slow down"}, 429, headers)]
        assert Line("here", server.url, {}, Manners(pause=1.0)).get("/", {}, "SPY") == {}
    assert rests == [pytest.approx(waited)]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer({"message": "no"}, 422), SaidNoError),
        (Answer({"msg": "no"}, 400), SaidNoError),
        (Answer("<html>no</html>", 404), SourceError),
        (Answer("7"), SourceError),
        (Answer(""), SourceError),
        (Answer({}, 503), SourceError),
        (Answer({"a": "b" * 1000}, cut=50), SourceError),
    ],
)
def test_an_answer_is_a_yes_a_no_or_nothing(answer: Answer, kind: type[Exception]):
    with Loopback(lambda path, query: answer) as server:
        line = Line("here", server.url, {"Key": "hush-hush"}, Manners(attempts=2, pause=0.0, timeout=1.0))
        with pytest.raises(kind) as failed:
            line.get("/bars", {"symbol": "SPY"}, "SPY")
        assert len(server.asked) == (1 if kind is SaidNoError else 2)
    assert "hush-hush" not in str(failed.value) + repr(failed.value)
    assert "127.0.0.1" not in str(failed.value)


def test_nobody_at_home_is_said_in_a_sentence_and_errors_travel_between_processes():
    with Loopback(lambda path, query: {}) as server:
        url = server.url
    line = Line("here", url, {}, Manners(attempts=2, pause=0.0, timeout=0.5))
    with pytest.raises(SourceError, match=r"the line broke") as failed:
        line.get("/", {}, "SPY")
    assert str(pickle.loads(pickle.dumps(failed.value))) == str(failed.value)
    assert pickle.loads(pickle.dumps(Pace(5))).per_minute == 5


def test_a_closed_line_opens_itself_again():
    with Loopback(lambda path, query: {"n": 1}) as server:
        line = Line("here", server.url, {}, Manners())
        assert line.get("/", {}, "SPY") == {"n": 1}
        line.close()
        line.close()
        assert line.get("/", {}, "SPY") == {"n": 1}
        line.close()


def test_no_bars_is_not_taken_for_no_answer():
    def nothing() -> None:
        raise NoBarsError("here", "SPY", "at all")

    with pytest.raises(NoBarsError):
        patiently(nothing, "here", "SPY", pause=0.0)


def test_a_store_answers_for_many_symbols_as_a_source_does(tmp_path):
    market = SimulatedBars(today="2024-03-01")
    known, other = market.symbols()[:2]
    store = BarStore(tmp_path / "bars", market)
    found = fetch_bars(store, [known, "NOBODY", other], "2024-01-02", "2024-02-01")
    assert list(found.bars) == [known, other]
    assert list(found.failed) == ["NOBODY"]
    assert isinstance(found.failed["NOBODY"], UnknownSymbolError)
    kept = fetch_bars(BarStore(tmp_path / "bars"), [known, "NOBODY"], "2024-01-02", "2024-02-01")
    assert kept.bars[known].equals(found.bars[known])
    assert isinstance(kept.failed["NOBODY"], NoBarsError)
    assert list(fetch_bars(store, known, "2024-01-02", "2024-02-01").bars) == [known]
