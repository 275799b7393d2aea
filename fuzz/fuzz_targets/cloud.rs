//! An answer of a metadata service, read as the answer to each question of each provider.
#![no_main]

use connscope::cloud::instance::{Instance, Provider};
use connscope::cloud::plan;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|answer: &str| {
    for provider in Provider::ALL {
        let mut found = Instance::default();
        for question in plan(*provider).questions {
            let _ = (question.read)(answer, &mut found);
        }
        for (key, value) in found.attributes() {
            assert!(value.len() <= 255 && value.is_ascii() && !value.contains(char::is_whitespace), "{key}: {value}");
        }
    }
});
