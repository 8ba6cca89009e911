"""The report and other pages: parts, plots, drawings, templates."""
