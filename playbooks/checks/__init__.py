"""Checks before a deploy changes anything, one file for each subject. Deploys and dry runs share all of them."""
