"""Health, garbage collection, the dashboard."""
