"""Presets and model cards."""
