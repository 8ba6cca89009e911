"""Looks at texts before anything is declared (`init`), and at a declared source (`check`)."""
