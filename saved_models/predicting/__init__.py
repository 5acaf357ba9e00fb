"""Landmarks of image files, and the files they are written to."""
