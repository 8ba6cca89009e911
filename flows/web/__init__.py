"""Access control for the web servers: the guard, passwords, the home's pages."""
