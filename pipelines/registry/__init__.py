"""What is registered, who is champion, the journal."""
