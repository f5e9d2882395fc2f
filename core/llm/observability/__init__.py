"""Who is told what happens: logs first; metrics, traces and the audit trail subscribe to the same events."""
