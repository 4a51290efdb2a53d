//! The data plane: a native reverse proxy with hot-swapped routing tables. It knows no artifact: it serves whatever
//! table it is given, and could be used without the control plane.

mod account;
mod admin;
mod counters;
mod data_dir;
mod http1;
mod limits;
mod listen;
pub mod logging;
pub mod measured;
mod memory;
mod plane;
mod proxy;
mod proxy_header;
mod running;
mod serving;
mod settings;
pub mod settings_file;
mod ship;
pub mod signals;
mod sync;
mod tcp;
pub mod upgrade;
mod upstream;
mod worker;

pub use running::{Running, StartError, start, start_after};
pub use settings::Settings;
