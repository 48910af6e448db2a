"""report.html: content and rendering."""
