"""The models of the benchmarks, in Django."""
