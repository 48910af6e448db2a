"""What each verb asks and makes, a file a verb as in the schema: what a task, a family, a method can and can't do, checked
before any job starts, and the models that a node stands for. Each has `make(graph, name, node, own, path)`; own: the
node's swept keys and their values."""
