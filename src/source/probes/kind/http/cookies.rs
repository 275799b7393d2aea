//! Cookies of a probe, across its redirects (RFC 6265); no cookie is kept for the next probe.

use crate::url::{Scheme, Url};
use hyper::HeaderMap;
use hyper::header::SET_COOKIE;
use std::time::SystemTime;

/// Maximum number of cookies, as in browsers; further ones are ignored.
const MAX_COOKIES: usize = 180;

/// Maximum length of name and value together, bytes, as in browsers.
const LONGEST: usize = 4096;

#[derive(Debug)]
struct Cookie {
    name: Vec<u8>,
    value: Vec<u8>,
    /// Host that set the cookie, or its `Domain`.
    domain: String,
    /// Whether the cookie is sent only to the host that set it.
    host_only: bool,
    path: String,
    secure: bool,
}

/// The cookies set so far.
#[derive(Debug, Default)]
pub struct Cookies(Vec<Cookie>);

impl Cookies {
    /// Stores the cookies of a response of `url`; `now` determines which have expired.
    pub fn store(&mut self, url: &Url, headers: &HeaderMap, now: SystemTime) {
        for line in headers.get_all(SET_COOKIE) {
            let Some((cookie, expired)) = parse(url, line.as_bytes(), now) else { continue };
            let same = |known: &Cookie| {
                (&known.name, &known.domain, &known.path) == (&cookie.name, &cookie.domain, &cookie.path)
            };
            self.0.retain(|known| !same(known));
            if !expired && self.0.len() < MAX_COOKIES {
                self.0.push(cookie);
            }
        }
    }

    /// Value of the header `Cookie` of a request to `url`. `configured` is the configured header; a stored cookie
    /// replaces the configured one with its name.
    pub fn header(&self, url: &Url, configured: Option<&[u8]>) -> Option<Vec<u8>> {
        let mut set: Vec<&Cookie> = self.0.iter().filter(|cookie| cookie.goes_to(url)).collect();
        // Longer paths come first (section 5.4).
        set.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let kept = configured.unwrap_or_default().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = |pair: &[u8]| pair.split(|byte| *byte == b'=').next().unwrap_or(pair).to_vec();
        let kept = kept.filter(|pair| !pair.is_empty());
        let mut pairs: Vec<Vec<u8>> = kept
            .filter(|pair| set.iter().all(|cookie| cookie.name != name(pair)))
            .map(<[u8]>::to_vec)
            .collect();
        pairs.extend(set.iter().map(|cookie| [&cookie.name, &b"="[..], &cookie.value].concat()));
        (!pairs.is_empty()).then(|| pairs.join(&b"; "[..]))
    }
}

impl Cookie {
    /// Whether the cookie is sent to a URL (sections 5.1.3, 5.1.4 and 5.4).
    fn goes_to(&self, url: &Url) -> bool {
        let host = url.host();
        let host = if self.host_only { host == self.domain } else { within(host, &self.domain) };
        let path = path(url);
        let rest = path.strip_prefix(self.path.as_str());
        let path =
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || self.path.ends_with('/'));
        host && path && (!self.secure || url.scheme() == Scheme::Https)
    }
}

/// Parses a `Set-Cookie` line (section 5.2). Also returns whether it has expired, which removes the cookie.
fn parse(url: &Url, line: &[u8], now: SystemTime) -> Option<(Cookie, bool)> {
    let mut parts = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let pair = parts.next()?;
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (pair.get(..equals)?.trim_ascii(), pair.get(equals + 1..)?.trim_ascii());
    let control = |byte: &u8| byte.is_ascii_control();
    if name.is_empty() || name.len() + value.len() > LONGEST || name.iter().chain(value).any(control) {
        return None;
    }
    let mut cookie = Cookie {
        name: name.to_vec(),
        value: value.to_vec(),
        domain: url.host().to_owned(),
        host_only: true,
        path: default_path(url),
        secure: false,
    };
    let (mut max_age, mut expires) = (None, None);
    for part in parts {
        let text = String::from_utf8_lossy(part);
        let (key, value) = text.split_once('=').unwrap_or((&text, ""));
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "domain" if !value.is_empty() => {
                let domain = value.trim_start_matches('.').to_ascii_lowercase();
                // A domain of one label (`com`) is a public suffix, unless it is the host itself.
                let of_many = !domain.contains('.') && domain != url.host();
                if of_many || !within(url.host(), &domain) {
                    return None;
                }
                cookie.host_only = domain == url.host() && is_address(&domain);
                cookie.domain = domain;
            }
            "path" if value.starts_with('/') => value.clone_into(&mut cookie.path),
            "path" => cookie.path = default_path(url),
            "secure" => cookie.secure = true,
            "max-age" => max_age = value.parse::<i64>().ok().or(max_age),
            // Old servers write dashes between day, month and year.
            "expires" => expires = httpdate::parse_http_date(&value.replace('-', " ")).ok().or(expires),
            _ => {}
        }
    }
    let expired = match (max_age, expires) {
        (Some(seconds), _) => seconds <= 0,
        (None, Some(at)) => at <= now,
        (None, None) => false,
    };
    Some((cookie, expired))
}

