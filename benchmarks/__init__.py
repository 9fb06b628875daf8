"""Measurements: they print, write JSON under ``benchmarks/results/``, and assert nothing."""
