"""A small city to try everything on."""
