//! The data plane: a native reverse proxy with hot-swapped routing tables. It knows no artifact: it serves whatever
//! table it is given, and could be used without the control plane.

#[allow(dead_code, unused_imports, reason = "the accept loop and the engine that use it follow")]
mod counters;
#[allow(dead_code, unused_imports, reason = "the driver that uses it follows")]
mod http1;
pub mod limits;
#[allow(dead_code, unused_imports, reason = "the accept loop and the engine that use it follow")]
mod listen;
pub mod logging;
#[allow(dead_code, unused_imports, reason = "the accept loop and the engine that use it follow")]
pub mod plane;
#[allow(dead_code, unused_imports, reason = "the accept loop that uses it follows")]
mod proxy;
#[allow(dead_code, unused_imports, reason = "the accept loop and the engine that use it follow")]
mod serving;
pub mod settings_file;
pub mod ship;
pub mod signals;
pub mod sync;
#[allow(dead_code, unused_imports, reason = "the accept loop and the engine that use it follow")]
mod upstream;
#[allow(dead_code, unused_imports, reason = "the accept loop and the engine that use it follow")]
mod worker;
