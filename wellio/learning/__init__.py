"""Predictions that learn from every event: pure calculation, with its store beside it."""
