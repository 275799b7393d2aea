//! What comes from the network is anybody's: whatever it is, it is refused and breaks nothing.

use connscope::host::icmp::packet::Echo;
use connscope::source::probes::config::{Preset, Record};
use connscope::source::probes::kind::udp::preset::PresetRequest as Asked;
use connscope::source::probes::resolve::message::{Question, Response};
use proptest::prelude::*;

const PRESETS: [Preset; 5] = [Preset::Dns, Preset::Ntp, Preset::Snmp, Preset::Stun, Preset::Sip];

/// An answer of a name server to this question, with two addresses.
fn answer(question: &[u8]) -> Vec<u8> {
    let mut bytes = question.to_vec();
    bytes[2] |= 0x80;
    bytes[7] = 2;
    for last in [1, 2] {
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, last]);
    }
    bytes
}

#[test]
fn every_part_of_an_answer_is_refused_and_every_other_byte_survived() {
    let question = Question::new(77, "example.com", Record::A).unwrap();
    let whole = answer(question.bytes());
    assert!(matches!(question.response(&whole), Some(Response::Records(records)) if records.len() == 2));
    for length in 0..whole.len() {
        assert_eq!(question.response(&whole[..length]), None, "{length} bytes");
    }
    for place in 0..whole.len() {
        for flip in [1, 0x80, 0xff] {
            let mut other = whole.clone();
            other[place] ^= flip;
            let _no_panic = question.response(&other);
        }
    }
    let other = Question::new(78, "example.com", Record::A).unwrap();
    assert_eq!(other.response(&whole), None, "an answer to another question");
    for (name, record) in [
        ("example.org", Record::A),
        ("example.com.org", Record::A),
        ("com", Record::A),
        ("example.com", Record::Aaaa),
    ] {
        let other = Question::new(77, name, record).unwrap();
        assert_eq!(other.response(&whole), None, "an answer to another question: {name}");
    }
    let capitals = Question::new(77, "EXAMPLE.com", Record::A).unwrap();
    assert!(capitals.response(&whole).is_some(), "the same name in other letters");
    // Behind the name: type and class. The class of the second has the bit of mDNS.
    let end = question.bytes().len();
    for (place, byte) in [(end - 1, 3), (end - 2, 0x80), (end - 3, 28), (5, 0)] {
        let mut other = whole.clone();
        other[place] = byte;
        assert_eq!(question.response(&other), None, "byte {place}");
    }
    let mut none = whole[..12].to_vec();
    (none[5], none[7]) = (0, 0);
    assert_eq!(question.response(&none), None, "no question at all");
}

/// A record of the answer: its name and its data as they are on the wire.
fn answer_record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    let fixed = [&kind.to_be_bytes()[..], &[0, 1, 0, 0, 0, 60], &length.to_be_bytes()].concat();
    [owner, &fixed, data].concat()
}

#[test]
fn addresses_of_another_name_are_no_answer_but_those_of_an_alias_are() {
    const OWN: &[u8] = &[0xc0, 12];
    const EVIL: &[u8] = b"\x04evil\x00";
    const HOST: &[u8] = b"\x04host\x07example\x00";
    const LAST: &[u8] = b"\x04LAST\x00";
    let question = Question::new(77, "example.com", Record::A).unwrap();
    let address = |owner: &[u8], last: u8| answer_record(owner, 1, &[192, 0, 2, last]);
    let alias = |owner: &[u8], other: &[u8]| answer_record(owner, 5, other);
    let taken = |records: &[Vec<u8>]| {
        let mut bytes = question.bytes().to_vec();
        bytes[2] |= 0x80;
        bytes[7] = u8::try_from(records.len()).unwrap();
        bytes.extend(records.concat());
        let Some(Response::Records(records)) = question.response(&bytes) else { panic!("no records") };
        records.iter().map(|record| format!("{record:?}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(taken(&[address(EVIL, 9)]), "");
    assert!(taken(&[address(EVIL, 9), address(OWN, 1)]).ends_with("192.0.2.1)"));
    // An alias of an alias, in letters of another case and in any order; an address of an alias of another name is none.
    let chain = [
        alias(HOST, b"\x04last\x00"),
        alias(OWN, HOST),
        address(LAST, 2),
        alias(EVIL, b"\x03bad\x00"),
        address(b"\x03bad\x00", 9),
    ];
    assert_eq!(taken(&chain), "Address(192.0.2.2)");
    // Aliases that go round in a circle end.
    assert_eq!(taken(&[alias(OWN, HOST), alias(HOST, OWN), address(EVIL, 9)]), "");
}

proptest! {
    #[test]
    fn nonsense_is_no_answer(bytes in proptest::collection::vec(any::<u8>(), 0..512), chance in any::<u64>()) {
        let question = Question::new(77, "example.com", Record::Srv).unwrap();
        let _no_panic = question.response(&bytes);
        for preset in PRESETS {
            let question = Asked::new(preset, "", "192.0.2.1").unwrap();
            prop_assert!(question.judge(&bytes).is_err(), "{preset:?} takes {bytes:?}");
            prop_assert!(question.judge(question.bytes()).is_err(), "{preset:?} takes its own question");
        }
        for (ipv6, raw) in [(false, false), (false, true), (true, false), (true, true)] {
            prop_assert_eq!(Echo::new(chance, ipv6, raw, 56).answers(&bytes), None);
        }
    }
}
