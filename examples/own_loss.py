"""Train with a loss of your own, the plug-in examples/focal.py.

    python examples/own_loss.py

Prints the curve of the loss for two seeds. `harness run RECIPE --plugins examples/focal.py` does the same for a recipe
with the step `focal`.
"""

from pathlib import Path

import harness

student = "pocket:llama?layers=1&width=32&heads=2&seed=1"
recipe = harness.load_recipe(
    {
        "name": "focal",
        "student": student,
        "axes": {"seed": [0, 1]},
        "seed": "$seed",
        "data": {"train": {"pocket": {"examples": 64, "seed": 3}}},
        "train": [{"focal": {"gamma": 1.0, "max_steps": 3, "batch_size": 16}}],
        "evaluate": [{"pocket": {"questions": 8}}],
    },
    plugins=[Path(__file__).with_name("focal.py")],
)
curves = harness.run_recipe(recipe).curves
print(curves[curves["metric"] == "loss"].to_string(index=False))
