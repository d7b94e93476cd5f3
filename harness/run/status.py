"""How far runs are, read from the store and the ledger while they go on."""

from pathlib import Path

import pandas as pd

from harness.record.folder import RunFolder, find_run, read_plan
from harness.store.ledger import Ledger
from harness.store.store import Store


def all_runs(results: Path) -> pd.DataFrame:
    """A row per run: cells, stages, done."""
    store = Store(results / "store")
    rows = []
    for path in sorted((results / "runs").glob("*/plan.json")):
        plan = read_plan(RunFolder(path.parent))
        done = sum(store.has(i) for i in plan["stages"])
        rows.append({"run": path.parent.name, "cells": len(plan["cells"]), "stages": len(plan["stages"]), "done": done})
    return pd.DataFrame(rows, columns=["run", "cells", "stages", "done"])


def stages_of(results: Path, run: str) -> pd.DataFrame:
    """A row per stage of a run: its state, and the last line of its last failure."""
    store = Store(results / "store")
    plan = read_plan(find_run(results, run))
    with Ledger(store.ledger) as ledger:
        last = ledger.last_stage_runs(list(plan["stages"]))
    rows = []
    for stage_id, stage in plan["stages"].items():
        state, note = _state(store, stage_id), ""
        if state in ("waiting", "partial") and stage_id in last and last[stage_id].status == "failed":
            state, note = "failed", last[stage_id].error.strip().splitlines()[-1]
        rows.append(
            {"stage": stage_id[:12], "kind": stage["kind"], "title": stage["title"], "state": state, "note": note}
        )
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
    if not (store.partial / stage_id).exists():
        return "waiting"
    if store.building(stage_id):
        return "running"
    return "partial" if store.has_work(stage_id) else "waiting"
