"""What backups are made of: jobs for every host under one id, and what holds of the last one."""
