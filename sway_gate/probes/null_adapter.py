"""How are all other probes calibrated? Settings of the null adapters, which learned nothing.

An entry of this kind measures nothing itself. It defines an adapter that learned nothing, and how
many of them are drawn. Each probe computes its number for your adapter and for each null on the
same inputs; z is the normal quantile with the same tail probability as Student's t of the
difference.

- `null: spectrum` (default): each module keeps its own singular values and gets random singular
  vectors. It tests whether this direction is special at this size; scaling an adapter up or down
  does not change the verdict.
- `null: init`: a LoRA of the same structure with Gaussian factors of standard deviation
  `init_scale`.
- `runs`: the number of null adapters, at least 3; by default 8, and 4 for probes of generated text
  (adapter_revert, style_fingerprint). Of 8 or more, 4 are drawn first, and more only while they can
  change the verdict. More nulls increase the power to detect a weak effect; a null adapter reaches
  z = 3 with a probability of at most 0.135% at any number.
- `seed_base`: null i is drawn from the seed `seed_base` + i.
- `rank_multipliers`: also z against nulls with c times the variance, equivalent to c times the
  rank. All nulls are then drawn at once.
- `calibrate_kinds`: only these kinds are calibrated, the others use their limits; empty means all.
  Harm probes, and effect probes with their own test, are never measured under nulls.
- `cache`: whether measurements are kept for the next run.

Without such an entry the defaults apply. It has no verdict, so `weight` and `assert_z_gte` have no
effect. It cannot be switched off: with `enabled: false` the defaults apply.

In a suite:

    - name: nulls
      kind: null_adapter
      runs: 16
"""
