//! Numbers of which most are 0, in as few bytes as they take: of a destination, some 10 instead of 300. Pure.
//!
//! For each number that is not 0 its index, a byte, and the number in groups of seven bits, the lowest first, of which all
//! but the last have the highest bit set (LEB128).

/// Numbers, packed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Packed(Box<[u8]>);

impl Packed {
    /// Packs at most 256 numbers.
    pub(super) fn new(numbers: &[u64]) -> Self {
        let mut bytes = Vec::new();
        for (index, number) in (0_u8..=u8::MAX).zip(numbers) {
            if *number != 0 {
                bytes.push(index);
                let mut rest = *number;
                while rest > 0x7f {
                    bytes.push(rest.to_le_bytes()[0] | 0x80);
                    rest >>= 7;
                }
                bytes.push(rest.to_le_bytes()[0]);
            }
        }
        Self(bytes.into_boxed_slice())
    }

    /// The numbers again, as many as there were.
    pub(super) fn unpack<const N: usize>(&self) -> [u64; N] {
        let mut numbers = [0; N];
        let mut bytes = self.0.iter();
        while let Some(index) = bytes.next() {
            let (mut number, mut shift) = (0, 0);
            for byte in bytes.by_ref() {
                number |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            if let Some(at) = numbers.get_mut(usize::from(*index)) {
                *at = number;
            }
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::Packed;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_is_the_same_when_it_is_unpacked(numbers: [u64; 35], bits in 0_u32..64) {
            let numbers = numbers.map(|number| number >> bits);
            prop_assert_eq!(Packed::new(&numbers).unpack(), numbers);
        }
    }

    #[test]
    fn a_destination_that_refuses_takes_three_bytes() {
        let mut numbers = [0; 35];
        numbers[4] = 100;
        assert_eq!(Packed::new(&numbers).0.len(), 2);
        numbers[4] = 300;
        assert_eq!(Packed::new(&numbers).0.len(), 3);
        assert_eq!(Packed::new(&[]).unpack(), [0; 3]);
    }
}
