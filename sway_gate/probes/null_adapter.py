"""How is everything else calibrated? Settings of the null adapters that every probe is put against.

An entry of this kind measures nothing itself. It says what an adapter that learned nothing would look like, and how
many of them are drawn. Every probe computes its number for the fine-tuned adapter and for each null, on the same
inputs; z is the normal quantile with the tail that Student's t gives the difference.

- `null: spectrum` (default): each module keeps its own singular values and gets random singular vectors. It asks: is
  this direction special at this size? An adapter scaled up or down is judged alike.
- `null: init`: a LoRA of the same structure with Gaussian factors of standard deviation `init_scale`.
- `runs`: how many, at least 3; when absent 8, and 4 for probes of generated text (adapter_revert, style_fingerprint).
  More nulls give a weak effect more power; the chance of a null adapter to reach z = 3 is 0.135 % at every number.
- `seed_base`: null i is drawn from the seed `seed_base` + i.
- `rank_multipliers`: also z against nulls with c times the variance, as if they had c times the rank.
- `calibrate_kinds`: only these kinds are calibrated, the others fall back to their fixed rule; empty means all.
- `cache`: whether measured readings are kept for the next run.

Without such an entry the defaults hold. It has no verdict, and so `weight` and `assert_z_gte` of it have no effect.
It cannot be left out: `enabled: false` brings the defaults back, no others' settings.

In a suite:

    - name: nulls
      kind: null_adapter
      runs: 16
"""
