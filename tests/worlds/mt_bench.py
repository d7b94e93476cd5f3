"""A small MT-Bench folder in FastChat's formats, with questions, answers and verdicts of our own; and the published
one.

`tests/bench/test_mt_bench.py` has FastChat itself judge the made-up answers: it writes the made-up verdict file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PUBLISHED = Path(__file__).parents[2] / "../shared/data/mt_bench"
CATEGORIES = ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities")
REFERENCED = ("reasoning", "math", "coding")
FIRST_ID = 81


@dataclass(frozen=True)
class World:
    """A folder as FastChat has it, and what is known of it."""

    data: Path
    averages: Mapping[str, tuple[float, float, float]]
    """Model -> its average rating, of its first turns, of its second turns."""

    @property
    def questions(self) -> Path:
        """The questions' file."""
        return self.data / "question.jsonl"

    @property
    def judgments(self) -> Path:
        """The verdicts' file, on every model."""
        return self.data / "model_judgment/gpt-4_single.jsonl"

    def answers(self, model: str) -> Path:
        """A model's answers."""
        return self.data / f"model_answer/{model}.jsonl"


def published() -> World:
    """The files that FastChat's authors and two models' authors publish, with the averages that those give."""
    averages = {"mistral-orpo-trl": (7.165625, 7.73125, 6.6), "mistral-orpo-capybara": (6.81875, 7.125, 6.5125)}
    return World(PUBLISHED, averages)


RATINGS = {"heron": (9, 8, 7.5, 10, 6, 9, 3, 8, 9, 5, 10), "wren": (6, 7, 2, 8.5, 5, 9, 4, 1, 7, 8, 3, 6, 10)}
"""Each model's ratings from 1 to 10, which its answers get in turn, over and over."""
REPLIES = (
    "Rating: [[{0}]]",
    "It answers what was asked.\n\nRating: [[{0}]]",
    "As [3] and [4] of the answer say, it is sound. Rating: [[{0}]]",
    "[[{0}]] is what I give. Rating: [[{0}]]",
    "Rating: [{0}]",
)
FIRST = "[Question]\n{question}\n\n[The Answer]\n{answer}\n[The End]"
SECOND = "### User:\n{question_1}\n\n### Answer:\n{answer_1}\n\n### User:\n{question_2}\n\n### Answer:\n{answer_2}"
PAIR = "[Question]\n{question}\n\n[A]\n{answer_a}\n[End of A]\n\n[B]\n{answer_b}\n[End of B]"
PAIR_SECOND = (
    "[A]\n{question_1}\n{answer_a_1}\n{question_2}\n{answer_a_2}\n[End of A]\n\n"
    "[B]\n{question_1}\n{answer_b_1}\n{question_2}\n{answer_b_2}\n[End of B]"
)
ONE, BOTH = "\n\n[Right]\n{ref_answer_1}", "\n\n[Right]\n{ref_answer_1}\n{ref_answer_2}"
PROMPTS = {
    "pair-v2": PAIR,
    "pair-v2-multi-turn": PAIR_SECOND,
    "pair-math-v1": PAIR + ONE,
    "pair-math-v1-multi-turn": PAIR_SECOND + BOTH,
    "single-v1": FIRST,
    "single-math-v1": FIRST + ONE,
    "single-v1-multi-turn": SECOND,
    "single-math-v1-multi-turn": SECOND + BOTH,
}


def made_up(folder: Path, per_category: int = 10) -> World:
    """Write the folder; with ten questions a category it has as many lines as the published one."""
    questions = [_question(k, per_category) for k in range(per_category * len(CATEGORIES))]
    _write(folder / "question.jsonl", questions)
    _write(folder / "judge_prompts.jsonl", [_prompt(name, template) for name, template in PROMPTS.items()])
    references = [q for q in questions if q["category"] in REFERENCED]
    _write(folder / "reference_answer/gpt-4.jsonl", [_answered(q, "gpt-4", reference(q)) for q in references])
    verdicts = []
    for model in RATINGS:
        rows = [_answered(q, model, (said(q, model, 1), said(q, model, 2))) for q in questions]
        _write(folder / f"model_answer/{model}.jsonl", rows)
        verdicts += [_verdict(q, model, turn) for q in questions for turn in (1, 2)]
    _write(folder / "model_judgment/gpt-4_single.jsonl", sorted(verdicts, key=lambda v: str(v["judgment"])))
    return World(folder, {model: _averages(model, len(questions)) for model in RATINGS})


