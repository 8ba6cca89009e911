"""Models that count: n-grams of tokens, and linear models of the n-grams of words."""
