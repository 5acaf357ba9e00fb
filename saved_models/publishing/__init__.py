"""Presets, model cards and the provenance of models.

The public function is `scn_keras.saved_models.make_preset`.
"""
