//! Answers of proxied servers, whose links lead back through the proxy: redirects, and the links of HTML pages.
//!
//! Only what points to the server itself by an absolute path is changed.

use std::io::Read;

use apimachinery::Status;
use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderValue, Response, header};
use http_body_util::BodyExt;

use crate::body::{self, Body};
use crate::encode;

/// A larger page is no page.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// The attributes of elements that hold links.
const LINKS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Elements whose content is no HTML.
const RAW: &[&str] = &["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes", "plaintext"];

/// Where the proxied server is, for the client and for us.
pub struct Place {
    /// The path that comes before the server's own.
    pub base: String,
    /// Host and port of the server.
    pub authority: String,
}

impl Place {
    /// Changes what leads back to the server.
    pub async fn rewrite(&self, mut response: Response<Body>) -> Result<Response<Body>, Status> {
        if let Some(location) = text(&response, header::LOCATION) {
            if let Ok(value) = HeaderValue::from_str(&self.link(location)) {
                response.headers_mut().insert(header::LOCATION, value);
            }
            return Ok(response);
        }
        let kind = text(&response, header::CONTENT_TYPE).and_then(|kind| kind.split(';').next()).unwrap_or_default();
        let encoding = text(&response, header::CONTENT_ENCODING).unwrap_or_default();
        if kind.trim() != "text/html" || !matches!(encoding, "" | "gzip") {
            return Ok(response);
        }
        let is_gzip = encoding == "gzip";
        let (mut parts, body) = response.into_parts();
        let page = read(body).await?;
        let page = if is_gzip { self.gzipped(&page) } else { self.page(&page) };
        parts.headers.insert(header::CONTENT_LENGTH, page.len().into());
        Ok(Response::from_parts(parts, body::full(page)))
    }

    /// What cannot be unpacked stays as it is.
    fn gzipped(&self, packed: &[u8]) -> Vec<u8> {
        let mut page = Vec::new();
        let limit = u64::try_from(PAGE_BYTES_MAX).unwrap_or(u64::MAX);
        match GzDecoder::new(packed).take(limit).read_to_end(&mut page) {
            Ok(_) => encode::gzip(&self.page(&page)),
            Err(_) => packed.to_vec(),
        }
    }

    /// A link as the client has to follow it.
    fn link(&self, link: &str) -> String {
        let own = ["http://", "https://"].into_iter().find_map(|scheme| {
            let rest = link.strip_prefix(scheme)?.strip_prefix(self.authority.as_str())?;
            (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then_some(rest)
        });
        let path = own.unwrap_or(link);
        let is_absolute = path.starts_with('/') && !path.starts_with("//");
        match (own, is_absolute) {
            (_, true) if path.starts_with(self.base.as_str()) => path.to_string(),
            (_, true) => format!("{}{path}", self.base),
            _ => link.to_string(),
        }
    }

    /// A page with its links changed; everything else is copied.
    fn page(&self, page: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(page.len() + 256);
        let mut rest = page;
        while let Some(at) = rest.iter().position(|byte| *byte == b'<') {
            out.extend_from_slice(&rest[..at]);
            rest = &rest[at..];
            if rest.starts_with(b"<!--") {
                rest = copy(&mut out, rest, find(rest, b"-->").map_or(rest.len(), |end| end + 3));
                continue;
            }
            let end = tag_end(rest);
            let tag = &rest[..end];
            let name = tag_name(tag);
            match LINKS.iter().find(|(element, _)| *element == name) {
                Some((_, attributes)) => self.tag(&mut out, tag, name.len(), attributes),
                None => out.extend_from_slice(tag),
            }
            rest = &rest[end..];
            if RAW.contains(&name.as_str()) && !tag.ends_with(b"/>") {
                rest = copy(&mut out, rest, raw_end(rest, &name));
            }
        }
        out.extend_from_slice(rest);
        out
    }

    /// One tag with its attributes.
    fn tag(&self, out: &mut Vec<u8>, tag: &[u8], name: usize, attributes: &[&str]) {
        let mut rest = copy(out, tag, 1 + name);
        while !rest.is_empty() {
            rest = copy(out, rest, span(rest, |byte| byte.is_ascii_whitespace() || b"/>".contains(&byte)));
            let length = span(rest, |byte| !byte.is_ascii_whitespace() && !b"=/>".contains(&byte));
            let attribute = String::from_utf8_lossy(&rest[..length]).to_ascii_lowercase();
            rest = copy(out, rest, length.max(usize::from(rest.first() == Some(&b'=') && length == 0)));
            let equals = span(rest, |byte| byte.is_ascii_whitespace());
            if rest.get(equals) != Some(&b'=') {
                continue;
            }
            rest = copy(out, rest, equals + 1);
            rest = copy(out, rest, span(rest, |byte| byte.is_ascii_whitespace()));
            let (value, behind, quote) = value(rest);
            let link = String::from_utf8_lossy(value);
            out.extend_from_slice(quote);
            match attributes.contains(&attribute.as_str()) {
                true => out.extend_from_slice(self.link(&link).as_bytes()),
                false => out.extend_from_slice(value),
            }
            out.extend_from_slice(quote);
            rest = behind;
        }
    }
}

fn text(response: &Response<Body>, name: header::HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

async fn read(mut body: Body) -> Result<Bytes, Status> {
    let mut page = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::service_unavailable(format!("error reading the page: {error}")))?;
        page.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        if page.len() > PAGE_BYTES_MAX {
            return Err(Status::service_unavailable("the page is too large"));
        }
    }
    Ok(page.into())
}

