//! Promises of clusters, kept: the machine decides, the shell asks for the numbers and carries decisions out.

mod cpu;
mod escalate;
mod machine;
mod measure;
mod promises;
mod run;
mod words;

pub(crate) use run::run;
