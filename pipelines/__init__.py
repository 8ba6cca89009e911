"""The stages and their contracts, in plain Python without Prefect."""
