"""Make the model that ships with qvec: data, tokenizer, training, export, evaluation. Not part of the wheel."""
