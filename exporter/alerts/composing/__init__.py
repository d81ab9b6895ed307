"""A notification to a message: facts of the exporter, links, charts, templates."""
