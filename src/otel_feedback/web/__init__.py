"""The web pages of the embedded process, rendered here and served to browsers; needs ``[server]``."""
