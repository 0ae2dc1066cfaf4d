//! The gRPC health check, spoken by hand: one request, one small answer.

use std::net::IpAddr;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::io_text;

const ANSWER_MAX: usize = 64 * 1024;
/// `HealthCheckResponse.SERVING`.
const SERVING: u8 = 1;

pub async fn check(ip: IpAddr, port: u16, service: &str) -> Result<(), String> {
    let authority = std::net::SocketAddr::new(ip, port).to_string();
    let stream = TcpStream::connect((ip, port)).await;
    let refused =
        |error: std::io::Error| format!("timeout: failed to connect service {authority:?}: {}", io_text(&error));
    let stream = TokioIo::new(stream.map_err(refused)?);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let request = hyper::Request::post(format!("http://{authority}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(message(service))))
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let code = answer.headers().get("grpc-status").and_then(|code| code.to_str().ok()).map(str::to_owned);
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await.map_err(|error| error.to_string())?;
        let trailer =
            body.trailers().and_then(|trailers| trailers.get("grpc-status")?.to_str().ok()).map(str::to_owned);
        verdict(code.or(trailer).as_deref(), &body.to_bytes())
    };
    tokio::select! {
        verdict = exchange => verdict,
        ended = connection => Err(ended.err().map_or_else(|| "connection closed".to_owned(), |error| error.to_string())),
    }
}

/// A frame with `HealthCheckRequest { service = 1 }`.
fn message(service: &str) -> Vec<u8> {
    let mut content = Vec::new();
    if !service.is_empty() {
        content.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            content.push(seven_bits(length) | 0x80);
            length >>= 7;
        }
        content.push(seven_bits(length));
        content.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend(content);
    frame
}

fn seven_bits(number: usize) -> u8 {
    u8::try_from(number & 0x7f).expect("seven bits fit")
}

fn verdict(code: Option<&str>, body: &[u8]) -> Result<(), String> {
    match code {
        Some("0") => {}
        Some("12") => {
            return Err(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)".to_owned()
            );
        }
        code => return Err(format!("error: health rpc failed: rpc error: code = {}", code.unwrap_or("unknown"))),
    }
    match body.get(5..) {
        Some([0x08, SERVING, ..]) => Ok(()),
        Some([0x08, status, ..]) => Err(format!("service unhealthy (responded with \"{}\")", name(*status))),
        _ => Err("service unhealthy (responded with \"UNKNOWN\")".to_owned()),
    }
}

fn name(status: u8) -> &'static str {
    match status {
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_a_frame_with_the_services_name() {
        assert_eq!(message(""), [0, 0, 0, 0, 0]);
        assert_eq!(message("a"), [0, 0, 0, 0, 3, 0x0a, 1, b'a']);
    }

    #[test]
    fn only_serving_passes() {
        assert_eq!(verdict(Some("0"), &[0, 0, 0, 0, 2, 8, 1]), Ok(()));
        assert!(verdict(Some("0"), &[0, 0, 0, 0, 2, 8, 2]).expect_err("unhealthy").contains("NOT_SERVING"));
        assert!(verdict(Some("12"), &[]).is_err());
    }
}