fn path(url: &Url) -> String {
    url.path_and_query().split('?').next().unwrap_or("/").to_owned()
}

/// The default path: the directory of the page (section 5.1.4).
fn default_path(url: &Url) -> String {
    let path = path(url);
    match path.rsplit_once('/') {
        Some((directory, _)) if !directory.is_empty() => directory.to_owned(),
        _ => "/".to_owned(),
    }
}

fn within(host: &str, domain: &str) -> bool {
    let below = host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    host == domain || (below && !is_address(host))
}

fn is_address(host: &str) -> bool {
    host.contains(':') || host.parse::<std::net::Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::Cookies;
    use crate::url::Url;
    use hyper::HeaderMap;
    use hyper::header::{HeaderValue, SET_COOKIE};
    use std::time::{Duration, SystemTime};

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn set(cookies: &mut Cookies, url: &str, lines: &[&str]) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(SET_COOKIE, HeaderValue::from_str(line).expect("it is one"));
        }
        cookies.store(&Url::parse(url).expect("it is one"), &headers, now());
    }

    fn sent(cookies: &Cookies, url: &str) -> String {
        let header = cookies.header(&Url::parse(url).expect("it is one"), None);
        String::from_utf8(header.unwrap_or_default()).expect("they are ASCII")
    }

    #[test]
    fn a_cookie_goes_back_to_its_host_and_path() {
        let mut cookies = Cookies::default();
        set(
            &mut cookies,
            "http://a.example/x/login",
            &["one=1", "two=2; Path=/", "three=3; Path=/y; HttpOnly"],
        );
        assert_eq!(sent(&cookies, "http://a.example/x/page?q"), "one=1; two=2");
        assert_eq!(sent(&cookies, "http://a.example/xy"), "two=2", "no directory begins like another");
        assert_eq!(sent(&cookies, "http://a.example/y"), "three=3; two=2", "the longer path first");
        assert_eq!(sent(&cookies, "http://a.example:8080/"), "two=2", "whatever the port");
        assert_eq!(sent(&cookies, "http://b.example/"), "");
        assert_eq!(sent(&cookies, "http://sub.a.example/"), "");
    }

    #[test]
    fn a_domain_takes_its_hosts_in_and_no_others() {
        let mut cookies = Cookies::default();
        let lines = [
            "a=1; Domain=.example.org",
            "b=2; Domain=other.org",
            "c=3; domain=org",
            "d=4; Domain=a.b.example.org",
        ];
        set(&mut cookies, "http://b.example.org/", &lines);
        assert_eq!(sent(&cookies, "http://example.org/"), "a=1");
        assert_eq!(sent(&cookies, "http://c.example.org/"), "a=1");
        assert_eq!(sent(&cookies, "http://notexample.org/"), "");
        let mut cookies = Cookies::default();
        set(&mut cookies, "http://127.0.0.1/", &["a=1; Domain=0.0.1", "b=2; Domain=127.0.0.1"]);
        assert_eq!(sent(&cookies, "http://127.0.0.1/"), "b=2", "an address has no domain");
    }

    #[test]
    fn what_is_secure_expired_or_set_again_is_taken_as_such() {
        let mut cookies = Cookies::default();
        set(&mut cookies, "https://a.example/", &["s=1; Secure", "x=1", "y=1", "z=1"]);
        assert_eq!(sent(&cookies, "http://a.example/"), "x=1; y=1; z=1");
        let lines = [
            "x=; Max-Age=0",
            "y=2",
            "z=3; Expires=Thu, 01-Jan-1970 00:00:00 GMT",
            "late=1; Expires=Fri, 01 Jan 2100 00:00:00 GMT",
        ];
        set(&mut cookies, "https://a.example/", &lines);
        assert_eq!(sent(&cookies, "https://a.example/"), "s=1; y=2; late=1");
        set(&mut cookies, "https://a.example/", &["nothing", "=x", "", "q=\"a b\""]);
        assert_eq!(sent(&cookies, "https://a.example/"), "s=1; y=2; late=1; q=\"a b\"");
    }

    #[test]
    fn a_configured_cookie_stays_until_it_is_set_again() {
        let mut cookies = Cookies::default();
        let url = Url::parse("http://a.example/").expect("it is one");
        assert_eq!(cookies.header(&url, Some(b"a=1; b=2")), Some(b"a=1; b=2".to_vec()));
        set(&mut cookies, "http://a.example/", &["b=3"]);
        assert_eq!(cookies.header(&url, Some(b"a=1; b=2")), Some(b"a=1; b=3".to_vec()));
    }
}
