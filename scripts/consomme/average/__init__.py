"""Averaging: many models of one ancestor become one."""
