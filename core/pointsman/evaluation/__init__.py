"""What routing earns: figures, comparisons on labelled prompts or live, reports. Imports nothing by itself."""
