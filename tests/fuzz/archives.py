"""placeholder"""
from pathlib import Path
class Archives:
    def __init__(self, f: Path) -> None: ...
