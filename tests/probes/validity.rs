//! When a certificate expires, read from what rcgen makes and from certificates put together by hand.

use connscope::tls::validity::not_after;
use rcgen::{CertificateParams, CustomExtension, KeyPair, date_time_ymd};

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).expect("short");
    let head: &[u8] = if length < 0x80 { &[tag, length] } else { &[tag, 0x81, length] };
    [head, content].concat()
}

/// A certificate of version 1, as far as it is read; `time` with its tag.
fn version_1(time: &[u8]) -> Vec<u8> {
    let validity = element(0x30, &[&element(0x17, b"000101000000Z"), time].concat());
    let fields = [element(0x02, &[1]), element(0x30, &[]), element(0x30, &[]), validity].concat();
    element(0x30, &element(0x30, &fields))
}

#[test]
fn every_day_is_read_as_it_was_written() {
    let key = KeyPair::generate().expect("a key");
    for (year, month, day) in [
        (1950, 1, 1),
        (1969, 12, 31),
        (1970, 1, 1),
        (1999, 12, 31),
        (2000, 2, 29),
        (2024, 2, 29),
        (2024, 3, 1),
        (2049, 12, 31),
        (2050, 1, 1),
        (2100, 2, 28),
        (2100, 3, 1),
        (9999, 12, 31),
    ] {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).expect("parameters");
        params.not_before = date_time_ymd(1950, 1, 1);
        params.not_after = date_time_ymd(year, month, day);
        let mut odd = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![0xff; 40]);
        odd.set_criticality(true);
        params.custom_extensions.push(odd);
        let certificate = params.self_signed(&key).expect("a certificate");
        let read = not_after(certificate.der());
        assert_eq!(read, Some(params.not_after.unix_timestamp()), "{year}-{month}-{day}");
        for end in 0..certificate.der().len() {
            assert_eq!(not_after(&certificate.der()[..end]), None, "cut off at {end}");
        }
    }
}

#[test]
fn old_versions_are_read_and_times_that_are_none_are_not() {
    let time = |tag, text: &str| not_after(&version_1(&element(tag, text.as_bytes())));
    assert_eq!(time(0x17, "260101123456Z"), Some(1_767_270_896));
    assert_eq!(time(0x18, "20260101123456Z"), Some(1_767_270_896));
    assert_eq!(time(0x17, "500101000000Z"), Some(-631_152_000));
    for wrong in [
        "",
        "Z",
        "260101123456",
        "2601011234Z",
        "261301123456Z",
        "260132123456Z",
        "260101243456Z",
        "260101126056Z",
        "26010112345Z",
        "26010112345xZ",
        "260101123456+0100",
        "2601011234567Z",
    ] {
        assert_eq!(time(0x17, wrong), None, "{wrong}");
    }
    assert_eq!(time(0x04, "260101123456Z"), None);
    assert_eq!(not_after(&[0x30, 0x80, 0, 0]), None, "the indefinite form");
    assert_eq!(not_after(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0]), None, "longer than it is");
}
