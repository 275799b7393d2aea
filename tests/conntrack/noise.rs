//! Bytes that nobody wrote, for each of the parsers.

use super::fixtures::{bytes, every};
use connscope::source::conntrack::entries::message;
use connscope::source::conntrack::fields::{STATISTICS, Statistics};
use connscope::source::conntrack::{command, netlink, procfs};
use proptest::prelude::*;

proptest! {
    #[test]
    fn are_refused_or_read_by_every_parser(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(command::parse(&noise));
        drop(procfs::parse(&String::from_utf8_lossy(&noise), None, &[0, 1]));
        drop(netlink::parse_dump(&noise, 1, STATISTICS, &mut Statistics::default()));
        drop(netlink::parse_global(&noise, 1, &mut netlink::Global::default()));
        let _whichever = message::parse(&noise, 1, |_| ());
    }

    /// Noise alone is stopped at the first word; noise within a good answer goes everywhere.
    #[test]
    fn within_an_answer_are_refused_or_read(
        file in prop::sample::select(
            [every("command", ".txt"), every("procfs", ".txt"), every("netlink", ".bin"), every("entries", ".bin")].concat(),
        ),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut noise = bytes(&file);
        for (place, byte) in changes {
            let place = place.index(noise.len());
            noise[place] = byte;
        }
        drop(command::parse(&noise));
        drop(procfs::parse(&String::from_utf8_lossy(&noise), Some((4, 4)), &[0, 1]));
        drop(netlink::parse_dump(&noise, 1, STATISTICS, &mut Statistics::default()));
        drop(netlink::parse_global(&noise, 1, &mut netlink::Global::default()));
        let _whichever = message::parse(&noise, 1, |_| ());
    }
}
