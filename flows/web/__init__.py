"""Who may ask a server: the guard, passwords, the home's own pages."""
