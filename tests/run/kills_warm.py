"""Loaded once by the process that children are forked from: an evening's work, so that no child computes a calendar again.

Its ledger and its venue are gone when this has been loaded; a child makes its own engine, connection and lock.
"""

import gc
from pathlib import Path
from tempfile import TemporaryDirectory

from kills import begun

with TemporaryDirectory() as folder:
    begun(str(Path(folder) / "ledger.db"))
    begun(str(Path(folder) / "hours.db"), "hours")

gc.collect()
gc.freeze()  # a child that collects what it was given would copy all of it
