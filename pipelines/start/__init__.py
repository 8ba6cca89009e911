"""What a training starts from: the vocabulary and the model of another pipeline's version."""
