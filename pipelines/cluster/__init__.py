"""The cluster: other processes, here or elsewhere, that do the steps of the data stages."""
