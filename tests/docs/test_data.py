"""Each row of the table of schemas is read as the table says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.data.schemas import ANSWERS, QUESTIONS, TURNS, read_row

TEXT = (Path(__file__).parents[2] / "docs/data.md").read_text()
ROWS = re.findall(r"^\| (.+?) \| `(\{.+?\})` \| (.+?) \|$", TEXT, re.MULTILINE)


def shown(message: dict[str, Any]) -> str:
    role = message["role"] if message.get("train", True) else f"{message['role']} (read only)"
    return f"{role} `{json.dumps(message['content'])[1:-1]}`"


@pytest.mark.parametrize(("schema", "row", "conversation"), ROWS)
def test_a_row_is_read_as_the_table_says(schema: str, row: str, conversation: str) -> None:
    assert " ".join(map(shown, read_row(json.loads(row)).messages)) == conversation, schema


def test_every_column_of_turns_questions_and_answers_is_in_the_page() -> None:
    assert len(ROWS) == sum(line.startswith("| ") for line in TEXT.splitlines()) - 1
    assert [name for name in (*TURNS, *QUESTIONS, *ANSWERS) if name not in TEXT] == []
