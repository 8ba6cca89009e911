"""The plots of pages and of Prefect: one style, one module per subject."""
