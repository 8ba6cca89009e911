"""Pages, plots, drawings."""
