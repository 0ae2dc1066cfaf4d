//! The forms of version 2: JSON, and the protobuf that old clients ask for.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;
use sha2::{Digest, Sha512};

use super::gnostic;
use crate::body::Body;
use crate::call::Call;
use crate::encode;

const GNOSTIC: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// The older spelling, which is no valid media type; it is understood and never answered.
const GNOSTIC_OLD: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Json,
    Protobuf,
}

impl Form {
    /// The form that a client likes best; nothing else is known here, not even YAML.
    pub fn accepted(accept: &str) -> Option<Form> {
        let accept = if accept.is_empty() { "*/*" } else { accept };
        let mut clauses: Vec<(&str, f64)> = accept.split(',').map(clause).collect();
        clauses.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        clauses.into_iter().find_map(|(media, _)| match media {
            "application/json" | "application/*" | "*/*" => Some(Form::Json),
            GNOSTIC | GNOSTIC_OLD => Some(Form::Protobuf),
            _ => None,
        })
    }
}

/// The media type and how much it is liked.
fn clause(text: &str) -> (&str, f64) {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
    (media, quality.unwrap_or(1.0))
}

/// A document in all forms, written and compressed once.
pub struct Swagger {
    etag: String,
    json: Written,
    protobuf: Written,
}

struct Written {
    plain: Bytes,
    gzipped: Bytes,
}

impl Written {
    fn new(plain: Vec<u8>) -> Written {
        Written { gzipped: encode::gzip(&plain).into(), plain: plain.into() }
    }
}

impl Swagger {
    pub fn written(value: &Value) -> Swagger {
        let json = Written::new(value.to_string().into());
        let etag = format!("\"{:X}\"", Sha512::digest(&json.plain));
        Swagger { etag, json, protobuf: Written::new(gnostic::document(value)) }
    }

    /// Both forms have one `ETag`: they are told apart by what varies.
    pub fn response(&self, call: &Call, form: Form) -> Response<Body> {
        let (written, media) = match form {
            Form::Json => (&self.json, "application/json"),
            Form::Protobuf => (&self.protobuf, GNOSTIC),
        };
        let gzip = call.header("accept-encoding").contains("gzip");
        let mut response = match call.header("if-none-match") == self.etag {
            true => encode::not_modified(),
            false if gzip => encode::plain(StatusCode::OK, media, written.gzipped.clone()),
            false => encode::plain(StatusCode::OK, media, written.plain.clone()),
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, HeaderValue::from_str(&self.etag).expect("hexadecimal digits are a header value"));
        headers.append(header::VARY, HeaderValue::from_static("Accept"));
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if gzip && headers.contains_key(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protobuf_is_sent_to_who_likes_it_best() {
        let check = |accept: &str, form: Option<Form>| assert_eq!(Form::accepted(accept), form, "{accept}");
        check(GNOSTIC, Some(Form::Protobuf));
        check(&format!("text/html, {GNOSTIC_OLD};q=1, */*"), Some(Form::Protobuf));
        check(&format!("application/json, {GNOSTIC_OLD}"), Some(Form::Json));
        check(&format!("application/json;q=0.5, {GNOSTIC_OLD}"), Some(Form::Protobuf));
        check("", Some(Form::Json));
        check("application/yaml", None);
    }
}
