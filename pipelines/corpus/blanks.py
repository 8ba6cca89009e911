"""Whether text has blanks between its words, or is written without, as Japanese is."""

FEWEST_BLANKS = 0.05  # share of the characters, in text with spaces between words


def has_blanks(blanks: int, characters: int) -> bool:
    """Of a text of so many characters, so many of them blanks."""
    return blanks >= FEWEST_BLANKS * characters
