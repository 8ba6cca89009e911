"""What Folio is made of: its locked packages, their licences, and known holes in them."""