fn copy<'a>(out: &mut Vec<u8>, from: &'a [u8], length: usize) -> &'a [u8] {
    let (copied, rest) = from.split_at(length.min(from.len()));
    out.extend_from_slice(copied);
    rest
}

fn span(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|byte| !belongs(*byte)).unwrap_or(bytes.len())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn tag_name(tag: &[u8]) -> String {
    let length = span(&tag[1..], |byte| byte.is_ascii_alphanumeric());
    String::from_utf8_lossy(&tag[1..=length]).to_ascii_lowercase()
}

/// Behind the `>` of a tag, which may have one in its quoted values.
fn tag_end(tag: &[u8]) -> usize {
    if !tag.get(1).is_some_and(|byte| byte.is_ascii_alphabetic() || b"/!?".contains(byte)) {
        return 1;
    }
    let mut quote = None;
    for (at, byte) in tag.iter().enumerate() {
        match (quote, byte) {
            (None, b'>') => return at + 1,
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), _) if open == *byte => quote = None,
            _ => {}
        }
    }
    tag.len()
}

/// Where the end tag of a raw element begins.
fn raw_end(bytes: &[u8], name: &str) -> usize {
    let end = format!("</{name}");
    let is_end = |window: &[u8]| window.eq_ignore_ascii_case(end.as_bytes());
    bytes.windows(end.len()).position(is_end).unwrap_or(bytes.len())
}

/// The value of an attribute, what follows it, and its quotes.
fn value(rest: &[u8]) -> (&[u8], &[u8], &[u8]) {
    match rest.first() {
        Some(quote @ (b'"' | b'\'')) => {
            let length = span(&rest[1..], |byte| byte != *quote);
            let behind = rest.get(length + 2..).unwrap_or_default();
            (&rest[1..=length], behind, &rest[..1])
        }
        _ => {
            let length = span(rest, |byte| !byte.is_ascii_whitespace() && byte != b'>');
            (&rest[..length], &rest[length..], &[])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { base: "/p/proxy".into(), authority: "10.0.0.1:80".into() }
    }

    #[test]
    fn links_to_the_server_lead_through_the_proxy() {
        let check = |page: &str, expected: &str| {
            assert_eq!(String::from_utf8(place().page(page.as_bytes())).unwrap(), expected);
        };
        check(r#"<a href="/rewriteme">test</a>"#, r#"<a href="/p/proxy/rewriteme">test</a>"#);
        check("<A class=x HREF=/a>1 < 2</A>", "<A class=x HREF=/p/proxy/a>1 < 2</A>");
        check(r#"<a href="http://10.0.0.1:80/x">"#, r#"<a href="/p/proxy/x">"#);
        check(r#"<img alt=">" src='/i.png'/>"#, r#"<img alt=">" src='/p/proxy/i.png'/>"#);
        for same in [
            r#"<a href="x"><a href="//other/x"><a href="http://10.0.0.1:8080/x"><a href="/p/proxy/x">"#,
            r#"<!-- <a href="/x"> --><script>"<a href='/x'>"</script><p title="/x">"#,
            "<a href",
            "<",
        ] {
            check(same, same);
        }
    }
}
