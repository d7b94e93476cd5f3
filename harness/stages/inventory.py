"""Which models the store holds."""

from harness.core.canonical import Json
from harness.store.store import RECORD, Store

_MAKE_MODELS = {
    "import_model": "",
    "pocket_model": "",
    "template": "",
    "upcycle": "",
    "train": "model",
    "select": "model",
    "average": "model",
    "command": "model",
}


def stored(store: Store) -> list[tuple[str, dict[str, Json]]]:
    """The Hugging Face folders that stages have made: place among the artifacts (`ID/PART`), and a row for readers."""
    rows = []
    for path in sorted(store.artifacts.glob(f"*/{RECORD}")):
        record = store.record(path.parent.name)
        kind = record["identity"]["kind"]
        if kind in _MAKE_MODELS:
            folder = path.parent / _MAKE_MODELS[kind]
            if not any(folder.glob("*.safetensors")):
                continue  # evicted
            size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
            title = str(record["provenance"].get("title", ""))
            row = {"reference": f"path:{folder}", "where": title, "size_mb": round(size / 2**20, 1)}
            rows.append((str(folder.relative_to(store.artifacts)), row))
    return rows
