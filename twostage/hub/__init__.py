"""The Hugging Face hub: models go there and come from there. Its client comes with timm and is imported late."""
