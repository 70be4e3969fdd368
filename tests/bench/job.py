"""The daily job, without the engine's own seconds, against three plain papermill runs that are rendered, in one run.

    python tests/bench/job.py [folder with a settings.ini]

The plain notebooks import what a page imports, draw three figures and are turned into HTML by nbconvert.
Also measured: `trading --help` against `python -c "import pandas"`.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat

PLAIN = """
import backtrader, matplotlib, numpy, pandas, sqlalchemy, talib
import exchange_calendars
from trading_core import report
from trading_core.backtest import backtest
from trading_core.data import SimulatedBars
from trading_core.run import open_run
"""
FIGURE = """
import matplotlib.pyplot as plt
import numpy as np
fig, ax = plt.subplots()
ax.plot(np.sin(np.linspace(0, 20, 2000)))
ax.set_title("figure {n}")
plt.show()
"""
RUN = """
import sys, nbformat, papermill
from nbconvert import HTMLExporter
for n in range(3):
    papermill.execute_notebook(sys.argv[1], f"{sys.argv[2]}/{n}.ipynb", progress_bar=False)
    html, _ = HTMLExporter().from_notebook_node(nbformat.read(f"{sys.argv[2]}/{n}.ipynb", 4))
    open(f"{sys.argv[2]}/{n}.html", "w").write(html)
"""


def seconds(command: list[str], **options) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    return time.perf_counter() - began


def plain_notebook(path: Path) -> Path:
    cells = [nbformat.v4.new_code_cell(PLAIN), *(nbformat.v4.new_code_cell(FIGURE.format(n=n)) for n in range(3))]
    kernel = {"kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


def job_seconds(trading: str, folder: Path) -> tuple[float, float]:
    "The whole `trading run daily`, and the engine's part of it."
    whole = seconds([trading, "run", "daily", "--set", f"paths.outputs={folder}"])
    run = json.loads(max(folder.glob("*/run.json")).read_text())
    return whole, float(run["seconds"]["engine"])


def main() -> None:
    trading = str(Path(sys.executable).with_name("trading"))
    best = {"job": 1e9, "plain": 1e9, "help": 1e9, "pandas": 1e9}
    for _ in range(2):
        scratch = Path(tempfile.mkdtemp())
        notebook = plain_notebook(scratch / "plain.ipynb")
        best["plain"] = min(best["plain"], seconds([sys.executable, "-c", RUN, str(notebook), str(scratch)]))
        whole, engine = job_seconds(trading, scratch / "outputs")
        best["job"] = min(best["job"], whole - engine)
        print(f"job {whole:.1f} s, of which the engine {engine:.1f} s; three plain runs {best['plain']:.1f} s")
        shutil.rmtree(scratch)
    for _ in range(5):
        best["help"] = min(best["help"], seconds([trading, "--help"]))
        best["pandas"] = min(best["pandas"], seconds([sys.executable, "-c", "import pandas"]))
    print(f"job without engine against three plain runs: {best['job'] / best['plain']:.2f}")
    print(
        f"trading --help {best['help']:.2f} s against import pandas {best['pandas']:.2f} s: {best['help'] / best['pandas']:.2f}"
    )


if __name__ == "__main__":
    main()
