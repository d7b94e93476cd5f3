"""An evaluation-first harness for distillation ablations."""

__version__ = "0.1.0"
