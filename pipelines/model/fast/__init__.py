"""Recurrent layers with written-out gradients, equal to Keras's and faster."""
