"""The command line only: parse, call an operation, hand its result to a reporter."""
