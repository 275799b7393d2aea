//! Whether a line says when it was written (pure).

/// Bytes at the beginning of a line in which a time is looked for.
const SEARCHED: usize = 100;

/// Whether there is a time, two digits three times with colons between, in the first 100 bytes.
pub(super) fn is_in(line: &str) -> bool {
    let (mut digits, mut colons) = (0, 0);
    for byte in line.bytes().take(SEARCHED) {
        match byte {
            b'0'..=b'9' => {
                digits = if digits == 2 { 0 } else { digits + 1 };
                if digits == 2 && colons == 2 {
                    return true;
                }
            }
            b':' => {
                colons += usize::from(digits == 2);
                digits = 0;
            }
            _ => (digits, colons) = (0, 0),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::is_in;

    /// Tab-separated: whether there is one, the line.
    #[test]
    fn times_are_found_in_every_usual_form() {
        let cases = include_str!("../../../../tests/fixtures/logs/timestamps.tsv");
        for case in cases.lines() {
            let (expected, line) = case.split_once('\t').unwrap();
            assert_eq!(is_in(line).to_string(), expected, "{line}");
        }
        assert!(cases.lines().count() > 30);
    }
}
