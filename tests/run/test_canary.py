"""Keys are canaries: put false ones into the environment, run everything, and look for them in all that was left behind."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from trading_core.data import SimulatedBars, load_panel
from trading_core.execution.venue import ManualClock, PanelMarket, PaperVenue
from trading_core.execution.venue.server import VenueServer
from trading_core.ledger import Ledger

TRADING = [sys.executable, "-c", "from trading_core.cli import main; main()"]
KEY, SECRET, PASSWORD = "PKCANARY7Q2X5L", "s3cretCANARYx9f4h2k8", "canaryPassw0rdz"
CANARIES = {"key": KEY, "secret": SECRET, "password of the database": PASSWORD}
SETTINGS = """
[market]
symbols = AQVA, AXOR, BTC/USD
start = 2023-01-03
[strategies.equity]
class = EquityReversal
share = 0.5
"""


def spellings(text: str) -> set[bytes]:
    "How a careless program may write `text` down."
    plain = text.encode()
    pair = f"{KEY}:{SECRET}".encode()
    return {plain, plain[::-1], base64.b64encode(plain).rstrip(b"="), plain.hex().encode(), base64.b64encode(pair)}


def found_in(content: bytes) -> list[str]:
    return [name for name, text in CANARIES.items() if any(form in content for form in spellings(text))]


def left_behind(folder: Path) -> Iterator[tuple[str, bytes]]:
    "Every file below `folder`, and what is packed inside of it."
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".env"):
        content = path.read_bytes()
        yield str(path.relative_to(folder)), content
        if path.suffix == ".gz":
            yield f"{path.name}, unpacked", zlib.decompress(content, 47)


def environment(**more: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("TRADING_", "ALPACA_"))}
    return ours | {"ALPACA_API_KEY": KEY, "ALPACA_SECRET_KEY": SECRET, "TRADING_DEBUG": "1"} | more


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*TRADING, *arguments], cwd=folder, env=environment(**more), capture_output=True, timeout=180, check=False
    )


@pytest.fixture
def house(tmp_path: Path) -> Path:
    (tmp_path / "settings.ini").write_text(SETTINGS, encoding="utf-8")
    return tmp_path


def checked(done: subprocess.CompletedProcess[bytes], folder: Path) -> None:
    "Neither what was printed nor any file may hold a canary."
    assert not found_in(done.stdout + done.stderr), "printed"
    leaks = {name: leak for name, content in left_behind(folder) if (leak := found_in(content))}
    assert not leaks


def test_the_search_would_find_a_key_however_it_was_written_down(tmp_path: Path):
    for number, form in enumerate(sorted(spellings(SECRET))):
        (tmp_path / f"leak-{number}.txt").write_bytes(b"before " + form + b" after")
    leaks = [name for name, content in left_behind(tmp_path) if found_in(content)]
    assert len(leaks) == len(spellings(SECRET))


def test_a_daily_job_at_a_venue_works_by_settings_alone_and_leaves_no_key_in_any_file_or_on_the_screen(house: Path):
    bars = SimulatedBars(seed=7)
    panel = load_panel(bars, ["AQVA", "AXOR", "BTC/USD"], "2024-01-02", "2024-03-15")
    clock = ManualClock("2024-03-09 00:10+00:00")
    venue = PaperVenue(PanelMarket(panel), clock=clock, key=KEY, secret=SECRET)
    with VenueServer(venue) as server:
        done = run(
            house, "run", "daily", "--as-of", "2024-03-08", "--set", f"execution.url={server.url}",
            TRADING_EXECUTION__EXECUTOR="alpaca",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    (record,) = house.glob("outputs/*/run.json")
    assert json.loads(record.read_text())["status"] == "done"
    assert len(list(house.glob("outputs/*/*.html"))) >= 4
    with Ledger(house / "outputs" / "ledger.db") as ledger:
        ours = ledger.orders()
    assert set(ours["client_id"]) == set(venue.by_client) != set()
    assert found_in(SECRET.encode())
    checked(done, house)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run", "daily", "--as-of", "2024-03-08", "--set", "execution.executor=alpaca",
          "--set", "execution.url=http://127.0.0.1:9", "--set", "execution.timeout=2", "--set", "jobs.daily=trade"), b""),
        (("run", "daily", "--set", "market.sorce=csv"), b"sorce"),
        (("positions", "--json"), b""),
        (("backtest", "--strategy", "NoSuchThing"), b"NoSuchThing"),
    ],
    ids=["a venue that is not there", "a slip in a setting", "a question", "a strategy that is not there"],
)  # fmt: skip
def test_no_error_tells_a_key(house: Path, arguments: tuple[str, ...], sentence: bytes):
    done = run(house, *arguments)
    assert sentence in done.stdout + done.stderr
    checked(done, house)


def test_a_database_that_cannot_be_reached_is_named_without_its_password(house: Path):
    url = f"postgresql://trader:{PASSWORD}@127.0.0.1:9/books"
    done = run(house, "positions", TRADING_LEDGER__DATABASE_URL=url)
    assert done.returncode != 0
    assert done.stderr.strip()
    checked(done, house)


def test_keys_in_a_dot_env_stay_there(house: Path):
    (house / ".env").write_text(f"ALPACA_API_KEY={KEY}\nALPACA_SECRET_KEY={SECRET}\n", encoding="utf-8")
    done = run(house, "run", "daily", "--as-of", "2024-03-08", "--dry-run", "--set", "jobs.daily=trade")
    assert done.returncode == 0, done.stderr.decode()
    checked(done, house)
