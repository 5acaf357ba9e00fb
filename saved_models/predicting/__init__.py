"""Prediction of landmarks in image files, and the output files."""
