"""May the new library stand in for the old? One function per rule, all findings collected."""
