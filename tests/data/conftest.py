"""Fixtures of the data floor: small bars, small files, and a Yahoo that lives on this machine."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
import requests

os.environ.setdefault("YF_DISABLE_CURL_CFFI", "1")  # before yfinance is imported: plain requests can be rerouted


def steady_bars(days: pd.DatetimeIndex, price: float = 10.0) -> pd.DataFrame:
    "Bars that rise by a cent a day."
    close = price + 0.01 * np.arange(len(days))
    table = {"open": close - 0.005, "high": close + 0.02, "low": close - 0.02, "close": close, "volume": 1000.0}
    return pd.DataFrame(table, days)


@pytest.fixture
def steady() -> Callable[..., pd.DataFrame]:
    return steady_bars


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    "Write a small file and say where it is."

    def make(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode())
        return path

    return make


class FakeYahoo:
    "Answers by symbol, (status, body) each; the last one is repeated. Everything asked is remembered."

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, bytes]]] = {}
        self.asked: list[str] = []
        self.session = requests.Session()

    def chart(self, symbol: str, body: dict[str, Any], status: int = 200) -> None:
        self.answers.setdefault(symbol, []).append((status, json.dumps(body).encode()))

    def fail(self, symbol: str, status: int, body: bytes = b"Too Many Requests") -> None:
        self.answers.setdefault(symbol, []).append((status, body))

    def answer(self, path: str) -> tuple[int, bytes]:
        self.asked.append(path)
        parts = urlsplit(path).path
        if "getcrumb" in parts:
            return 200, b"crumb"
        if "/chart/" in parts:
            answers = self.answers.get(parts.rsplit("/", 1)[1], [])
            if answers:
                return answers.pop(0) if len(answers) > 1 else answers[0]
        error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
        return 404, json.dumps({"chart": {"result": None, "error": error}}).encode()


class Reroute(requests.adapters.HTTPAdapter):
    "Sends every request to one port of this machine, whatever host it names."

    def __init__(self, port: int):
        super().__init__()
        self.port = port

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        parts = urlsplit(str(request.url))
        request.url = f"http://127.0.0.1:{self.port}{parts.path}?{parts.query}"
        return super().send(request, *args, **options)


@pytest.fixture
def yahoo_server(tmp_path: Path) -> Iterator[FakeYahoo]:
    yfinance = pytest.importorskip("yfinance")
    yfinance.set_tz_cache_location(str(tmp_path / "yahoo"))
    fake = FakeYahoo()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = fake.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    for scheme in ("https://", "http://"):
        fake.session.mount(scheme, Reroute(server.server_port))
    yield fake
    fake.session.close()
    server.shutdown()
    server.server_close()
    thread.join()
