"""From a recipe's cells to the graph of stages, its execution, and the run folder."""
