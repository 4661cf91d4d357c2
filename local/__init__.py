"""The whole system on one machine: Azurite for storage, a host that fires the functions' triggers, and trainers."""
