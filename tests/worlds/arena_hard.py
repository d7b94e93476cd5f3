"""A small Arena-Hard folder in the layout in which v0.1 is shared, with prompts and answers of our own; and the
published one."""

import json
import lzma
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PUBLISHED = Path(__file__).parents[2] / "../shared/data/arena_hard"
BASELINE = "gpt-4-0314"


@dataclass(frozen=True)
class World:
    """A folder of Arena-Hard's data."""

    data: Path
    questions: int

    def prompts(self) -> dict[str, str]:
        """The prompts by question."""
        lines = (self.data / "question.jsonl").read_text(encoding="utf-8").splitlines()
        return {row["uid"]: row["prompt"] for row in map(json.loads, lines)}

    def baseline(self) -> dict[str, str]:
        """The baseline's answers by question."""
        text = lzma.decompress((self.data / f"{BASELINE}.model_answer.jsonl.xz").read_bytes()).decode()
        return {row["uid"]: row["messages"][-1]["content"]["answer"] for row in map(json.loads, text.split("\n")[:-1])}


def published() -> World:
    """The 500 prompts, and their answers by GPT-4."""
    return World(PUBLISHED, 500)


def made_up(folder: Path, questions: int = 12) -> World:
    """Write the folder."""
    folder.mkdir(parents=True)
    asked, said = [], []
    for k in range(questions):
        prompt, answer = f"Prove {k} < {{{k + 1}}}.\n“Briefly”", f"By é {{}} %s induction over {k}.\nSo it is."
        asked.append({"uid": f"{k:032x}", "category": "arena-hard-v0.1", "cluster": f"Order {k % 3}", "prompt": prompt})
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": {"answer": answer}}]
        said.append({"uid": f"{k:032x}", "ans_id": f"a{k}", "model": BASELINE, "messages": messages, "tstamp": 0.0})
    (folder / "question.jsonl").write_text(_lines(asked), encoding="utf-8")
    (folder / f"{BASELINE}.model_answer.jsonl.xz").write_bytes(lzma.compress(_lines(said).encode()))
    return World(folder, questions)


def _lines(rows: Sequence[Mapping[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
