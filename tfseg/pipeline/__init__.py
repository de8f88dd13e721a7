"""Records -> batches of bytes."""
