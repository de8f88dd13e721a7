"""Encoder -> decoder -> head."""
