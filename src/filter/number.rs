//! Numbers in a filter (pure).

/// A number as C writes it: decimal, 0x before hexadecimal, 0 before octal.
pub(super) fn number(text: &str) -> Option<u32> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match (hexadecimal, text.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (text, 10),
    };
    // from_str_radix takes a sign.
    if digits.starts_with('+') { None } else { u32::from_str_radix(digits, radix).ok() }
}
