//! Brings what runs to what is wanted, again and again: the machine decides, the shell asks platforms and acts.

mod machine;
#[cfg(test)]
mod simulation;
