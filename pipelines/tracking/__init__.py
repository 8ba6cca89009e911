"""MLflow runs of trainings, written while these last, without importing MLflow."""
