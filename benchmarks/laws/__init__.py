"""Laws on public loss curves."""
