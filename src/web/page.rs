//! The page at `/`: files that the program contains, and that load nothing from elsewhere. They have no values in them: a
//! script of theirs asks for `/-/status` and `/api/history`, and writes what it gets as text.

use super::history::SWITCHED_OFF;
use super::{HTML, HttpResponse, TEXT, Web, respond, takes_gzip};
use flate2::read::GzDecoder;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    HeaderValue, IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Request, Response, StatusCode};
use std::io::Read;

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Path, type and bytes of each file.
static FILES: [(&str, &str, &[u8]); 9] = [
    ("/", HTML, include_bytes!("page/index.html")),
    ("/page/page.css", STYLE, include_bytes!("page/page.css")),
    ("/page/format.js", SCRIPT, include_bytes!("page/format.js")),
    ("/page/plots.js", SCRIPT, include_bytes!("page/plots.js")),
    ("/page/tables.js", SCRIPT, include_bytes!("page/tables.js")),
    ("/page/page.js", SCRIPT, include_bytes!("page/page.js")),
    ("/page/icon.svg", "image/svg+xml", include_bytes!("page/icon.svg")),
    ("/page/uplot.css", STYLE, include_bytes!("page/uplot/uPlot.min.css")),
    ("/page/uplot-license.txt", TEXT, include_bytes!("page/uplot/LICENSE")),
];

/// Path of the library that plots, and its script, compressed with gzip.
const PLOTTER: &str = "/page/uplot.js";
static PLOTTER_GZIP: &[u8] = include_bytes!("page/uplot/uPlot.iife.min.js.gz");

/// Headers of every file. Only what this agent serves is loaded, no script or style stands in the page, and nobody shows
/// the page in a frame.
static HEADERS: [(HeaderName, &str); 5] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-cache"),
];

impl Web {
    /// The response with a file of the page.
    pub(super) fn page(&self, request: &Request<Incoming>) -> HttpResponse {
        if !self.current().page {
            return respond(StatusCode::NOT_FOUND, TEXT, SWITCHED_OFF.to_owned() + &self.available_paths());
        }
        file(request).unwrap_or_else(|| respond(StatusCode::NOT_FOUND, TEXT, self.available_paths()))
    }
}

/// The response with a file of the page; `None` if the path is none of them.
fn file(request: &Request<Incoming>) -> Option<HttpResponse> {
    let path = request.uri().path();
    let plotter = path == PLOTTER;
    let known = FILES.iter().find(|(known, ..)| *known == path);
    let (content_type, bytes) = match known {
        Some((_, content_type, bytes)) => (*content_type, *bytes),
        None if plotter => (SCRIPT, PLOTTER_GZIP),
        None => return None,
    };
    // The files are those of the program.
    let tag = format!("W/\"{}-{:x}\"", env!("CARGO_PKG_VERSION"), checksum(bytes));
    let asked = request.headers().get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut answer = if asked.into_iter().any(|known| known.contains(&tag)) {
        respond(StatusCode::NOT_MODIFIED, content_type, String::new())
    } else {
        let compressed = plotter && takes_gzip(request);
        let body = if plotter && !compressed { unpacked() } else { Bytes::from_static(bytes) };
        let mut answer = Response::new(Full::new(body));
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if compressed {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        answer
    };
    let headers = answer.headers_mut();
    secure(headers);
    if plotter {
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    Some(answer)
}

/// The headers that keep a browser from doing more with a response than the page does.
fn secure(headers: &mut HeaderMap) {
    for (name, value) in &HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The plotter for clients that do not accept gzip; no browser is one.
fn unpacked() -> Bytes {
    let mut script = Vec::new();
    // What the program contains is whole: a test unpacks it.
    let _infallible = GzDecoder::new(PLOTTER_GZIP).read_to_end(&mut script);
    script.into()
}

/// FNV-1a, 64 bits: distinguishes the files of two builds.
fn checksum(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

#[cfg(test)]
mod tests {
    use super::unpacked;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    #[test]
    fn the_library_in_the_program_is_the_file_beside_it() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web/page/uplot/uPlot.iife.min.js");
        let file = std::fs::read(folder).unwrap();
        if unpacked() == file {
            return;
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&file).unwrap();
        std::fs::write(format!("{folder}.gz"), encoder.finish().unwrap()).unwrap();
        panic!("uPlot.iife.min.js.gz was stale and has been written again; commit it");
    }
}
