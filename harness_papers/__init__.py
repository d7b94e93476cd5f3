"""The papers' published numbers, and the same code run on them that is run on ours."""
