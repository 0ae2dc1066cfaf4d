//! `--authentication-config`: read at the start, and again whenever the file changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use apimachinery::field::ErrorList;
use auth::authn::Authenticator;
use auth::oidc::AuthenticationConfiguration;
use rt::TaskSet;

use crate::file_changes::FileChanges;
use crate::server::Inner;

#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    #[error("read the authentication configuration {path:?}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the authentication configuration {path:?} cannot be decoded: {problem}")]
    Decode { path: PathBuf, problem: String },
    #[error("the authentication configuration is invalid: {0}")]
    Invalid(ErrorList),
}

/// Makes the authenticator do what a file says. On an error it goes on as before.
pub fn load(path: &Path, authenticator: &Authenticator) -> Result<(), AuthenticationError> {
    take(path, &read(path)?, authenticator)
}

fn read(path: &Path) -> Result<String, AuthenticationError> {
    std::fs::read_to_string(path).map_err(|source| AuthenticationError::Read { path: path.to_owned(), source })
}

fn take(path: &Path, text: &str, authenticator: &Authenticator) -> Result<(), AuthenticationError> {
    let undecoded =
        |error: serde_saphyr::Error| AuthenticationError::Decode { path: path.into(), problem: error.to_string() };
    let config: AuthenticationConfiguration = serde_saphyr::from_str(text).map_err(undecoded)?;
    let compiled = config.compile(authenticator.own_issuers()).map_err(AuthenticationError::Invalid)?;
    authenticator.configure(compiled.issuers.into_iter().map(Arc::new).collect(), compiled.anonymous);
    Ok(())
}

/// Follows the file of the server's configuration, if it has one.
pub fn follow(server: &Arc<Inner>, tasks: &TaskSet) {
    let Some(path) = server.config.authentication_config.clone() else { return };
    let (server, spawned) = (server.clone(), tasks.clone());
    tasks.spawn_until_cancelled("authentication-config", async move {
        if let Err(error) = run(&server, &path, &spawned).await {
            let path = path.display();
            tracing::error!(%error, %path, "the authentication configuration is not followed any more");
        }
    });
}

async fn run(server: &Arc<Inner>, path: &Path, tasks: &TaskSet) -> std::io::Result<()> {
    let changes = FileChanges::of(path)?;
    // Whatever was written between the start and the watch is seen by the first look.
    let mut known = None;
    loop {
        let text = read(path).ok();
        if text.is_some() && text != known {
            let first = known.is_none();
            known = text;
            match take(path, known.as_deref().unwrap_or_default(), &server.authenticator) {
                Ok(()) => {
                    server.issuer_keys.forget().await;
                    crate::issuer_keys::spawn(server, tasks);
                    tracing::info!(first, path = %path.display(), "the authentication configuration is in force");
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "the new authentication configuration is not taken; the former stays");
                }
            }
        }
        changes.next().await?;
    }
}
