//! Manifests on the web: `-f https://…`, asked for three times where the server is at fault.

use std::time::Duration;

use client::{Body, empty_body};
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;

use crate::config::web;
use crate::failure::Failure;

const ATTEMPTS: usize = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// As many as Go follows.
const REDIRECTS_MAX: usize = 10;

/// The content of a URL.
pub async fn download(url: &str) -> Result<Vec<u8>, Failure> {
    let mut last = None;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        match attempt_once(url).await {
            Ok(content) => return Ok(content),
            Err(Attempt { failure, again: false }) => return Err(failure),
            Err(attempt) => last = Some(attempt.failure),
        }
    }
    Err(last.expect("the last attempt failed"))
}

struct Attempt {
    failure: Failure,
    again: bool,
}

async fn attempt_once(url: &str) -> Result<Vec<u8>, Attempt> {
    let again = |failure| Attempt { failure, again: true };
    let response = follow(url).await.map_err(again)?;
    let status = response.status();
    if status == StatusCode::OK {
        let content = response.into_body().collect().await;
        // What breaks off in the middle is not asked for again.
        return content.map(|content| content.to_bytes().to_vec()).map_err(|error| Attempt {
            failure: Failure::Plain(format!("error parsing {url}: {error}")),
            again: false,
        });
    }
    let message = format!(
        "unable to read URL {url:?}, server reported {}, status code={}",
        status_line(&response),
        status.as_u16()
    );
    Err(Attempt { failure: Failure::Plain(message), again: status.is_server_error() })
}

/// `404 Not Found`, in the server's own words.
fn status_line(response: &Response<Body>) -> String {
    let status = response.status();
    let own = response.extensions().get::<hyper::ext::ReasonPhrase>();
    let reason = own.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
    let reason = reason.unwrap_or_else(|| status.canonical_reason().unwrap_or_default().to_owned());
    format!("{} {reason}", status.as_u16())
}

async fn follow(url: &str) -> Result<Response<Body>, Failure> {
    let mut current: Uri = parse(url)?;
    for _ in 0..REDIRECTS_MAX {
        let response = get(&current).await?;
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        match location {
            Some(location) if is_redirect(response.status()) => current = target(&current, location)?,
            _ => return Ok(response),
        }
    }
    Err(Failure::Verbatim(format!("Unable to connect to the server: stopped after {REDIRECTS_MAX} redirects")))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn parse(url: &str) -> Result<Uri, Failure> {
    // What is behind a hash is not the server's business.
    let plain = url.split('#').next().unwrap_or_default();
    plain.parse().map_err(|error| Failure::Plain(format!("the URL passed to filename {url:?} is not valid: {error}")))
}

/// Where a redirection leads: to another server, to another path, or to a neighbour.
fn target(from: &Uri, location: &str) -> Result<Uri, Failure> {
    let scheme = from.scheme_str().unwrap_or("http");
    let host = from.authority().map_or("", |authority| authority.as_str());
    let directory = from.path().rsplit_once('/').map_or("", |(directory, _)| directory);
    parse(&match location {
        location if location.contains("://") => location.to_owned(),
        location if location.starts_with("//") => format!("{scheme}:{location}"),
        location if location.starts_with('/') => format!("{scheme}://{host}{location}"),
        location => format!("{scheme}://{host}{directory}/{location}"),
    })
}

async fn get(url: &Uri) -> Result<Response<Body>, Failure> {
    let server =
        format!("{}://{}", url.scheme_str().unwrap_or("http"), url.authority().map_or("", |host| host.as_str()));
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(header::USER_AGENT, "Go-http-client/1.1").body(empty_body());
    let request = request.map_err(|error| Failure::Plain(format!("Get {:?}: {error}", url.to_string())))?;
    // One request on a connection of its own: a web server need not know HTTP/2.
    let (response, _) = web(&server)?.upgrade(request).await.map_err(client::Error::from)?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_lead_where_they_say() {
        let from: Uri = "http://a:1/x/y?z".parse().expect("a URL");
        for (location, to) in [
            ("https://b/c", "https://b/c"),
            ("//b/c", "http://b/c"),
            ("/c?d", "http://a:1/c?d"),
            ("c", "http://a:1/x/c"),
        ] {
            assert_eq!(target(&from, location).expect("a URL").to_string(), to);
        }
    }
}
