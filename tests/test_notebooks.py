"""Every notebook runs from its first cell to its last, by nbdev's own runner; those of a floor share a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(path.name for path in (ROOT / "nbs").glob("*.ipynb"))
FLOORS = sorted({name[0] for name in NOTEBOOKS})  # 0 to 7, and t of the tour
PROGRAM = """
import gc, os, sys
gc.set_threshold(100_000, 20, 20)  # as `trading` has it
sys.modules["rfc3987_syntax"] = None  # jsonschema loads it for a second, for nothing
from nbdev.test import nbdev_test
folder, environment = os.getcwd(), dict(os.environ)
for notebook in sys.argv[1:]:
    print("NOTEBOOK", notebook, flush=True)
    nbdev_test(notebook, n_workers=0)
    os.chdir(folder)  # what a notebook left behind is not there for the next one
    os.environ.clear()
    os.environ.update(environment)
    if trials := sys.modules.get("trading_core.backtest.trials"):
        trials.RECORDER.flush()
        trials.RECORDER.kept.clear()
    gc.freeze()  # each notebook's shell is kept to the end, where each would search all that there is for garbage
"""


@pytest.mark.parametrize("floor", FLOORS)
def test_the_notebooks_of_a_floor_run_to_their_end(floor: str):
    notebooks = [name for name in NOTEBOOKS if name[0] == floor]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *(f"nbs/{name}" for name in notebooks)],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("NOTEBOOK") == done.stdout.count("Success.") == len(notebooks)
