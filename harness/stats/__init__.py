"""Intervals, paired tests, multiplicity, power: pure numpy and scipy, no files. Each statistic is explained beside its code."""
