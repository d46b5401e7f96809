"""The four models and what passes between them.

`EmotionVAEModel` (emotion_vae) is Enc_emo, `GAFRGTransformer1DModel` (gafrg) the generator; `PSSLModel` and
`PSSLConfig` (pssl) read a style, of which `PWSGModel` and `PWSGConfig` (pwsg) make `WeightShifts` (weight_shifts).
All are to be had from the package itself, which loads what is used.
"""
