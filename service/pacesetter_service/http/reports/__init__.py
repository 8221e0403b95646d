"""Reports: measurements and acknowledgements in, new segments out."""
