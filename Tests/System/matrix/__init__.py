"""Measurements over emulated links: what `make matrix` runs."""
