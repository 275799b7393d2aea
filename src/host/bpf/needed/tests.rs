use super::super::btf::{self, Malformed, Type};
use super::keep;
use aya::{Btf, Endianness};

/// Types behind each other, and their names.
struct Made {
    types: Vec<u8>,
    names: Vec<u8>,
}

impl Made {
    fn new() -> Self {
        Self { types: Vec::new(), names: vec![0] }
    }

    /// Adds a type: its name, its kind, its size or type, and what is behind it.
    fn add(&mut self, name: &str, kind: u32, last: u32, behind: &[u32]) {
        let members = match kind {
            btf::STRUCT | btf::UNION => behind.len() / 3,
            btf::ENUM | btf::FUNCTION => behind.len() / 2,
            _ => 0,
        };
        let mut at = 0;
        if !name.is_empty() {
            at = u32::try_from(self.names.len()).unwrap();
            self.names.extend(name.bytes().chain([0]));
        }
        let words = [at, kind << 24 | u32::try_from(members).unwrap(), last];
        self.types.extend(words.iter().chain(behind).flat_map(|word| word.to_ne_bytes()));
    }

    fn bytes(&self) -> Vec<u8> {
        let [types, names] = [&self.types, &self.names].map(|part| u32::try_from(part.len()).unwrap());
        let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        bytes.extend([24, 0, types, types, names].iter().flat_map(|word| word.to_ne_bytes()));
        bytes.extend(self.types.iter().chain(&self.names));
        bytes
    }
}

/// Kind, name and number of bytes of each type.
fn types(bytes: &[u8]) -> Vec<(u32, String, usize)> {
    let [types, names] = btf::sections(bytes).unwrap().map(|section| &bytes[section]);
    let (mut found, mut rest) = (Vec::new(), types);
    while !rest.is_empty() {
        let (this, others) = Type::split(rest).unwrap();
        let name = String::from_utf8(btf::name(names, this.index(0)).to_vec()).unwrap();
        found.push((this.kind(), name, this.bytes().len()));
        rest = others;
    }
    found
}

/// `sock` has an array of `sock_common`, by another name; `other` is only pointed to, and `unused` is in none.
fn kernel() -> Vec<u8> {
    let mut made = Made::new();
    made.add("int", 1, 4, &[32]);
    made.add("other", btf::STRUCT, 4, &[0, 1, 0]);
    made.add("", 2, 2, &[]);
    made.add("", btf::UNION, 4, &[0, 1, 0, 0, 1, 0]);
    made.add("sock_common", btf::STRUCT, 4, &[0, 4, 0]);
    made.add("common_t", btf::TYPEDEF, 5, &[]);
    made.add("", btf::ARRAY, 0, &[6, 1, 3]);
    made.add("sock", btf::STRUCT, 20, &[0, 7, 0, 0, 3, 96]);
    made.add("unused", btf::STRUCT, 4, &[0, 1, 0]);
    made.add("unused_state", btf::ENUM, 4, &[0, 1]);
    made.add("", btf::FUNCTION, 1, &[0, 1, 0, 3]);
    made.add("btf_trace_sock", btf::TYPEDEF, 11, &[]);
    made.bytes()
}

#[test]
fn what_an_object_names_is_kept_with_what_is_in_it_and_every_type_has_its_number() {
    let mut bytes = kernel();
    let before = types(&bytes);
    keep(&mut bytes, b"\x7fELF\0int\0sock___new\0unuse\0").unwrap();
    let after = types(&bytes);
    assert_eq!(before.len(), after.len());
    for (number, (before, after)) in (1..).zip(before.iter().zip(&after)) {
        match number {
            2 | 9 | 10 => assert_eq!(*after, (btf::FORWARD, String::new(), btf::TYPE), "{before:?}"),
            11 => assert_eq!(*after, (btf::FUNCTION, String::new(), btf::TYPE)),
            _ => assert_eq!(after, before),
        }
    }
    Btf::parse(&bytes, Endianness::default()).unwrap();
    // A name of a typedef is one of what it stands for.
    let mut bytes = kernel();
    keep(&mut bytes, b"\0common_t\0").unwrap();
    let kept: Vec<String> = types(&bytes).into_iter().map(|(_, name, _)| name).collect();
    assert_eq!((&*kept[4], &*kept[7]), ("sock_common", ""));
}

#[test]
fn what_is_cut_off_is_refused_and_what_refers_to_itself_is_kept() {
    let whole = kernel();
    for length in 0..whole.len() {
        assert_eq!(keep(&mut whole[..length].to_vec(), b"\0sock\0"), Err(Malformed::CutOff), "{length}");
    }
    let mut made = Made::new();
    made.add("sock", btf::STRUCT, 4, &[0, 1, 0, 0, 2, 0, 0, 77, 0]);
    made.add("again", btf::TYPEDEF, 2, &[]);
    let mut bytes = made.bytes();
    keep(&mut bytes, b"\0sock\0again\0").unwrap();
    assert_eq!(types(&bytes), types(&made.bytes()));
}
