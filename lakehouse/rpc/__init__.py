"""Asking another process of this machine for what it holds."""
