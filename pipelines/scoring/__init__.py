"""Files of texts are scored with a registered model: one, or what is new in a folder."""
