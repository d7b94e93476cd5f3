"""Judges held against recorded verdicts."""
