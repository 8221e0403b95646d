"""The run loop: what happens around every optimizer step."""
