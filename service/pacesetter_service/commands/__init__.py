"""What the subcommands of ``pacesetter-server`` do."""
