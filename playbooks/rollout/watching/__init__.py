"""Whether what has changed is good: who is asked, and what they say."""
