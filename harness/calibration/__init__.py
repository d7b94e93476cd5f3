"""Compare judges with recorded verdicts."""
