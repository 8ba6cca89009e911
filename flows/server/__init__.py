"""The Prefect server of a home: started, shared and stopped with its runs."""
