use super::{Malformed, parse};

/// A BTF with the enumerations of these names, and an integer and a structure between them.
fn btf(enumerations: &[(&str, &[(&str, u32)])]) -> Vec<u8> {
    let (mut types, mut names) = (Vec::new(), vec![0]);
    let mut name = |text: &str| {
        let at = u32::try_from(names.len()).unwrap();
        names.extend(text.bytes().chain([0]));
        at
    };
    let mut words = |words: &[u32]| types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    words(&[name("int"), 1 << 24, 4, 32]);
    for (called, values) in enumerations {
        words(&[name("pair"), 4 << 24 | 2, 8, name("a"), 1, 0, name("b"), 1, 32]);
        words(&[name(called), 6 << 24 | u32::try_from(values.len()).unwrap(), 4]);
        for (called, value) in *values {
            words(&[name(called), *value]);
        }
    }
    let (types_length, names_length) =
        (u32::try_from(types.len()).unwrap(), u32::try_from(names.len()).unwrap());
    let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
    bytes.extend([1, 0]);
    bytes
        .extend([24, 0, types_length, types_length, names_length].iter().flat_map(|word| word.to_ne_bytes()));
    bytes.extend(types);
    bytes.extend(names);
    bytes
}

#[test]
fn enumerations_are_found_by_name_and_others_are_empty() {
    let bytes = btf(&[
        ("skb_drop_reason", &[("SKB_NOT_DROPPED_YET", 0), ("SKB_DROP_REASON_NO_SOCKET", 3)]),
        ("sk_rst_reason", &[("SK_RST_REASON_NO_SOCKET", 1)]),
    ]);
    let [drops, none, resets] = parse(&bytes, ["skb_drop_reason", "skb_drop", "sk_rst_reason"]).unwrap();
    assert_eq!(
        drops.into_iter().collect::<Vec<_>>(),
        [(0, "SKB_NOT_DROPPED_YET".to_owned()), (3, "SKB_DROP_REASON_NO_SOCKET".to_owned())]
    );
    assert!(none.is_empty());
    assert_eq!(resets[&1], "SK_RST_REASON_NO_SOCKET");
}

#[test]
fn what_is_cut_off_or_unknown_is_refused() {
    let mut bytes = btf(&[("skb_drop_reason", &[("SKB_NOT_DROPPED_YET", 0)])]);
    for length in 0..bytes.len() {
        assert_eq!(parse(&bytes[..length], ["skb_drop_reason"]).unwrap_err(), Malformed::CutOff, "{length}");
    }
    bytes[24 + 7] = 30;
    assert_eq!(parse(&bytes, ["skb_drop_reason"]).unwrap_err(), Malformed::Kind(30));
    bytes[0] = 0;
    assert_eq!(parse(&bytes, ["skb_drop_reason"]).unwrap_err(), Malformed::Magic);
}
