"""What conversion writes and the pipeline reads: labels, manifest, records."""
