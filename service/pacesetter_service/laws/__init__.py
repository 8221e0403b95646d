"""Laws of stored curves, fitted in a process of their own."""
