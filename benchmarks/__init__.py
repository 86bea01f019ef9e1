"""Benchmarks: dbtestcase beside what people would otherwise use, in one run, as ratios."""
