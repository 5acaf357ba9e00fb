"""Dealt splits: which patient is in which part, written down once and kept."""
