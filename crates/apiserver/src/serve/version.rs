//! `/version`.

use apimachinery::Status;
use http::Response;
use serde_json::json;

use crate::body::Body;
use crate::call::Call;
use crate::encode;

/// The Kubernetes version that is served.
const MAJOR: &str = "1";
const MINOR: &str = "36";
const GIT_VERSION: &str = concat!("v1.36.2+coracle", env!("CARGO_PKG_VERSION"));

pub fn run(call: &mut Call) -> Result<Response<Body>, Status> {
    call.negotiate(false)?;
    let version = json!({
        "major": MAJOR,
        "minor": MINOR,
        "emulationMajor": MAJOR,
        "emulationMinor": MINOR,
        "minCompatibilityMajor": MAJOR,
        "minCompatibilityMinor": "35",
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, go_arch()),
    });
    Ok(encode::json_response(call, &version))
}

fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
