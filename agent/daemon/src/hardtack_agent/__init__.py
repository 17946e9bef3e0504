"""The Linux agent."""
