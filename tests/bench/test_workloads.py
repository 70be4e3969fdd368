"""The workloads as pytest-benchmark cases: `python -m pytest tests/bench/test_workloads.py -n 0 --benchmark-only`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import peers

pytest.importorskip("pytest_benchmark")

OURS = [name for name, line in peers.LINES.items() if not line.peer]


@pytest.mark.parametrize("name", OURS)
def test_a_workload(name: str, benchmark: Any) -> None:
    run = peers.LINES[name].make()
    run()
    benchmark.pedantic(run, rounds=3, iterations=1)
