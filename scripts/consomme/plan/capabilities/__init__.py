"""What a task, a family, a method can and can't do, checked before any job starts: a file a verb, as in the schema."""
