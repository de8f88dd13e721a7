"""Samples -> shards: encoded, noted in a journal, and kept where they have not changed."""
