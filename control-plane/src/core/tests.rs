//! Changes, end to end, on an in-process store.
