//! A journal file of any bytes: it is read to its end or refused, and holds no more than a message.
#![no_main]

use connscope::source::logs::frame::LONGEST;
use connscope::source::logs::journal::tail::JournalTail;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(mut tail) = JournalTail::new(data) else { return };
    for _ in 0..10_000 {
        if !tail.more() {
            break;
        }
        let Ok(entry) = tail.next_entry() else { break };
        let message = entry.ok().and_then(|entry| entry.message);
        assert!(message.is_none_or(|message| message.len() <= LONGEST + b"MESSAGE=".len()));
    }
    if let Ok(mut tail) = JournalTail::new(data) {
        let _passed_or_not = tail.pass();
    }
});
