"""Jobs: registration, lifecycle, and what is read of them."""
