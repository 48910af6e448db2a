"""The verbs, one file each, as in the schema: checks before any job starts, and the models of a node.

Each file has `make(graph, name, node, own, path)`. own: the node's swept keys and their values."""
