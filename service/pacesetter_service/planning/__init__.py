"""Planning: strategies advanced over stored events, here or in a process of their own."""
