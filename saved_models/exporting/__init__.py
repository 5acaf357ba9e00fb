"""Runs as SavedModels and as files of other runtimes."""
