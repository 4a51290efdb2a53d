//! `vamp control-plane`: the control plane as a process of its own.

use vamp_control_plane::settings::Settings;
use vamp_gateway::signals::until_told_to_stop;
use vamp_gateway::upgrade::{ready, stopping};

use crate::failure::Failure;

/// Runs until it is told to stop.
pub(crate) async fn run(settings: Settings) -> Result<(), Failure> {
    let failed = |cause| Failure::Start { what: "the control plane did not start", cause };
    let store = vamp_store::connect(&settings.store).map_err(|cause| failed(Box::new(cause)))?;
    let running = vamp_control_plane::start(settings, store).await.map_err(|cause| failed(Box::new(cause)))?;
    ready();
    until_told_to_stop().await;
    stopping();
    tracing::info!("stopping: requests under way are finished first");
    running.stop().await;
    Ok(())
}
