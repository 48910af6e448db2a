"""The page to read: what it shows, and how it is rendered."""
