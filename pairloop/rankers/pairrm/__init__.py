"""PairRM: its checkpoints, its network, and the original package as a second implementation."""
