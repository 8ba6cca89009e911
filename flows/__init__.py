"""When and where: Prefect flows that only order the tasks, and the command line."""
