"""`consomme doctor`: will a run work here? A check is a small function; checks.py lists them."""
