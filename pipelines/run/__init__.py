"""Planning, execution, retraining, grids."""
