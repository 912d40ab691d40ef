"""The pipeline host: lands messages, builds hours, prices them and publishes the tables."""
