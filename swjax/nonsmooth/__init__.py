"""Nonsmooth calculus: conservative fields, kinks, stationarity, implicit differentiation."""
