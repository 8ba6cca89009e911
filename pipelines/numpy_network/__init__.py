"""The networks of `pipelines/model/network.py`, computed with NumPy, without importing Keras."""
