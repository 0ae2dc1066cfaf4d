//! Content negotiation: what the client accepts, and what it sent.

use apimachinery::Status;
use http::{HeaderMap, header};

/// The encoding of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Json,
    Yaml,
}

impl Format {
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Yaml => "application/yaml",
        }
    }
}

/// The form in which objects are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    #[default]
    Object,
    Table,
    PartialMetadata,
    PartialMetadataList,
}

/// What an answer will look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accept {
    pub format: Format,
    pub shape: Shape,
    pub pretty: bool,
    pub gzip: bool,
}

const SUPPORTED: &[&str] = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

impl Accept {
    /// The best clause of the `Accept` header, or 406. `shapes`: whether Tables and metadata-only forms are offered.
    pub fn negotiate(headers: &HeaderMap, shapes: bool) -> Result<Accept, Status> {
        let header = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let gzip =
            headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("gzip"));
        if header.trim().is_empty() {
            return Ok(Accept { gzip, ..Accept::default() });
        }
        let mut clauses: Vec<Clause<'_>> = header.split(',').filter_map(Clause::parse).collect();
        clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
        let chosen = clauses.iter().find_map(|clause| clause.accept(shapes));
        chosen.map(|accept| Accept { gzip, ..accept }).ok_or_else(|| Status::not_acceptable(SUPPORTED))
    }
}

struct Clause<'a> {
    media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Option<Clause<'a>> {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next()?;
        let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let quality = parameters.iter().find(|(key, _)| *key == "q").and_then(|(_, q)| q.parse().ok()).unwrap_or(1.0);
        Some(Clause { media, parameters, quality })
    }

    fn accept(&self, shapes: bool) -> Option<Accept> {
        let format = match self.media {
            "application/json" | "*/*" => Format::Json,
            "application/yaml" => Format::Yaml,
            _ => return None,
        };
        Some(Accept { format, shape: self.shape(shapes)?, pretty: self.parameter("pretty") == "1", gzip: false })
    }

    fn shape(&self, shapes: bool) -> Option<Shape> {
        let target = self.parameter("as");
        if target.is_empty() {
            return Some(Shape::Object);
        }
        let of_meta = self.parameter("g") == "meta.k8s.io" && matches!(self.parameter("v"), "v1" | "v1beta1");
        match target {
            _ if !shapes || !of_meta => None,
            "Table" => Some(Shape::Table),
            "PartialObjectMetadata" => Some(Shape::PartialMetadata),
            "PartialObjectMetadataList" => Some(Shape::PartialMetadataList),
            _ => None,
        }
    }

    fn parameter(&self, key: &str) -> &'a str {
        self.parameters.iter().find(|(own, _)| *own == key).map(|(_, value)| *value).unwrap_or_default()
    }
}

/// The encoding of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    Json,
    Yaml,
    Protobuf,
}

/// The encoding that the client declares, or 415.
pub fn body_format(headers: &HeaderMap) -> Result<BodyFormat, Status> {
    match media_type(headers) {
        "" | "application/json" => Ok(BodyFormat::Json),
        "application/yaml" => Ok(BodyFormat::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(BodyFormat::Protobuf),
        _ => Err(Status::unsupported_media_type(SUPPORTED)),
    }
}

/// The media type of a request body without parameters.
pub fn media_type(headers: &HeaderMap) -> &str {
    let header = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    header.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiate(accept: &str) -> Option<(Format, Shape)> {
        let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
        Accept::negotiate(&headers, true).ok().map(|accept| (accept.format, accept.shape))
    }

    #[test]
    fn the_best_clause_that_can_be_served_wins() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(negotiate(kubectl), Some((Format::Json, Shape::Table)));
        assert_eq!(negotiate("application/vnd.kubernetes.protobuf, */*"), Some((Format::Json, Shape::Object)));
        assert_eq!(negotiate("text/html, application/yaml;q=0.5"), Some((Format::Yaml, Shape::Object)));
        assert_eq!(
            negotiate("application/json;as=Unknown;v=v1;g=meta.k8s.io,application/json"),
            Some((Format::Json, Shape::Object))
        );
        assert_eq!(negotiate("application/*"), None);
        assert_eq!(negotiate("text/html"), None);
    }
}
