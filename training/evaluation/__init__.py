"""Evaluation of runs: errors, tables and comparisons."""
