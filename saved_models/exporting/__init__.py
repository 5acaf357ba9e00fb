"""Export of runs as SavedModels and as files for other runtimes."""
