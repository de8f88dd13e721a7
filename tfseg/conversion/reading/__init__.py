"""One image and its ground truth: files as arrays, and what is seen in them."""
