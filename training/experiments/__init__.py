"""Cross-validation, calibration, ensembles and time budgets."""
