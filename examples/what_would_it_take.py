"""Ask what a sweep would take before it runs, for several sizes of the sweep.

    python examples/what_would_it_take.py

Prints, for one to four seeds, how many stages are asked for, how many there are when shared ones count once, how many
are still to run, the time that stages like these took here, and what judges would cost (nothing: no model judges).
"""

from pathlib import Path

import harness

RECIPE = Path(__file__).with_name("tiny.yaml")

for seeds in (1, 2, 3, 4):
    sweep = harness.load_recipe(RECIPE, {"axes.seed": list(range(seeds)), "seed": "$seed"})
    forecast = harness.plan_recipe(sweep)
    total = forecast.stages.iloc[-1]
    counts = f"{total['asked']} stages asked, {total['unique']} unique, {total['to run']} to run"
    unknown = " and what is not known yet" if forecast.timing.unknown else ""
    print(f"{seeds} seed(s): {counts}; {forecast.seconds(jobs=2):.0f} s{unknown}; USD {forecast.usd}")
