"""A raw data set -> records."""
