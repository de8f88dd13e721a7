"""A run or a model and records -> scores, comparison, report."""
