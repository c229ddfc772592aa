"""The playground: one page in which anybody fine-tunes the pocket model in a browser, without a network.

The engine is JavaScript with the names of gpt2.py and of lesson 03: tokenizer, safetensors, engine (memory,
and the large product in JavaScript or by kernel.wat), lora, gpt2, training, generation, adapter_files.
worker.js runs it, page.js is what one sees.
"""
