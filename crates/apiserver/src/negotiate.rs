//! Content negotiation: what the client accepts, and what it sent.

use apimachinery::Status;
use http::{HeaderMap, header};

use crate::accept::Clause;

/// The encoding of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Json,
    Yaml,
    Protobuf,
}

/// In the order in which a wildcard finds them.
const FORMATS: [Format; 3] = [Format::Json, Format::Yaml, Format::Protobuf];

impl Format {
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Yaml => "application/yaml",
            Format::Protobuf => protobuf::MEDIA_TYPE,
        }
    }

    fn subtype(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Yaml => "yaml",
            Format::Protobuf => "vnd.kubernetes.protobuf",
        }
    }

    /// YAML has no frames that a stream could consist of.
    pub fn streams(self) -> bool {
        self != Format::Yaml
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
    /// The aggregated form of discovery.
    AggregatedDiscovery,
}

/// What an endpoint can answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Nothing but the document itself, in every format.
    Documents,
    /// Objects, also as Tables and as metadata only.
    Objects,
    /// The same without Tables: what is answered at once and never stored.
    Reviews,
    /// Objects in every form, but protobuf for metadata only: what custom resources have.
    CustomObjects,
    /// Nothing but aggregated discovery.
    AggregatedDiscovery,
}

impl Offer {
    fn has(self, format: Format, shape: Shape) -> bool {
        match (self, shape) {
            (Offer::AggregatedDiscovery, shape) => shape == Shape::AggregatedDiscovery,
            (_, Shape::AggregatedDiscovery) => false,
            (Offer::CustomObjects, Shape::Object) => format != Format::Protobuf,
            (_, Shape::Object) => true,
            (Offer::Documents, _) => false,
            (Offer::Reviews, Shape::Table) => false,
            (_, Shape::Table) => format != Format::Protobuf,
            (_, Shape::PartialMetadata | Shape::PartialMetadataList) => true,
        }
    }

    /// Upstream's router looks first, and knows `*/*` as the only wildcard. Custom resources have no route there.
    fn is_routed(self, clauses: &[Clause<'_>]) -> bool {
        let known = |clause: &Clause<'_>| FORMATS.iter().any(|format| clause.is("application", format.subtype()));
        self == Offer::CustomObjects || clauses.iter().any(|clause| clause.is("*", "*") || known(clause))
    }

    fn serves_version(self, version: &str) -> bool {
        version.is_empty()
            || (version == "v1" && matches!(self, Offer::Objects | Offer::Reviews | Offer::CustomObjects))
    }
}

/// What an answer will look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accept {
    pub format: Format,
    pub shape: Shape,
    pub pretty: bool,
    pub gzip: bool,
}

const SUPPORTED: &[&str] = &["application/json", "application/yaml", protobuf::MEDIA_TYPE];
const SUPPORTED_STREAMS: &[&str] =
    &["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];

impl Accept {
    /// What the first clause of the `Accept` header wants that the endpoint has, or 406.
    /// `streams`: whether the endpoint has watches too.
    pub fn negotiate(headers: &HeaderMap, offer: Offer, streams: bool) -> Result<Accept, Status> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let gzip = text(header::ACCEPT_ENCODING).contains("gzip");
        if text(header::ACCEPT).is_empty() && offer != Offer::AggregatedDiscovery {
            return Ok(Accept { gzip, ..Accept::default() });
        }
        let clauses = Clause::parse_all(text(header::ACCEPT));
        if !offer.is_routed(&clauses) {
            let all: Vec<&str> =
                SUPPORTED.iter().chain(SUPPORTED_STREAMS.iter().filter(|_| streams)).copied().collect();
            return Err(Status::no_representation(&all));
        }
        let chosen = clauses.iter().find_map(|clause| {
            let formats = FORMATS.into_iter().filter(|format| clause.matches("application", format.subtype()));
            formats.into_iter().find_map(|format| Accept::of(clause, format, offer))
        });
        chosen.map(|accept| Accept { gzip, ..accept }).ok_or_else(|| Status::not_acceptable(SUPPORTED))
    }

    fn of(clause: &Clause<'_>, format: Format, offer: Offer) -> Option<Accept> {
        let stream = clause.parameter("stream");
        let streams = stream.is_empty() || (stream == "watch" && format.streams());
        let shape = shape(clause)?;
        let fits = streams && offer.serves_version(clause.parameter("sv")) && offer.has(format, shape);
        fits.then(|| Accept { format, shape, pretty: clause.parameter("pretty") == "1", gzip: false })
    }

    /// 406 for a stream in a format that has none.
    pub fn check_stream(self) -> Result<(), Status> {
        if self.format.streams() { Ok(()) } else { Err(Status::not_acceptable(SUPPORTED_STREAMS)) }
    }
}

