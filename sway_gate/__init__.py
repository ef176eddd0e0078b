"""sway-gate: did LoRA training really change this model, toward what it was trained on, without breaking the rest?"""

__version__ = "0.1.0"
