"""Rows L1–L3 of the performance page: the factory, its definitions, the walk-forward backtest."""
