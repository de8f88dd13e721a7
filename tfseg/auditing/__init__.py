"""What is likely to be wrong in a data set."""
