"""Masks -> scores."""
