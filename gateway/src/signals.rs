//! The signals that end a program of ours in good order.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for Ctrl-C (SIGINT) or SIGTERM. A second one while the program is stopping ends it at once.
pub async fn until_told_to_stop() {
    let listened = signal(SignalKind::interrupt()).and_then(|first| Ok((first, signal(SignalKind::terminate())?)));
    let (mut interrupt, mut terminate) = match listened {
        Ok(both) => both,
        Err(error) => {
            tracing::error!("signals can't be listened for, only SIGKILL ends this program: {error}");
            std::future::pending().await
        }
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        // Whoever asks twice does not want to wait.
        std::process::exit(130);
    });
}
