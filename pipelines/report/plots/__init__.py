"""The plots of pages and of Prefect: one style, a module a subject."""
