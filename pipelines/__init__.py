"""What is done: the stages and their contracts, in plain Python that knows nothing of Prefect."""
