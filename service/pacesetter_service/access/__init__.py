"""API tokens and idempotency keys as stored."""
