"""Rank teachers before any student is trained, then hold the ranks against what students achieved.

    python examples/which_teacher.py

Prints the leaderboard (each teacher's scores, with their intervals and ranks), then how well each score, and what one
would otherwise go by, predicts the students' scores.
"""

from pathlib import Path

import harness

recipe = harness.load_recipe(Path(__file__).with_name("tiny.yaml"))
board = harness.rank_teachers(recipe).teachers.board
print(board[["student", "teacher", "score", "value", "low", "high", "rank"]].to_string(index=False))

run = harness.run_recipe(recipe)
told = run.validate_teachers()
ranks = told[(told["statistic"] == "spearman") & (told["student"] == "mean")]
print(ranks[["outcome", "score", "baseline", "value", "low", "high", "n"]].to_string(index=False))
print("page:", run.write_teachers_page())