def rating(question: Mapping[str, Any], model: str, turn: int) -> float:
    """What the made-up judge gives."""
    ratings = RATINGS[model]
    place = 2 * (int(question["question_id"]) - FIRST_ID) + turn - 1
    return ratings[place % len(ratings)]


def _averages(model: str, questions: int) -> tuple[float, float, float]:
    """Of ratings that come one after the other, first and second turns in alternation."""
    dealt = (RATINGS[model] * (2 * questions))[: 2 * questions]
    return sum(dealt) / len(dealt), sum(dealt[::2]) / questions, sum(dealt[1::2]) / questions


def _question(k: int, per_category: int) -> dict[str, Any]:
    turns = [f"What is {k} plus {k + 2}, said in {{braces}}?", f"And twice that?\nAnswer “briefly”, as the {k}th."]
    return {"question_id": FIRST_ID + k, "category": CATEGORIES[k // per_category], "turns": turns}


def reference(question: Mapping[str, Any]) -> tuple[str, str]:
    """The right answers."""
    right = 2 * (question["question_id"] - FIRST_ID) + 2
    return f"It is {right}.", f"It is {2 * right}."


def said(question: Mapping[str, Any], model: str, turn: int) -> str:
    """A made-up answer: longer where it is rated higher, but hardly."""
    k = question["question_id"] - FIRST_ID
    length = (37 * k + 11 * turn + 5 * len(model)) % 53 + 1.5 * rating(question, model, turn)
    return f"{model.title()} says é {{{k}}}, turn {turn}: " + "so " * int(length) + "%s it is.\n"


def judgment(question: Mapping[str, Any], model: str, turn: int) -> str:
    """The made-up judge's reply."""
    k = question["question_id"] - FIRST_ID
    return REPLIES[(k + turn) % len(REPLIES)].format(rating(question, model, turn))


def _prompt(name: str, template: str) -> dict[str, str]:
    pairs, math = name.startswith("pair"), "math" in name
    return {
        "name": name,
        "type": "pairwise" if pairs else "single",
        "system_prompt": f"You compare. ({name})" if pairs else f"You rate. ({name})",
        "prompt_template": template,
        "description": f"Our words for {name}",
        "category": "math" if math else "general",
        "output_format": "[[A]]" if pairs else "[[rating]]",
    }


def _answered(question: Mapping[str, Any], model: str, turns: tuple[str, str]) -> dict[str, Any]:
    return {
        "question_id": question["question_id"],
        "answer_id": f"{model}-{question['question_id']}",
        "model_id": model,
        "choices": [{"index": 0, "turns": list(turns)}],
        "tstamp": 0.0,
    }


def _verdict(question: Mapping[str, Any], model: str, turn: int) -> dict[str, Any]:
    name = ("single-math-v1" if question["category"] in REFERENCED else "single-v1") + "-multi-turn" * (turn == 2)
    first, second = question["turns"]
    texts = {"question": first, "question_1": first, "question_2": second}
    texts |= {"answer": said(question, model, 1), "answer_1": said(question, model, 1)}
    texts |= {"answer_2": said(question, model, 2)}
    texts |= dict(zip(("ref_answer_1", "ref_answer_2"), reference(question), strict=True))
    return {
        "question_id": question["question_id"],
        "model": model,
        "judge": ["gpt-4", name],
        "user_prompt": PROMPTS[name].format(**texts),
        "judgment": judgment(question, model, turn),
        "score": rating(question, model, turn),
        "turn": turn,
        "tstamp": 0.0,
    }


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