/// The form that `as`, `g` and `v` name; `None` for one that nobody has.
fn shape(clause: &Clause<'_>) -> Option<Shape> {
    let target = [clause.parameter("as"), clause.parameter("g"), clause.parameter("v")];
    if !["as", "g", "v"].iter().any(|key| clause.has(key)) {
        return Some(Shape::Object);
    }
    match target {
        ["Table", "meta.k8s.io", "v1" | "v1beta1"] => Some(Shape::Table),
        ["PartialObjectMetadata", "meta.k8s.io", "v1" | "v1beta1"] => Some(Shape::PartialMetadata),
        ["PartialObjectMetadataList", "meta.k8s.io", "v1" | "v1beta1"] => Some(Shape::PartialMetadataList),
        ["APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2"] => Some(Shape::AggregatedDiscovery),
        _ => None,
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
    let format = match media_type(headers).to_ascii_lowercase().as_str() {
        "" if !headers.contains_key(header::CONTENT_TYPE) => Some(BodyFormat::Json),
        "application/json" => Some(BodyFormat::Json),
        "application/yaml" => Some(BodyFormat::Yaml),
        protobuf::MEDIA_TYPE => Some(BodyFormat::Protobuf),
        _ => None,
    };
    format.filter(|_| parameters_hold(headers)).ok_or_else(|| Status::unsupported_media_type(SUPPORTED))
}

/// Whether each parameter of the body's media type has a name and a value.
fn parameters_hold(headers: &HeaderMap) -> bool {
    let header = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let parameters: Vec<&str> = header.split(';').skip(1).map(str::trim).collect();
    let (last, others) = parameters.split_last().map_or((&"", &[][..]), |(last, others)| (last, others));
    let whole = |text: &&str| text.split_once('=').is_some_and(|(key, value)| !key.is_empty() && !value.is_empty());
    others.iter().all(whole) && (last.is_empty() || whole(last))
}

/// The media type of a request body without parameters.
pub fn media_type(headers: &HeaderMap) -> &str {
    let header = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    header.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(offer: Offer, accept: &str) -> Option<(Format, Shape)> {
        let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
        Accept::negotiate(&headers, offer, false).ok().map(|accept| (accept.format, accept.shape))
    }

    fn negotiate(accept: &str) -> Option<(Format, Shape)> {
        choose(Offer::Objects, accept)
    }

    #[test]
    fn the_first_clause_that_can_be_served_wins() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(negotiate(kubectl), Some((Format::Json, Shape::Table)));
        assert_eq!(negotiate("application/vnd.kubernetes.protobuf, */*"), Some((Format::Protobuf, Shape::Object)));
        assert_eq!(negotiate("text/html, application/yaml;q=0.5"), Some((Format::Yaml, Shape::Object)));
        assert_eq!(
            negotiate("application/json;as=Unknown;v=v1;g=meta.k8s.io,application/json"),
            Some((Format::Json, Shape::Object))
        );
        assert_eq!(choose(Offer::Reviews, kubectl), Some((Format::Json, Shape::Object)));
        assert_eq!(choose(Offer::Reviews, "application/json;as=Table;v=v1;g=meta.k8s.io"), None);
        assert_eq!(negotiate("application/*"), None);
        assert_eq!(choose(Offer::CustomObjects, "application/*"), Some((Format::Json, Shape::Object)));
        assert_eq!(negotiate("application/*, application/yaml;q=0.5"), Some((Format::Yaml, Shape::Object)));
        assert_eq!(negotiate("text/html"), None);
        assert_eq!(negotiate("application/cbor"), None);
    }

    #[test]
    fn a_table_is_json_or_yaml_and_metadata_is_anything() {
        let table = "as=Table;v=v1;g=meta.k8s.io";
        assert_eq!(negotiate(&format!("application/vnd.kubernetes.protobuf;{table}")), None);
        assert_eq!(negotiate(&format!("application/yaml;{table}")), Some((Format::Yaml, Shape::Table)));
        assert_eq!(choose(Offer::Documents, &format!("application/json;{table}")), None);
        let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        assert_eq!(choose(Offer::CustomObjects, metadata), Some((Format::Protobuf, Shape::PartialMetadata)));
        assert_eq!(choose(Offer::CustomObjects, "application/vnd.kubernetes.protobuf"), None);
        assert_eq!(negotiate("application/json;g=meta.k8s.io"), None);
    }

    #[test]
    fn streams_are_json_or_protobuf() {
        assert_eq!(
            negotiate("application/vnd.kubernetes.protobuf;stream=watch"),
            Some((Format::Protobuf, Shape::Object))
        );
        assert_eq!(negotiate("application/yaml;stream=watch"), None);
        assert_eq!(negotiate("application/json;stream=other"), None);
        assert!(Accept { format: Format::Yaml, ..Accept::default() }.check_stream().is_err());
    }

    #[test]
    fn discovery_finds_the_aggregated_clause_wherever_it_stands() {
        let accept =
            "application/json, application/vnd.kubernetes.protobuf;v=v2;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList";
        let aggregated = Some((Format::Protobuf, Shape::AggregatedDiscovery));
        assert_eq!(choose(Offer::AggregatedDiscovery, accept), aggregated);
        assert_eq!(choose(Offer::AggregatedDiscovery, "application/json"), None);
        assert_eq!(choose(Offer::Documents, accept), Some((Format::Json, Shape::Object)));
    }

    #[test]
    fn a_body_says_what_it_is() {
        let format =
            |text: &str| body_format(&HeaderMap::from_iter([(header::CONTENT_TYPE, text.parse().unwrap())])).ok();
        assert_eq!(format("application/JSON; charset=utf-8"), Some(BodyFormat::Json));
        assert_eq!(format("application/yaml;"), Some(BodyFormat::Yaml));
        assert_eq!(format("application/vnd.kubernetes.protobuf"), Some(BodyFormat::Protobuf));
        assert_eq!(format("application/json; charset"), None);
        assert_eq!(format("application/cbor"), None);
        assert_eq!(body_format(&HeaderMap::new()).ok(), Some(BodyFormat::Json));
    }
}
