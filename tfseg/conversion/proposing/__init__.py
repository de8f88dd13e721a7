"""A label map for a data set that brings none, by what its ground truth holds."""
