"""Convex problems over measures, minimized by particles; public as `swjax.particles`."""
