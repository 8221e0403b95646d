"""The HTTP edge: routes, problem documents, streams. One folder per domain; nothing here touches the database."""
