//! `/version`.

use std::fmt::Write;

use apimachinery::Status;
use http::Response;
use serde_json::json;

use crate::body::Body;
use crate::call::Call;
use crate::encode;
use rt::exposition::head;

/// The Kubernetes version that is served.
const MAJOR: &str = "1";
const MINOR: &str = "36";
pub const VERSION: &str = "1.36";
const BUILD_DATE: &str = "1970-01-01T00:00:00Z";
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
        "buildDate": BUILD_DATE,
        "goVersion": "none",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, go_arch()),
    });
    Ok(encode::json_response(call, &version))
}

/// Which build this is.
pub fn write_metrics(out: &mut String) {
    let name = "kubernetes_build_info";
    head(out, name, "gauge", "Always 1: its labels tell the version that is served.");
    let platform = format!("{}/{}", std::env::consts::OS, go_arch());
    let _ = writeln!(
        out,
        "{name}{{build_date=\"{BUILD_DATE}\",compiler=\"rustc\",git_commit=\"\",git_tree_state=\"clean\",\
         git_version=\"{GIT_VERSION}\",go_version=\"none\",major=\"{MAJOR}\",minor=\"{MINOR}\",\
         platform=\"{platform}\"}} 1"
    );
}

fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
