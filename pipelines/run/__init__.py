"""Plan, execute, one retraining, grids."""
