"""Many jobs one after another through one service: what each makes cheaper for the next."""
