//! Serves the API alone, for trying real clients and recorded requests against it.
//!
//! `serve PORT DIR [STORE]` writes `ca.crt`, `admin.crt`, `admin.key` and `kubeconfig` to DIR.

use std::path::Path;
use std::sync::Arc;

use apiserver::{Config, Server, Storage};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().ok_or("which port?")?.parse()?;
    let dir = arguments.next().ok_or("which directory?")?;
    let dir = Path::new(&dir);
    let pki = Arc::new(auth::pki::Pki::open(&dir.join("pki"))?);
    let config = Config {
        listeners: vec![Arc::new(std::net::TcpListener::bind(("127.0.0.1", port))?)],
        storage: arguments.next().map_or(Storage::Memory, |path| Storage::File(path.into())),
        pki: Some(pki.clone()),
        join_password: Some("secret".into()),
        ..Config::default()
    };
    let tasks = rt::TaskSet::new();
    let started = std::time::Instant::now();
    let server = Server::start(config, &tasks).await?;
    println!("serving on {:?} after {:?}", server.address(), started.elapsed());
    write_credentials(dir, port, &pki)?;
    tasks.token().cancelled().await;
    Ok(())
}

fn write_credentials(dir: &Path, port: u16, pki: &auth::pki::Pki) -> Result<(), Box<dyn std::error::Error>> {
    let admin = pki.admin()?;
    std::fs::write(dir.join("ca.crt"), pki.ca_pem())?;
    std::fs::write(dir.join("admin.crt"), &admin.cert_pem)?;
    std::fs::write(dir.join("admin.key"), &admin.key_pem)?;
    let at = |file: &str| dir.join(file).display().to_string();
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "serve",
        "clusters": [{"name": "serve", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": at("ca.crt"),
        }}],
        "users": [{"name": "admin", "user": {"client-certificate": at("admin.crt"), "client-key": at("admin.key")}}],
        "contexts": [{"name": "serve", "context": {"cluster": "serve", "user": "admin"}}],
    });
    std::fs::write(dir.join("kubeconfig"), kubeconfig.to_string())?;
    Ok(())
}
