"""What can be known before a deploy changes anything: one file a subject. Deploys and dry runs share all of it."""
