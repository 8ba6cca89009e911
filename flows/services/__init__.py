"""The servers and workers around the runs: started, kept up, installed."""
