//! Echo requests and replies (RFC 792, RFC 4443 section 4) (pure).

/// The echo requests of a probe.
#[derive(Debug, Clone)]
pub struct Echo {
    identifier: u16,
    token: [u8; 8],
    ipv6: bool,
    raw: bool,
    size: usize,
}

impl Echo {
    /// `chance` is a random number that identifies the requests; `size` is the length of the payload, bytes.
    pub fn new(chance: u64, ipv6: bool, raw: bool, size: usize) -> Self {
        let [high, low, ..] = chance.rotate_left(32).to_be_bytes();
        Self { identifier: u16::from_be_bytes([high, low]), token: chance.to_be_bytes(), ipv6, raw, size }
    }

    /// The request with this sequence number.
    pub fn request(&self, sequence: u16) -> Vec<u8> {
        let kind = if self.ipv6 { 128 } else { 8 };
        let mut bytes = vec![kind, 0, 0, 0];
        bytes.extend(self.identifier.to_be_bytes());
        bytes.extend(sequence.to_be_bytes());
        bytes.extend(self.token.iter().cycle().take(self.size));
        if !self.ipv6 {
            // For ICMPv6 the kernel computes the checksum, which includes the addresses.
            let sum = checksum(&bytes).to_be_bytes();
            bytes.splice(2..4, sum);
        }
        bytes
    }

    /// The sequence number of the request that a packet answers; `None` if it answers none of these.
    pub fn answers(&self, packet: &[u8]) -> Option<u16> {
        // A raw IPv4 socket also receives the IP header (raw(7)).
        let header = match (self.raw && !self.ipv6, packet.first()) {
            (true, Some(first)) => usize::from(first & 0xf) * 4,
            (true, None) => return None,
            (false, _) => 0,
        };
        let (head, payload) = packet.get(header..)?.split_at_checked(8)?;
        let [kind, 0, _, _, identifier @ .., high, low] = head else { return None };
        let reply = *kind == if self.ipv6 { 129 } else { 0 };
        // For a datagram socket the kernel chooses the identifier.
        let ours = !self.raw || identifier == self.identifier.to_be_bytes();
        let same = payload.iter().zip(self.token.iter().cycle()).all(|(left, right)| left == right);
        (reply && ours && same && payload.len() == self.size).then(|| u16::from_be_bytes([*high, *low]))
    }
}

/// The sequence number of a request that an ICMP error quotes, from the ICMP header on.
pub fn quoted_sequence(quoted: &[u8]) -> Option<u16> {
    quoted.get(6..8)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut sum: u32 = pairs.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum();
    sum += rest.first().map_or(0, |last| u32::from(*last) << 8);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Echo, checksum};

    #[test]
    fn a_request_has_its_checksum_and_its_answer_is_known_by_its_payload() {
        for size in [0, 1, 7, 56, 1400] {
            let echo = Echo::new(0x0123_4567_89ab_cdef, false, true, size);
            let request = echo.request(3);
            assert_eq!(checksum(&request), 0, "with its checksum the sum is nothing");
            let mut reply = request.clone();
            reply[0] = 0;
            let mut packet = vec![0x45];
            packet.resize(20, 0);
            packet.extend(&reply);
            assert_eq!(echo.answers(&packet), Some(3));
            let other = Echo::new(0xfedc_ba98_7654_3210, false, true, size);
            assert_eq!(other.answers(&packet), None, "of another probe");
            for length in 0..packet.len() {
                assert_eq!(echo.answers(&packet[..length]), None, "cut off at {length} of {size}");
            }
        }
    }
}
