"""Batches and a network -> a run directory."""
