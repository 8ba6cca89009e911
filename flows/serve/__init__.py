"""`folio serve`: a registered model behind HTTP."""
