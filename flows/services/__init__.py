"""The servers and workers around the runs: starts, restarts and installs them."""
