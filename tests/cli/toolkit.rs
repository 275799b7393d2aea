//! exporter-toolkit's own sample files: each is taken or refused as there, and does what it does there.

use super::guard::{Files, TLS};
use super::{refusal, scraped, text};
use crate::support::{command, connscope, get, request};
use connscope::web::guard::Guard;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Those that the toolkit refuses, and what we say of them.
const REFUSED: &[(&str, &str)] = &[
    ("web_config_auth_clientCAs_invalid.bad.yml", "somefile: No such file"),
    ("web_config_auth_user_list_invalid.bad.yml", "is not a bcrypt hash"),
    ("web_config_headers_content_type_options.bad.yml", "`sniff` is not a value of X-Content-Type-Options"),
    ("web_config_headers_extra_header.bad.yml", "the header `Content-Type` cannot be configured"),
    ("web_config_headers_frame_options.bad.yml", "`foo` is not a value of X-Frame-Options"),
    ("web_config_junk.yml", "web_config_junk.yml:1:"),
    ("web_config_junk_key.yml", "cert_filse"),
    ("web_config_noAuth.bad.yml", "/dev/null: it is not a regular file"),
    ("web_config_noAuth_certPath_empty.bad.yml", "one of cert and cert_file is missing"),
    ("web_config_noAuth_certPath_invalid.bad.yml", "somefile: No such file"),
    ("web_config_noAuth_certPath_keyPath_empty.bad.yml", "one of cert and cert_file is missing"),
    ("web_config_noAuth_certPath_keyPath_invalid.bad.yml", "somefile: No such file"),
    ("web_config_noAuth_cert_empty.bad.yml", "one of cert and cert_file is missing"),
    (
        "web_config_noAuth_inventedCiphers.bad.yml",
        "`TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA2048` is not a cipher suite",
    ),
    ("web_config_noAuth_inventedCurves.bad.yml", "`CurveP257` is not a curve"),
    ("web_config_noAuth_keyPath_empty.bad.yml", "one of key and key_file is missing"),
    ("web_config_noAuth_keyPath_invalid.bad.yml", "No such file"),
    ("web_config_noAuth_key_empty.bad.yml", "one of key and key_file is missing"),
    ("web_config_noAuth_noHTTP2Cipher.bad.yml", "which HTTP/2 needs"),
    ("web_config_noAuth_wrongTLSVersion.bad.yml", "`TLS111` is not a version"),
];

/// Taken there, and refused here: our library does not have the curve P-521.
const REFUSED_HERE: (&str, &str) = ("web_config_noAuth_someCurves.good.yml", "supports none of these curves");

/// Taken there, and refused here if the system has no authorities: nobody could come in.
const OF_THE_SYSTEM: [&str; 2] =
    ["web_config_auth_clientCAs_missing.bad.yml", "web_config_noAuth.good.blocking.yml"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/web-config")
}

fn file(name: &str) -> String {
    folder().join(name).to_str().unwrap().to_owned()
}

