"""LoRA adapters of a real base model, by common recipes, with a measured truth."""
