"""The networks of `pipelines/model/network.py`, computed with NumPy: no Keras to import or compile."""
