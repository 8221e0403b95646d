"""Child processes of the controller: they answer messages, one after the other, and end with their parent."""
