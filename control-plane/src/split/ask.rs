//! Asks the admin listeners of gateways.

/// How gateways are asked.
#[derive(Clone, Default)]
pub struct AskSettings {
    /// Sent as `Authorization: Bearer`; needed by admin listeners on addresses that are not loopback.
    pub token: Option<String>,
    /// Certificate authorities (PEM) of the admin listeners, beside those that the system trusts.
    pub ca_pem: Option<Vec<u8>>,
}

impl std::fmt::Debug for AskSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("AskSettings").field("token", &token).field("has_ca", &self.ca_pem.is_some()).finish()
    }
}

/// Why gateways can't be asked with these settings.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The token can't be sent.
    #[error("the gateway token can't be sent in a header: use visible ASCII characters")]
    Token,
    /// The client can't be made.
    #[error("the client for the gateways can't be made: check the certificate authority")]
    Client(#[source] reqwest::Error),
}
