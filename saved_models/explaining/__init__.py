"""Pages that explain a prediction stage by stage, and drawings of networks."""
