"""ftkit: a notebook-driven workbench for fine-tuning BERT-like encoders."""

__version__ = "0.1.0"

__all__ = ["__version__"]
