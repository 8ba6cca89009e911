"""Tries Folio's promises for hours, as users break them: `make torture HOURS=… SEED=…`."""
