"""The forms of verdicts, one module each."""
