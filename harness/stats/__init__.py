"""Intervals, paired tests, multiplicity, power: pure numpy and scipy, each explained in prose beside its code."""
