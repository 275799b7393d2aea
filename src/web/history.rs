//! `GET /api/history`: the last half hour as JSON. A response is rendered once for each cycle and query, however many ask
//! for it, and a client that has it is told so (304).

#![expect(clippy::disallowed_methods, reason = "the times of the cycles are those of the clock of now")]

use super::connections::ConnectionTicket;
use super::{HttpResponse, TEXT, Web, parameters, respond, send, takes_gzip};
use crate::history::query::Query;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS};
use hyper::{Request, StatusCode};
use std::time::{Instant, SystemTime};

const JSON: &str = "application/json";

/// Body of the 404 where `export.prometheus.page` is false.
pub(super) const SWITCHED_OFF: &str =
    "export.prometheus.page is false: there is no page, and no history is kept\n";

impl Web {
    pub(super) async fn history(
        &self,
        request: &Request<Incoming>,
        ticket: &ConnectionTicket,
    ) -> HttpResponse {
        let Some(history) = self.sources.history() else {
            return respond(StatusCode::NOT_FOUND, TEXT, SWITCHED_OFF.to_owned());
        };
        let query = match Query::parse(&parameters(request.uri().query().unwrap_or(""))) {
            Ok(query) => query,
            Err(why) => return respond(StatusCode::BAD_REQUEST, TEXT, why + "\n"),
        };
        let (id, cycle) = history.version();
        let tag = format!("W/\"{id:x}-{cycle}\"");
        let known = request.headers().get_all(IF_NONE_MATCH).iter();
        let known = known.filter_map(|value| value.to_str().ok()).any(|known| known.contains(&tag));
        let mut answer = if known {
            respond(StatusCode::NOT_MODIFIED, JSON, String::new())
        } else {
            let key = format!("{tag}{}", query.canonical());
            let gzip = takes_gzip(request);
            let text = if let Some(text) = self.unsent.cached(&key, gzip) {
                Some(text)
            } else {
                let interval = self.current().collecting;
                let asked = query.clone();
                let make = move || {
                    let text = history.answer(&asked, interval, Instant::now(), SystemTime::now());
                    (StatusCode::OK, JSON, text)
                };
                let text = self.histories.text(query, gzip, make).await;
                text.inspect(|text| self.unsent.cache(&key, text))
            };
            let Some(text) = text else {
                let why = "too many responses wait to be made\n";
                return respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, why.to_owned());
            };
            send(&text, gzip, ticket)
        };
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(ETAG, tag);
        }
        answer
    }
}
