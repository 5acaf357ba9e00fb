"""Adaptation of a run to the marks of another clinic, from few images."""
