"""Compare two ways to train, with corrected p and with what the comparison could have seen.

    python examples/is_it_better.py

Prints a row per teacher and metric: KD against SFT with the interval of the difference, and a verdict. Then it says
whether a requirement holds, as a script would that must fail when a change makes students worse.
"""

from pathlib import Path

import harness

run = harness.run_recipe(harness.load_recipe(Path(__file__).with_name("tiny.yaml")))
compared = run.compare(baseline="method=sft")
for row in compared.rows:
    d = row.difference
    interval = f"{d.value:+.2f} [{d.low:+.2f}, {d.high:+.2f}]" if d and d.low is not None else "unknown"
    seen = f"{row.mde:.2f}" if row.mde is not None else "nothing"
    print(f"{row.group.title}, {row.metric.metric}: {interval}; could have seen {seen}: {row.verdict}")
print(*compared.table.notes, sep="\n")

requirement = "held_out_nll: not worse than 0.1"
print(requirement, "does not hold" if compared.broken(requirement) else "holds")
