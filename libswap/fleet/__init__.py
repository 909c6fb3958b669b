"""Rolling upgrades of many machines: Ansible does the work, this plans, watches and takes back."""
