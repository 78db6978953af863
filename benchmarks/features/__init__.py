"""Rows F1, F2, F5, F6 of the performance table: the point-in-time join and the online store, beside their peers."""
