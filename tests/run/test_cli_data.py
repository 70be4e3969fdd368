"""`trading data` as people type it: fill a store, find what is damaged, mend it, and see the gaps."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from trading_core.cli import main
from trading_core.data import BarStore, SimulatedBars
from trading_core.data.opening import KINDS
from trading_core.data.store import own
from trading_core.data.yahoo import YahooBars, fetch
from trading_core.data.yahoo_loopback import YahooLoopback

SETTINGS = "[market]\nsymbols = AQVA, BTC/USD, MERL\nstart = 2024-01-02\nstore = bars\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "settings.ini").write_text(SETTINGS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["data", *arguments])
    heard = capsys.readouterr()
    return int(ended.value.code or 0), heard.out + heard.err


def test_a_store_is_filled_damaged_and_mended(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert said(capsys, "check") == said(capsys, "quality") == (0, "The store is empty. Fill it: trading data fetch\n")
    assert said(capsys, "coverage") == (0, "The store is empty. Fill it: trading data fetch\n")
    code, told = said(capsys, "fetch", "--end", "2024-06-28", "--json")
    first = json.loads(told)
    assert (code, first["requests"], first["symbols"], first["failed"]) == (0, 1, 3, {})
    assert json.loads(said(capsys, "fetch", "--end", "2024-06-28", "--json")[1])["requests"] == 0
    (file,) = (folder / "bars" / "1d").glob("*.parquet")
    data = bytearray(file.read_bytes())
    data[500] ^= 4
    file.write_bytes(data)
    code, told = said(capsys, "check")
    assert code == 1
    assert "another checksum" in told
    assert "`trading data repair` mends it." in told
    code, told = said(capsys, "--as-of", "2024-06-28")
    assert (code, "is damaged" in told, "Traceback" in told) == (2, True, False)
    code, told = said(capsys, "repair")
    assert code == 0
    assert f"{first['added']} bars of 3 symbols are to be fetched again" in told
    assert said(capsys, "check")[0] == 0
    again = json.loads(said(capsys, "fetch", "--end", "2024-06-28", "--json")[1])
    assert again["added"] == first["added"]
    assert said(capsys, "compact")[0] == 0
    assert said(capsys, "quality")[0] == 0
    rows = json.loads(said(capsys, "coverage", "--json")[1])
    names = ["AQVA", "BTC/USD", "MERL", "MKT"]  # the last one is what a run compares with
    assert [(row["symbol"], row["gaps"]) for row in rows] == [(name, 0) for name in names]


def test_a_universe_is_fetched_with_those_who_left(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "index.csv").write_text("symbol,start,end\nMERL,2020-01-01,2024-02-01\nAQVA,2019-01-01,2020-01-01\n")
    code, told = said(capsys, "fetch", "--universe", "index.csv", "--end", "2024-03-28")
    assert (code, told.startswith("1 request for 1 symbol brought")) == (0, True)
    (folder / "wrong.csv").write_text("symbol,start,end\nMERL,yesterday,\n")
    code, told = said(capsys, "fetch", "--universe", "wrong.csv")
    assert (code, "wrong.csv, line 2: 'yesterday' is no day" in told) == (2, True)


@pytest.mark.parametrize(
    ("content", "said_of_it"), [(None, "it cannot be read (No such file"), (b"\xff\xfe\x00", "no text")]
)
def test_a_universe_that_is_no_file_or_no_text_is_refused_with_a_sentence(
    capsys: pytest.CaptureFixture[str], folder: Path, content: bytes | None, said_of_it: str
) -> None:
    if content is not None:
        (folder / "odd.csv").write_bytes(content)
    code, told = said(capsys, "fetch", "--universe", "odd.csv")
    assert (code, "odd.csv: " in told, said_of_it in told) == (2, True, True)


def test_what_fails_is_told_and_the_rest_is_kept(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, told = said(capsys, "fetch", "--end", "2024-03-28", "--set", "market.symbols=MERL,MERLIN")
    assert code == 1
    assert "MERLIN" in told
    assert "Did you mean 'MERL'?" in told
    assert [row["symbol"] for row in json.loads(said(capsys, "coverage", "--json")[1])] == ["MERL"]


def test_without_a_folder_a_sentence_says_how_to_name_one(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "settings.ini").write_text("[market]\n", encoding="utf-8")
    for command in ("fetch", "check", "repair", "compact", "coverage", "quality"):
        code, told = said(capsys, command)
        assert (code, "--set market.store=bars" in told) == (2, True)


def test_bars_of_two_sources_are_kept_apart(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    said(capsys, "fetch", "--end", "2024-03-28")
    code, told = said(capsys, "check", "--set", "market.source=yahoo")
    assert (code, "holds bars of 'simulated'" in told) == (2, True)


@pytest.mark.parametrize("command", ["fetch", "coverage"])
@pytest.mark.parametrize(
    ("days", "why"),
    [
        (["--start", "now"], "'now' is no day"),
        (["--start", "NaT"], "'NaT' is no day"),
        (["--end", "2024-13-01"], "'2024-13-01' is no day"),
        (["--start", "2024"], "'2024' is no day"),
        (["--end", "05/03/2024"], "'05/03/2024' is no day"),
        (["--start", "2024-05-01", "--end", "2024-04-01"], "Let --end follow --start"),
        (["--start", "2090-01-02"], "Give an earlier --start"),
    ],
)
def test_days_that_are_none_are_refused_and_nothing_is_asked(
    capsys: pytest.CaptureFixture[str], folder: Path, command: str, days: list[str], why: str
) -> None:
    code, told = said(capsys, command, *days)
    assert (code, why in told) == (2, True)
    assert not (folder / "bars").exists()


def test_a_universe_without_a_member_in_these_days_is_refused(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "index.csv").write_text("symbol,start,end\nMERL,2020-01-01,2022-02-01\n")
    code, told = said(capsys, "fetch", "--universe", "index.csv")
    assert (code, "index.csv: nobody is a member in these days" in told) == (2, True)


@pytest.mark.parametrize("picture", ["nowhere/coverage.png", "coverage.xyz"])
def test_a_picture_that_cannot_be_written_is_refused_with_a_sentence(
    capsys: pytest.CaptureFixture[str], picture: str
) -> None:
    said(capsys, "fetch", "--end", "2024-01-31")
    code, told = said(capsys, "coverage", "--picture", picture)
    assert (code, f"--picture {picture} cannot be written" in told) == (2, True)


@pytest.mark.parametrize("known", ["now", "NaT", "2024", "yesterday"])
def test_a_moment_of_knowledge_that_is_none_is_refused_by_name(capsys: pytest.CaptureFixture[str], known: str) -> None:
    code, told = said(capsys, "--set", f"market.known={known}")
    assert (code, f"[market]: known needs a moment written as 2024-03-28T00:10, or nothing, but '{known}'" in told) == (
        2,
        True,
    )


def test_bars_that_were_learnt_under_a_fast_clock_are_looked_at_too(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    market = SimulatedBars(today="2024-07-01")
    bars = {symbol: market.bars(symbol, "2023-01-03") for symbol in ("MERL", "NEXQ")}
    before = datetime(2024, 7, 1, tzinfo=UTC)
    BarStore(folder / "bars", market, clock=lambda: before).add({"NEXQ": bars["NEXQ"]})
    bars["MERL"].iloc[100, :4] *= 100
    ahead = datetime.now(UTC) + timedelta(days=2)
    BarStore(folder / "bars", market, clock=lambda: ahead).add(bars)
    code, told = said(capsys, "quality", "--json")
    assert (code, {row["symbol"] for row in json.loads(told)}) == (1, {"MERL"})
    code, told = said(capsys, "quality", "--set", "market.known=2024-07-01T00:00")  # as an old run saw it
    assert (code, told) == (0, "1 symbol, nothing is wrong with the prices.\n")


def test_quality_is_asked_with_the_limits_of_the_settings(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    bars = SimulatedBars(today="2024-07-01").bars("MERL", "2023-01-03")
    BarStore(folder / "bars").add({"MERL": bars.drop(bars.index[50:80])})
    assert said(capsys, "quality")[0] == 1
    assert said(capsys, "quality", "--set", "market.allow_gaps=yes")[0] == 0


def test_a_lost_index_is_damage_that_repair_mends(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    said(capsys, "fetch", "--end", "2024-06-28")
    for file in (folder / "bars" / "1d").glob("index.*"):
        file.unlink()
    code, told = said(capsys, "check")
    assert (code, told.splitlines()) == (
        1, ["index.db: it is gone, and files of bars are there", "`trading data repair` mends it."],
    )  # fmt: skip
    assert said(capsys, "repair")[0] == 0
    assert said(capsys, "check") == (0, "All is as it was written.\n")


@pytest.fixture
def second(folder: Path) -> Path:
    "A store with the same prices as the first one, one of them in cents."
    market = SimulatedBars(today="2024-07-01")
    for name in ("bars", "second"):
        bars = {symbol: market.bars(symbol, "2024-01-02") for symbol in ("AQVA", "MERL")}
        if name == "second":
            bars["MERL"].loc[:, ["open", "high", "low", "close"]] *= 1.03
        BarStore(folder / name, market).add(bars)
        own(folder / name, market)
    return folder / "second"


def test_prices_are_compared_with_those_of_a_second_store(capsys: pytest.CaptureFixture[str], second: Path) -> None:
    assert said(capsys, "quality")[0] == 0
    code, told = said(capsys, "quality", "--against", "second", "--json")
    (row,) = json.loads(told)
    assert (code, row["symbol"], row["severity"], "second" in row["cure"]) == (1, "MERL", "fatal", True)
    assert said(capsys, "quality", "--against", "second", "--set", "quality.difference=0.05")[0] == 0
    assert said(capsys, "quality", "--against", "simulated")[0] == 0


def test_who_cannot_be_compared_is_told_and_nobody_at_all_is_refused(
    capsys: pytest.CaptureFixture[str], folder: Path, second: Path
) -> None:
    BarStore(folder / "bars").add({"LOST": SimulatedBars(today="2024-07-01").bars("NEXQ", "2024-01-02")})
    code, told = said(capsys, "quality", "--against", "second")
    assert (code, "LOST was not compared" in told) == (1, True)
    BarStore(folder / "third").add({"NEXQ": SimulatedBars(today="2024-07-01").bars("NEXQ", "2024-01-02")})
    own(folder / "third", SimulatedBars())
    code, told = said(capsys, "quality", "--against", "third")
    assert (code, "third has no bars of AQVA, LOST, MERL" in told) == (2, True)
    code, told = said(capsys, "quality", "--against", "yahho")
    assert (code, "Did you mean 'yahoo'?" in told) == (2, True)


def test_prices_are_compared_with_those_of_a_source_over_a_socket(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("yfinance").set_tz_cache_location(str(folder / "yahoo"))
    market = SimulatedBars(today="2024-07-01")
    there = {symbol: market.bars(symbol, "2024-01-02") for symbol in ("AQVA", "MERL")}
    here = there | {"MERL": there["MERL"] * [0.9, 0.9, 0.9, 0.9, 1.0]}
    BarStore(folder / "bars").add(here)
    with YahooLoopback(there, now="2024-07-01") as place:
        yahoo = partial(YahooBars, today="2024-07-01", fetch=partial(fetch, session=place.session(5.0)), pause=0.0)
        monkeypatch.setitem(KINDS, "yahoo", lambda wanted: yahoo(raw=wanted.raw))
        code, told = said(capsys, "quality", "--against", "yahoo", "--json")
    (row,) = json.loads(told)
    assert (code, row["symbol"], "yahoo" in row["cure"]) == (1, "MERL", True)
