"""The way of measurements into a lake: from a training process to durable files to tables."""
