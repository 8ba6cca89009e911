"""Steps: the parts of a data stage, each from files to files, done in this process or elsewhere."""
