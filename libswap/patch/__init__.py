"""Link a relocatable object against a target; needs no process."""
