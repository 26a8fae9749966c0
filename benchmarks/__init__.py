"""Measurements, each beside its yardstick, all in one run: ``python -m benchmarks``."""
