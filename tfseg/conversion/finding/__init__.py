"""A raw data set on disk: its layout, and which mask belongs to which image in which split."""
