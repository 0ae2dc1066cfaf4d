//! What a command works with: the streams, the configuration, the client, and what the server offers.

use std::time::Duration;

use client::Client;
use tokio::sync::OnceCell;

use crate::Streams;
use crate::config::{Config, Manners, Overrides, transport};
use crate::failure::Failure;
use crate::flags::Parsed;
use crate::objects::Catalog;

pub struct Session {
    pub streams: Streams,
    /// The command's full name: `kubectl get`.
    pub command: String,
    pub config: Config,
    manners: parking_lot::Mutex<Option<Manners>>,
    client: std::sync::OnceLock<Client>,
    catalog: OnceCell<Catalog>,
}

impl Session {
    pub fn new(parsed: &Parsed, streams: Streams, command: String) -> Result<Self, Failure> {
        Ok(Self {
            streams,
            config: Self::load(parsed, &command)?,
            command,
            manners: parking_lot::Mutex::new(Some(Manners::of(parsed)?)),
            client: std::sync::OnceLock::new(),
            catalog: OnceCell::new(),
        })
    }

    /// Commands that speak to no server do without a kubeconfig.
    fn load(parsed: &Parsed, command: &str) -> Result<Config, Failure> {
        match Config::load(Overrides::of(parsed)) {
            Err(_) if LOCAL.iter().any(|local| command.starts_with(local)) => Ok(Config::empty(Overrides::of(parsed))),
            other => other,
        }
    }

    pub fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let manners = self.manners.lock().take().unwrap_or_default();
        let transport = transport(&self.config.effective()?, manners, self.streams.clone())?;
        // The server takes the field manager's name from what stands before the slash.
        let agent = format!("kubectl/v1.36.0 ({}/{}) coracle", std::env::consts::OS, std::env::consts::ARCH);
        Ok(self.client.get_or_init(|| Client::new(transport, &agent)))
    }

    /// What the server offers, asked for once.
    pub async fn catalog(&self) -> Result<&Catalog, Failure> {
        let client = self.client()?;
        self.catalog.get_or_try_init(|| Catalog::fetch(client)).await
    }

    pub fn namespace(&self) -> String {
        self.config.namespace().0
    }

    /// A wrong command line.
    pub fn usage(&self, message: impl Into<String>) -> Failure {
        Failure::Usage { message: message.into(), command: self.command.clone() }
    }

    pub fn warn(&self, text: &str) {
        self.streams.note(format!("Warning: {text}"));
    }
}

/// These read no kubeconfig, or in a way of their own.
const LOCAL: &[&str] =
    &["kubectl config", "kubectl options", "kubectl completion", "kubectl plugin", "kubectl __complete"];

/// The longest that anything waits by default: a week, kubectl's forever.
pub const FOREVER: Duration = Duration::from_secs(168 * 3600);