#[test]
fn each_sample_of_the_toolkit_is_taken_or_refused_as_there() {
    let mut refused: BTreeMap<&str, &str> = REFUSED.iter().copied().collect();
    let mut taken = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !Path::new(name).extension().is_some_and(|end| end == "yml" || end == "yaml") {
            continue;
        }
        let checked = Guard::check(&path);
        if let Some(why) = refused.remove(name) {
            let error = checked.expect_err(name);
            assert!(error.contains(why) && error.lines().count() == 1, "{name}: {error}");
            continue;
        }
        taken += 1;
        if name == REFUSED_HERE.0 {
            assert!(checked.expect_err(name).contains(REFUSED_HERE.1), "{name}");
        } else if !OF_THE_SYSTEM.contains(&name) {
            checked.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
    assert!(refused.is_empty(), "not among the samples: {refused:?}");
    assert_eq!(taken, 21);
}

#[test]
fn the_samples_that_verify_clients_by_the_system_are_taken_if_it_has_authorities() {
    let none = tempfile::tempdir().unwrap();
    for name in OF_THE_SYSTEM {
        for (variable, value, taken) in [
            ("SSL_CERT_FILE", file("tls-ca-chain.pem"), true),
            ("SSL_CERT_DIR", none.path().display().to_string(), false),
        ] {
            let mut check = command(&["config", "--quiet", "--otlp-protocol", "none", "--web.config.file"]);
            let output = check.arg(file(name)).env(variable, value).output().unwrap();
            if taken {
                assert_eq!(output.status.code(), Some(0), "{name}: {output:?}");
            } else {
                let line = refusal(&output);
                assert!(
                    line.contains("there is no authority to verify clients by: set client_ca_file"),
                    "{line}"
                );
            }
        }
    }
}

/// Each was given to the toolkit (0.20.0, `web.Validate`).
#[test]
fn what_has_no_value_and_how_long_an_interval_is_are_read_as_there() {
    let files = Files::new();
    let tls = |more: &str| format!("{TLS}  {more}\n");
    let interval = |value: &str| format!("rate_limit:\n  interval: {value}\n");
    let user = |hash: &str| format!("basic_auth_users:\n  alice: {hash}\n");
    let hash =
        |cost: &str| user(&format!("$2y${cost}$abcdefghijklmnopqrstuuXXJnTTR2xhH2wMQ6G5yE9RZ7AnMlPHS"));
    let mut taken: Vec<String> = [
        "basic_auth_users:\n",
        "tls_server_config:\nhttp_server_config:\nrate_limit:\n",
        "http_server_config:\n  headers:\n  http2:\n",
        "http_server_config:\n  headers:\n    Strict-Transport-Security:\n",
        "rate_limit:\n  interval:\n  burst:\n",
        "tls_server_config:\n  cert_file:\n  key_file:\n",
        "~\n",
        "---\n",
        "{}\n",
    ]
    .map(str::to_owned)
    .into();
    for key in ["client_ca_file", "client_ca", "client_auth_type", "client_allowed_sans", "cipher_suites"] {
        taken.push(tls(&format!("{key}:")));
    }
    for key in
        ["cert", "key", "curve_preferences", "min_version", "max_version", "prefer_server_cipher_suites"]
    {
        taken.push(tls(&format!("{key}: null")));
    }
    taken.extend(["1.5s", "1h30m", ".5s", "100us", "-1s", "+1s", "0s", "0", "'0'"].map(interval));
    taken.extend(["04", "31"].map(hash));
    for yaml in taken {
        Guard::check(&files.write(&yaml)).unwrap_or_else(|error| panic!("{yaml}{error}"));
    }
    let no_duration = "is not a duration with units, such as 100ms or 1h30m";
    for (yaml, why) in [
        (user(""), "alice"),
        (hash("03"), "the password of `alice` has the cost 3: bcrypt has 4 to 31"),
        (hash("32"), "has the cost 32"),
        (interval("1h 30m"), no_duration),
        (interval("1d"), no_duration),
        (interval("''"), no_duration),
        (interval("'100'"), no_duration),
        (tls("min_version: ''"), "`` is not a version"),
        ("http_server_config:\n  headers:\n    X-Frame-Options:\n".to_owned(), "`` is not a value of"),
        ("tls_server_config:\n  cert_file: server.crt\n  key_file:\n".to_owned(), "one of key and key_file"),
        // Ours: there it is a number of nanoseconds, which nobody means.
        (interval("100"), "`100` is not a duration with units"),
    ] {
        let error = Guard::check(&files.write(&yaml)).unwrap_err();
        assert!(error.contains(why) && error.lines().count() == 1, "{yaml}{error}");
    }
}

#[test]
fn the_samples_for_names_of_clients_let_in_whom_they_let_in_there() {
    for (name, own, code) in [
        ("web_config_auth_client_san.good.yaml", "client2_selfsigned", 0),
        ("web_config_auth_client_san.bad.yaml", "client2_selfsigned", 1),
        ("tls_config_noAuth.requireandverifyclientcert.good.yml", "client_selfsigned", 0),
        ("tls_config_noAuth.requireandverifyclientcert.good.yml", "client2_selfsigned", 1),
        ("tls_config_noAuth.requireanyclientcert.good.yml", "client2_selfsigned", 0),
    ] {
        let mut agent = scraped(&["--web.config.file", &file(name)]);
        let url = format!("https://localhost:{}", agent.address().port());
        let (certificate, key) = (file(&format!("{own}.pem")), file(&format!("{own}.key")));
        let authority = file("tls-ca-chain.pem");
        let shown = ["--ca-file", &authority, "--cert-file", &certificate, "--key-file", &key];
        let output = connscope(&[&["status", &url], &shown[..]].concat());
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(said.contains("LAST SUCCESS"), code == 0, "{name} {own}: {said}");
        let without = connscope(&["status", &url, "--ca-file", &authority]);
        assert_eq!(without.status.code(), Some(1), "{name}: nobody comes in without a certificate");
    }
}

#[test]
fn the_samples_for_users_and_rates_do_what_they_do_there() {
    let mut agent = scraped(&["--web.config.file", &file("web_config_users_noTLS.good.yml")]);
    let address = agent.address();
    assert_eq!(get(address, "/metrics").0, 401);
    // alice:alice123, of the toolkit's tests.
    let right = "/metrics HTTP/1.0\r\nAuthorization: Basic YWxpY2U6YWxpY2UxMjM=\r\nX-Rest: ";
    assert_eq!(request(address, "GET", right).0, 200);
    for (name, limited) in [
        ("web_config_rate_limiter_nonblocking.yaml", false),
        ("web_config_rate_limiter_one_second.yaml", true),
    ] {
        let mut agent = scraped(&["--web.config.file", &file(name)]);
        let address = agent.address();
        let answers: Vec<u16> = (0..10).map(|_| get(address, "/metrics").0).collect();
        assert_eq!(answers.contains(&429), limited, "{name}: {answers:?}");
    }
}
