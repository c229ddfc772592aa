"""Helper package of the course on fine-tuning language models, rebuilt from scratch on GPT-2."""
