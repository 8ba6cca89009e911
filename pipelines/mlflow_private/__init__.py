"""All uses of MLflow beyond its public interface, and of the tables of its database."""
