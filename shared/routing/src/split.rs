//! Exact splits: Tijdeman's rule, one wheel per distinct vector of weights.
