"""Masks over HTTP and on a web page."""
