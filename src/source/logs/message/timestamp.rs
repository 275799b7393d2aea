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

    #[test]
    fn times_are_found_in_every_usual_form() {
        let times = [
            "18:31:42+03",
            "18:31:42-03:30",
            "2005-08-09T18:31:42",
            "2005-08-09T18:31:42.201",
            "10/Oct/2000:13:55:36 -0700",
            "Mon Jan  2 15:04:05 2006",
            "Monday, 02-Jan-06 15:04:05 MST",
            "2006-01-02T15:04:05.999999999Z07:00",
            "I0215 12:33:07.230967 foo",
        ];
        assert!(times.into_iter().all(is_in));
        let none = ["13/32", "13:32", "100/5/100", "1:12:123", "12:aa:12:32", ""];
        assert!(!none.into_iter().any(is_in));
        assert!(!is_in(&format!("{}18:31:42", " ".repeat(100))));
    }
}
