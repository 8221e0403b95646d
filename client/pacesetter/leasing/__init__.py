"""Leases of trials: claimed by whoever runs them, held by heartbeats, ended by a result."""
