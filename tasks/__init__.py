"""How Prefect runs it: thin task wrappers around the stages."""
