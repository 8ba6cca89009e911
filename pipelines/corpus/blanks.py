"""Whether text has spaces between its words, or none, as in Japanese."""

FEWEST_BLANKS = 0.05  # share of the characters, in text with spaces between words


def has_blanks(blanks: int, characters: int) -> bool:
    """For a text with this many characters, of which this many are spaces."""
    return blanks >= FEWEST_BLANKS * characters
