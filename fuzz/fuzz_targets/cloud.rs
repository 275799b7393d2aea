//! An answer of a metadata service, read as the answer to each request of each provider.
#![no_main]

use connscope::cloud::instance::Instance;
use connscope::cloud::plan;
use connscope::cloud::provider::Provider;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|answer: &str| {
    for provider in Provider::ALL {
        let mut found = Instance::default();
        for (_, rows) in plan(*provider).requests() {
            let _ = plan::take(rows, answer, &mut found);
        }
        for (key, value) in found.attributes(None) {
            assert!(value.len() <= 255 && value.is_ascii() && !value.contains(char::is_whitespace), "{key}: {value}");
        }
    }
});
