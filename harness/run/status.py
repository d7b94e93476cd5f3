"""How far runs are, read from the store and the ledger while they go on."""

from pathlib import Path

import pandas as pd

from harness.record.folder import RunFolder, find_run, read_plan
from harness.record.stages import named_stages, stage_ids
from harness.store.ledger import Ledger
from harness.store.store import Store


def all_runs(results: Path) -> pd.DataFrame:
    """A row per run: cells, stages, done."""
    store = Store(results / "store")
    rows = []
    for path in sorted((results / "runs").glob("*/plan.json")):
        cells, stages = read_plan(RunFolder(path.parent))["cells"], stage_ids(path.parent)
        done = sum(map(store.has, stages))
        rows.append({"run": path.parent.name, "cells": len(cells), "stages": len(stages), "done": done})
    return pd.DataFrame(rows, columns=["run", "cells", "stages", "done"])


def stages_of(results: Path, run: str) -> pd.DataFrame:
    """A row per stage of a run: its state, and the last line of its last failure."""
    store = Store(results / "store")
    stages = named_stages(find_run(results, run).path)
    with Ledger(store.ledger) as ledger:
        failures = ledger.failures()
    rows = []
    for stage, kind, title in stages:
        state, note = _state(store, stage), ""
        if stage in failures and state in ("waiting", "partial"):
            state, note = "failed", failures[stage].strip().splitlines()[-1]
        rows.append((stage[:12], kind, title, state, note))
    return pd.DataFrame(rows, columns=["stage", "kind", "title", "state", "note"])


def possibly_paid_twice(store: Store) -> str:
    """A line on the judge calls that were under way when their process was killed; empty if there are none."""
    if not store.ledger.exists():
        return ""
    with Ledger(store.ledger) as ledger:
        calls = ledger.interrupted()
    if not calls:
        return ""
    times = f"{calls[0].asked_at} to {calls[-1].asked_at}"
    return f"{len(calls)} judge call(s) were under way when a run was killed ({times}): possibly paid twice"


def _state(store: Store, stage_id: str) -> str:
    if store.has(stage_id):
        return "done"
    if not store.begun(stage_id):
        return "waiting"
    if store.building(stage_id):
        return "running"
    return "partial" if store.has_work(stage_id) else "waiting"
